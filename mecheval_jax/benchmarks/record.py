"""Results of benchmarks in a folder, and the comparison of two folders.

``benchmarks.csv`` has a row for each quantity, with the median, the lowest and the highest value;
``machine.json`` describes the machine.
"""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from mecheval_jax.benchmarks.measured import Measured
from mecheval_jax.errors import UserError
from mecheval_jax.files import read_json, read_table, write_json, write_table
from mecheval_jax.store.folder import MACHINE_FILE

TABLE = "benchmarks.csv"
KEYS = ["part", "what", "quantity", "unit"]
NUMBERS = ["median", "low", "high", "values"]
COLUMNS = [*KEYS, *NUMBERS]
FORMS = dict.fromkeys(KEYS, str) | dict.fromkeys(NUMBERS, float)
SAME = ("device", "platform", "cores", "jax")
"""Properties in which the machines of one folder must agree."""


class Record:
    """The results in a folder; parts that it already holds need not be measured again.

    Args:
        folder: Folder of the results, which is there.
        machine: Description of this machine, from `evaluation.cost.measure.machine`.

    Raises:
        UserError: If the folder is damaged, or has the results of another machine.
    """

    def __init__(self, folder: pathlib.Path, machine: Mapping[str, Any]):
        self.folder, self._table = folder, pd.DataFrame(columns=COLUMNS)
        if (folder / TABLE).exists():
            self._table, there = read(folder)
            for name in SAME:
                if there.get(name) != machine[name]:
                    raise UserError(
                        f"{folder} has benchmarks of {name} {there.get(name)}, and this is "
                        f"{machine[name]}: choose another --output"
                    )
        else:
            write_json(folder / MACHINE_FILE, machine)

    def has(self, part: str) -> bool:
        """Whether the folder holds the results of a part."""
        return part in set(self._table["part"])

    def check_comparable(self, before: pd.DataFrame, further: Iterable[str]) -> None:
        """Check that earlier results have some of the parts that are here or will be.

        Raises:
            UserError: If they have none.
        """
        here, there = {*self._table["part"], *further}, set(before["part"])
        if not here & there:
            raise UserError(
                f"nothing to compare in {self.folder}, which has or gets "
                f"{', '.join(sorted(here))}: the earlier results are of "
                f"{', '.join(sorted(there)) or 'nothing'}"
            )

    def add(self, found: pd.DataFrame) -> None:
        """Write the results of a part, a table from `table`."""
        self._table = found if self._table.empty else pd.concat([self._table, found])
        write_table(self.folder / TABLE, self._table)


def table(part: str, rows: Iterable[Measured]) -> pd.DataFrame:
    """The rows of a part, as a table."""
    return pd.DataFrame([row.row(part) for row in rows], columns=COLUMNS)


def read(folder: pathlib.Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The results in a folder, and their machine.

    Raises:
        UserError: If there are no results, or they are damaged.
    """
    path = folder / TABLE
    if not path.exists():
        raise UserError(f"{folder} has no benchmarks.csv: launch.benchmark --output makes one")
    found = read_table(path, FORMS, "measure again", keep_default_na=False)
    return found, read_json(folder / MACHINE_FILE, absent={})


def quantities(table: pd.DataFrame) -> str:
    """The quantities of a table, in words."""
    return "; ".join(", ".join(row[:3]) for row in table[KEYS].itertuples(index=False))


def compare(after: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Ratios after / before of the quantities in both tables.

    Returns:
        The table: `KEYS`, ``before`` and ``after`` (medians), their ``ratio``, and ``low`` and
        ``high``, the ratios of the extremes. If 1 lies between these, nothing may have changed.
    """
    both = after.merge(before, on=KEYS, suffixes=("_after", "_before"))
    both = both[(both["low_before"] > 0) & (both["low_after"] > 0)]
    return pd.DataFrame(
        {
            **{name: both[name] for name in KEYS},
            "before": both["median_before"],
            "after": both["median_after"],
            "ratio": both["median_after"] / both["median_before"],
            "low": both["low_after"] / both["high_before"],
            "high": both["high_after"] / both["low_before"],
        }
    ).reset_index(drop=True)
