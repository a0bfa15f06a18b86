"""The picture of three models is of those that its caption names."""

import pandas as pd

from mecheval_jax.study.tables import read_table
from tools.draw_mechanisms import DOCS, MIXERS, best_members


def test_the_best_of_the_studys_own_models():
    """Catches a model with other taps or another width, and a row that is put together of two."""
    rows = [
        ("mamba", "", 64, 0.7, "first"),
        ("mamba", "", 64, 0.8, None),
        ("mamba", "d_conv=3", 64, 0.9, "other taps"),
        ("mamba", "", 32, 0.95, "narrow"),
    ]
    table = pd.DataFrame(rows, columns=["mixer", "option", "width", "dev_accuracy", "verdict"])
    best = best_members(table).loc["mamba"]
    assert best["dev_accuracy"] == 0.8
    assert pd.isna(best["verdict"])
    drawn = best_members(read_table(DOCS / "results" / "ar_laptop.csv"))
    assert {*MIXERS} <= {*drawn.index}
