"""The benchmark of probes fits them as they are."""

import importlib

import numpy as np

probes = importlib.import_module("mecheval_jax.benchmarks.probes")


SMALL = {"PROBES": 6, "DOCUMENTS": 32, "WIDTH": 8, "LOOPED": 2, "CLASSES": (3, 5)}


# Catches an argument of the fits that is no more, and a loop that is not scaled to all probes.
def test_both_kinds_have_a_row(rows):
    asked = np.arange(24, 32, dtype=np.int32)
    table = rows(probes, probes.probes, ASKED=asked, **SMALL)
    assert [name.rpartition(", ")[2] for name in table] == ["logistic", "onto codes"]
    for row in table.values():  # as long for two probes of the loop as for all at once
        np.testing.assert_allclose(row["ratio"], 3)
