"""What a process learns of the others from flags and variables."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.partitioning import cluster, multihost
from tests.support.clusters import KUBERNETES, OPEN_MPI, SLURM, TPU


# Catches a job's size taken for a step's, a plain pod taken for one of many, and numbers swapped.
@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        (SLURM, None),  # in an allocation, but not started by srun
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, ("Slurm", 1, 2)),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, ("Slurm", 4, 2)),
        (OPEN_MPI, ("Open MPI", 3, 1)),
        (OPEN_MPI | SLURM, ("Open MPI", 3, 1)),  # mpirun in an allocation
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
        (KUBERNETES, ("Kubernetes", None, None)),
        (TPU, ("TPU", None, None)),
    ],
)
def test_clusters(environment, variables, found):
    environment(variables)
    assert cluster.find_cluster() == (found and cluster.Cluster(*found))


# Catches a mistake that is found only when the others have been waited for.
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"coordinator": "here:12"}, "--coordinator was given without --processes and --process"),
        ({"processes": 2}, "--processes was given without --coordinator and --process_id"),
        ({"processes": 2, "process_id": 0}, "were given without --coordinator: give all three"),
        ({"coordinator": "here", "processes": 2, "process_id": 0}, "'here': give host:port"),
        ({"coordinator": "here:0", "processes": 2, "process_id": 0}, "'here:0': give host:port"),
        ({"coordinator": "here:²", "processes": 2, "process_id": 0}, "'here:²': give host:port"),
        ({"coordinator": "a:1", "processes": 2, "process_id": 2}, "--process_id is 2: .* 0 to 1"),
        ({"coordinator": "a:1", "processes": 2, "process_id": -1}, "--process_id is -1"),
        ({"processes": 0}, "--processes is 0: it must be at least 1"),
    ],
)
def test_flags_that_cannot_be(environment, joined, values, message):
    environment({})
    with pytest.raises(UserError, match=message):
        multihost.initialize(**values)
    assert not joined


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SLURM_STEP_NUM_TASKS": "x"}, "SLURM_STEP_NUM_TASKS is 'x'"),
        ({"SLURM_STEP_NUM_TASKS": ""}, "SLURM_STEP_NUM_TASKS is ''"),
        ({"SLURM_STEP_NUM_TASKS": "0"}, "SLURM_STEP_NUM_TASKS is '0'"),
        ({"SLURM_STEP_NUM_TASKS": "9" * 5000}, "SLURM_STEP_NUM_TASKS is '999"),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "-1"}, "SLURM_PROCID is '-1'"),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "4"}, "SLURM_PROCID=4 of .*=4"),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "a"}, "OMPI_COMM_WORLD_RANK is 'a'"),
    ],
)
def test_variables_of_garbage(environment, variables, words):
    """Catches a traceback, and a cluster that cannot be."""
    environment(SLURM | variables)
    with pytest.raises(UserError, match=words):
        cluster.find_cluster()
