"""The benchmark of the grid calls it as it is."""

import importlib

grids = importlib.import_module("mecheval_jax.benchmarks.grids")


# Catches an argument of the grid that is no more, and patched runs that are not counted by role,
# corruption and direction.
def test_every_grid_has_a_row(rows):
    lines = rows(grids, grids.grids, MIXERS=("mamba",))[2:]
    assert [line.split()[:2] for line in lines] == [
        ["mamba", "restore"],
        ["mamba", "restore+damage"],
        ["mamba", "restore+damage,"],
    ]
    restored, both, everything = (int(line[34:48]) for line in lines)
    assert both == 2 * restored
    assert everything > both
