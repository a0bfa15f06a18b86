"""The benchmark of the grid calls it as it is."""

import importlib

grids = importlib.import_module("mecheval_jax.benchmarks.grids")


# Catches an argument of the grid that is no more, and patched runs that are not counted by role,
# corruption and direction.
def test_every_grid_has_a_row(rows):
    table = rows(grids, grids.grids, MIXERS=("mamba",))
    names = ("one run", "restore", "restore and damage", "both, all sites")
    assert list(table) == [f"mamba, {name}" for name in names]
    restored, both, everything = (table[f"mamba, {name}"]["patched runs"] for name in names[1:])
    assert both == 2 * restored
    assert everything > both
