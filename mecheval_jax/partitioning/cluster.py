"""Detection of the other processes, from the variables of a cluster or from flags.

This module only determines whether there are other processes; the address of process 0 is read by
`jax` itself from the same variables (see docs/hosts.md).
"""

import dataclasses
import os
import re

from mecheval_jax.errors import UserError, shown


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The cluster that started this process, according to its environment.

    Attributes:
        name: Name of the cluster's manager.
        processes: Number of processes; None if jax has to ask the cluster.
        process_id: Number of this process, from 0; None likewise.
    """

    name: str
    processes: int | None = None
    process_id: int | None = None


def find_cluster() -> Cluster | None:
    """The cluster that this process belongs to; None for a process on its own.

    Raises:
        UserError: If its variables are not what a cluster gives.
    """
    variables = os.environ
    for name, count, number in (
        ("Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        # The step's variables, not the job's: a shell in a large allocation is on its own.
        ("Slurm", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ):
        if count in variables and number in variables:
            processes, process_id = _whole(count, 1), _whole(number, 0)
            if 1 < processes <= process_id:
                raise UserError(
                    f"{name} says {number}={process_id} of {count}={processes}, which cannot be: "
                    "start it anew, or give --processes=1 to run alone"
                )
            return Cluster(name, processes, process_id)
    # Every pod has the first variable; only indexed jobs have the second.
    if "KUBERNETES_SERVICE_HOST" in variables and "JOB_COMPLETION_INDEX" in variables:
        return Cluster("Kubernetes")
    if "TPU_ML_PLATFORM" in variables:  # jax sets it on machines with TPUs
        return Cluster("TPU")
    return None


def _whole(variable: str, smallest: int) -> int:
    """The value of a cluster's variable.

    Raises:
        UserError: If it is no such number.
    """
    text = os.environ[variable]
    if not (text.isascii() and text.isdecimal() and smallest <= int(text[:10]) < 2**31):
        raise UserError(
            f"{variable} is {shown(text, 60)}: a cluster gives a whole number from {smallest} "
            "there; unset it, or give --processes=1 to run alone"
        )
    return int(text)


def check_flags(
    coordinator: str | None, processes: int | None, process_id: int | None, cluster: Cluster | None
) -> None:
    """Check the flags that describe the other processes.

    Args:
        coordinator: Value of ``--coordinator``; None if it is not given.
        processes: Value of ``--processes``; None if it is not given.
        process_id: Value of ``--process_id``; None if it is not given.
        cluster: Cluster that was found; None for a process on its own.

    Raises:
        UserError: If a flag is invalid or missing, or flags contradict each other.
    """
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            raise UserError(f"--coordinator is {coordinator!r}: give host:port of process 0")
    if processes is not None and processes < 1:
        raise UserError(f"--processes is {processes}: it must be at least 1")
    if processes is not None and process_id is not None and not 0 <= process_id < processes:
        raise UserError(
            f"--process_id is {process_id}: of {processes} processes it is 0 to {processes - 1}"
        )
    flags = {"--coordinator": coordinator, "--processes": processes, "--process_id": process_id}
    given = [flag for flag, value in flags.items() if value is not None]
    missing = [flag for flag, value in flags.items() if value is None]
    # One process needs no others; and a cluster may know all but the coordinator.
    enough = processes == 1 or (cluster is not None and given == ["--coordinator"])
    if given and missing and not enough:
        raise UserError(
            f"{' and '.join(given)} {'was' if len(given) == 1 else 'were'} given without "
            f"{' and '.join(missing)}: give all three"
        )
