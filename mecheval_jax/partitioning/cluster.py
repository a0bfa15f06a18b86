"""What a process is told of the others: by the variables of a cluster, or by flags.

Only whether there are others is found out here; where process 0 is, `jax` itself reads off the
same variables (see docs/hosts.md).
"""

import dataclasses
import os

from mecheval_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What started this process, as its environment says.

    Attributes:
        name: of the cluster's manager.
        processes, process_id: how many, and which this is; None where jax has to ask for it.
    """

    name: str
    processes: int | None = None
    process_id: int | None = None


def find_cluster() -> Cluster | None:
    """The cluster that this process belongs to; None on a machine on its own."""
    variables = os.environ
    for name, count, number in (
        ("Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        # The step's and not the job's: a shell in an allocation for many is on its own.
        ("Slurm", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ):
        if count in variables and number in variables:
            return Cluster(name, int(variables[count]), int(variables[number]))
    # Every pod has the first; a job of several has the second too.
    if "KUBERNETES_SERVICE_HOST" in variables and "JOB_COMPLETION_INDEX" in variables:
        return Cluster("Kubernetes")
    if "TPU_ML_PLATFORM" in variables:  # jax sets it on machines with TPUs
        return Cluster("TPU")
    return None


def check_flags(
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    cluster: Cluster | None,
) -> None:
    """Check the flags that tell a process of the others; None where one is not given.

    Args:
        coordinator: ``--coordinator``.
        processes: ``--processes``.
        process_id: ``--process_id``.
        cluster: what is known without them.

    Raises:
        UserError: one is missing, or they contradict each other.
    """
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise UserError(f"--coordinator is {coordinator!r}: give host:port of process 0")
    if processes is not None and processes < 1:
        raise UserError(f"--processes is {processes}: it must be at least 1")
    if processes is not None and process_id is not None and not 0 <= process_id < processes:
        raise UserError(
            f"--process_id is {process_id}: of {processes} processes it is 0 to {processes - 1}"
        )
    flags = {
        "--coordinator": coordinator,
        "--processes": processes,
        "--process_id": process_id,
    }
    given = [flag for flag, value in flags.items() if value is not None]
    missing = [flag for flag, value in flags.items() if value is None]
    # On its own whatever the cluster says; or the cluster's, but for where they meet.
    enough = processes == 1 or (cluster is not None and given == ["--coordinator"])
    if given and missing and not enough:
        raise UserError(
            f"{' and '.join(given)} {'was' if len(given) == 1 else 'were'} given without "
            f"{' and '.join(missing)}: give all three"
        )
