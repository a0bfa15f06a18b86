"""Documents of every task on 8 devices: ``python -m tests.support.sharded_tasks`` prints them.

A program of its own, because the number of a CPU's devices is fixed when jax starts.
"""

import json
import sys

import jax
import numpy as np

from mecheval_jax import command_line
from mecheval_jax.partitioning.mesh import documents_sharding, make_mesh
from tests.support.task_cases import CASES

DOCUMENTS = 96


def plain(batch):
    """The fields of a batch as lists."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), vars(batch))


def report(task):
    """Documents of two keys, spread over all devices, and over how many they are."""
    where = documents_sharding(make_mesh())

    def sample(key):
        return task.sample(key, DOCUMENTS, "test")

    if task.traceable:
        sample = jax.jit(sample, out_shardings=where)
    batches = [jax.device_put(sample(jax.random.key(seed)), where) for seed in (0, 1)]
    devices = len(batches[0].tokens.sharding.device_set)
    return {"devices": devices, "batches": [plain(batch) for batch in batches]}


if __name__ == "__main__":
    command_line.set_up_compilation_cache()
    json.dump({name: report(case.task) for name, case in CASES.items()}, sys.stdout)
