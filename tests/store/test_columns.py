"""Tables of a run: what is read is what was written, or is refused."""

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.files import write_table
from mecheval_jax.store.columns import SLICES, read_slices

ROWS = [
    ("pairs", 2, 3, 1 / 3, 0.1, 2 / 3, 30),
    ("distance", 64, 127, 0.5, np.nan, np.nan, 2),  # both of one document: no interval
]
SLICED = [dict(zip(SLICES, row, strict=True)) for row in ROWS]


# Catches a file that loses a column, digits, or that there is no interval.
def test_written_and_read_again(tmp_path):
    path = tmp_path / "slices.csv"
    assert read_slices(path) == []
    write_table(path, pd.DataFrame(SLICED, columns=SLICES))
    pd.testing.assert_frame_equal(pd.DataFrame(read_slices(path)), pd.DataFrame(SLICED))
    assert path.read_text().splitlines()[0] == ",".join(SLICES)
    write_table(path, pd.DataFrame([], columns=SLICES))
    assert read_slices(path) == []


# Catches a damaged file that ends in a traceback, or is shown as it is.
@pytest.mark.parametrize(
    "text",
    [
        "property,accuracy\npairs,1\n",
        ",".join(SLICES) + "\npairs,2",
        ",".join(SLICES) + "\npairs,2,2,,0.1,0.2,3",
        "",
    ],
)
def test_a_damaged_file(tmp_path, text):
    path = tmp_path / "slices.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"slices\.csv is damaged"):
        read_slices(path)
