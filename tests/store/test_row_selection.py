"""Rows that are taken from long tables."""

import pandas as pd

from mecheval_jax.store.row_selection import attributions, newest, residual_stream, rows_with

ROWS = pd.DataFrame(
    [
        (10, "attribution", "key", "restore", "block_input", 0, 0.1),
        (20, "attribution", "key", "restore", "block_input", 0, 0.2),
        (20, "attribution", "key", "restore", "block_output", 0, 0.3),
        (20, "attribution", "key", "restore", "block_output", 1, None),
        (20, "attribution", "key", "damage", "block_input", 1, 0.5),
        (20, "kl", "key", "restore", "block_input", 1, 0.6),
    ],
    columns=["step", "metric", "corruption", "direction", "component", "layer", "value"],
).astype({"value": object})


def test_rows_by_their_cells():
    """Catches rows that agree in one of several columns alone."""
    assert list(rows_with(ROWS, metric="attribution", direction="damage")["value"]) == [0.5]


def test_the_last_step():
    """Catches an earlier step, and a table without steps."""
    assert len(newest(ROWS)) == 5
    assert len(newest(ROWS.drop(columns="step"))) == 6


def test_attributions_are_numbers():
    """Catches another metric or direction, and a column of objects that cannot be compared."""
    found = attributions(newest(ROWS), "key", "restore")
    assert found["value"].dtype == float
    assert found["value"].isna().sum() == 1
    assert len(found) == 3


def test_the_residual_stream():
    """Catches a stream that has the place between two layers twice, or not its end."""
    stream = residual_stream(attributions(newest(ROWS), "key", "restore"))
    assert list(zip(stream["component"], stream["layer"], strict=True)) == [
        ("block_input", 0),
        ("block_output", 1),
    ]
