"""The benchmark of probes fits them as they are."""

import importlib

import numpy as np

probes = importlib.import_module("mecheval_jax.benchmarks.probes")


SMALL = {"PROBES": 6, "DOCUMENTS": 32, "WIDTH": 8, "LOOPED": 2, "CLASSES": (3, 5)}


# Catches an argument of the fits that is no more, and a loop that is not scaled to all probes.
def test_both_kinds_have_a_row(rows):
    asked = np.arange(24, 32, dtype=np.int32)
    logistic, codes = rows(probes, probes.probes, ASKED=asked, **SMALL)[2:4]
    assert "logistic" in logistic
    assert "onto codes" in codes
    for line in (logistic, codes):  # as long for two probes of the loop as for all at once
        assert float(line.split()[-1]) == 3.0
