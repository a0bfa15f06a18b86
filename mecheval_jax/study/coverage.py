"""How much of the study the tables of results hold: the members with a row, by experiment."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from mecheval_jax.study.plans import ScaledExperiment

HEADS = ("experiment", "members with a row", "members without", "findings that it decides")

EVERY = "all"
"""The name of the last line, in which each member counts once."""


@dataclasses.dataclass(frozen=True)
class Covered:
    """How many members of an experiment have a row.

    Attributes:
        name: Name of the experiment.
        there: Number of its members with a row in any table.
        lacking: Number of its members without.
        findings: Numbers of the findings that it decides.
    """

    name: str
    there: int
    lacking: int
    findings: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How many members of the study have a row, at one scale.

    Attributes:
        scale: Name of the scale.
        experiments: The experiments, in the order of their runs.
        every: All members of these, each counted once where several experiments share it.
    """

    scale: str
    experiments: Sequence[Covered]
    every: Covered

    @property
    def sentence(self) -> str:
        """How many members there are in all, and how many of them have no row."""
        there, lacking = self.every.there, self.every.lacking
        return (
            f"Of the {there + lacking} members of the study at the scale {self.scale} {there} have "
            f"a row in the tables and {lacking} have none."
        )

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """Cells below `HEADS`, a line for each experiment and one for all."""
        return [
            (
                one.name,
                str(one.there),
                str(one.lacking),
                ", ".join(map(str, one.findings)) or ("" if one is self.every else "none"),
            )
            for one in (*self.experiments, self.every)
        ]


def coverage_of(parts: Iterable[ScaledExperiment], rows: pd.DataFrame) -> Coverage | None:
    """How many members of experiments have a row; None of no experiments.

    Members are known by the hashes of their configs, in whatever table they stand.

    Args:
        parts: Experiments, all at one scale.
        rows: Rows of all tables.
    """
    parts, known = [*parts], {*rows["config_hash"]}
    if not parts:
        return None
    experiments = [
        Covered(part.experiment.name, *_counts(part.wanted, known), part.experiment.findings)
        for part in parts
    ]
    every = {name for part in parts for name in part.wanted}
    return Coverage(parts[0].scale, experiments, Covered(EVERY, *_counts(every, known)))


def _counts(wanted: Collection[str], known: Collection[str]) -> tuple[int, int]:
    there = sum(name in known for name in wanted)
    return there, len(wanted) - there
