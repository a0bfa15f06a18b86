"""Cells of the study's grid: the runs that a finding is about, looked up in tables of results."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.readings import has_learned
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.statistics.moderated import Prior, prior_of
from mecheval_jax.study.published.tables import (
    CELL,
    DOCUMENTS,
    GridCell,
    published_accuracy,
    published_shares,
)
from mecheval_jax.study.quantities import Quantity, mean, one, share
from mecheval_jax.study.results import ENDS, INPUT, column_of

STUDY_POSITIONS = "study"
"""Positions in the study's main grid: learned for attention alone."""

MODEL = [
    "task", "mixer", "width", "layers", "positions", "option", "learning_rate", "seed", "data_seed",
]  # fmt: skip
"""Columns that identify a trained model, whatever documents it was measured on."""

SMALLEST, SMALLEST_SHARE = 1e-12, 0.01
"""Variance of a logit, and standard deviation of a restored share, below which runs count as equal:
logarithms of variances are compared."""

NORMAL_95 = 3.92
"""Width of a 95 % interval of a normal law, in standard errors."""


class StudyCells:
    """A table of results, in which runs are looked up by how they were trained.

    The accuracy of a cell is that of its best learning rate: the rate whose runs have the highest
    mean accuracy on dev documents or, of rates that these documents cannot tell apart, the one with
    most runs. The accuracy itself is measured on the evaluation documents, which had no part in
    that choice.

    Args:
        table: Rows of `study.results`.

    Raises:
        UserError: If members of one task were trained in different regimes.
    """

    def __init__(self, table: pd.DataFrame):
        for task, part in table.groupby("task"):
            regimes = sorted(part["regime"].astype(str).unique())
            if len(regimes) > 1:
                raise UserError(
                    f"results of {task} come from runs that cannot be compared (regimes "
                    f"{', '.join(regimes)}): other documents or another length of training"
                )
        self.table = table[table["beta2"] == 0.999] if len(table) else table

        answered = self.table[self.table["accuracy"].notna()]
        self._by_cell = dict(iter(answered.groupby(CELL)))
        usual = has_usual_positions(self.table)
        answers = self.table[["accuracy_low", "floor", "verdict"]].itertuples(index=False)
        learned = self.table[usual & np.array([has_learned(*row) for row in answers], bool)]
        self._learned = dict(iter(learned.groupby(["task", "split", "layers", "mixer", "option"])))
        self._accuracies: dict[str, Quantity] = {}
        self._of_logits = _prior_of_logits(answered)
        self._of_shares = _prior_of_shares(self._learned.values())

    def _best(self, cell: GridCell) -> pd.DataFrame:
        """The members of the best learning rate of a cell."""
        chosen = self._by_cell.get(cell)
        if chosen is None:
            return self.table.iloc[:0]
        rates = chosen.groupby("learning_rate").agg(
            dev=("dev_accuracy", "mean"), runs=("seed", "size"), of=("dev_documents", "mean")
        )
        rates["dev"] = rates["dev"].fillna(-1.0)
        best = rates.loc[rates["dev"].idxmax()]
        share = (best["dev"] * best["of"] + 0.5) / (best["of"] + 1)
        noise = 2 * math.sqrt(2 * max(share * (1 - share), 0.0) / best["of"])
        alike = rates[~(rates["dev"] < best["dev"] - noise)]
        most = alike.sort_values(["runs", "dev"]).index[-1]
        return chosen[chosen["learning_rate"] == most]

    def accuracy(self, mixer: str, width: int, task: str = "AR", **where: Any) -> Quantity:
        """The accuracy of a cell at its best learning rate; on dev documents for split ``dev``.

        Args:
            mixer: Name of the architecture.
            width: Width of the model.
            task: Name of the task.
            where: Other fields of a `GridCell`, if they differ from the study's main grid.
        """
        cell = _cell(mixer, width, task, where)
        name = _name(cell, where)
        if name not in self._accuracies:
            known = self._share(name, self._best(cell._replace(split="test")), cell.split)
            number = published_accuracy(cell)
            published = None if number is None else (number, number)
            tried = self._by_cell.get(cell._replace(split="test"))
            one_rate = tried is not None and tried["learning_rate"].nunique() == 1
            self._accuracies[name] = dataclasses.replace(
                known, published=published, may_rise=one_rate
            )
        return self._accuracies[name]

    def accuracy_at_rates(
        self, mixer: str, width: int, task: str = "AR", **where: Any
    ) -> Iterator[Quantity]:
        """The accuracy of a cell at each learning rate that was run; arguments as in `accuracy`."""
        cell = _cell(mixer, width, task, where)
        runs = self._by_cell.get(cell._replace(split="test"), self.table.iloc[:0])
        for rate, part in runs.groupby("learning_rate"):
            yield self._share(f"{_name(cell, where)} at {rate:g}", part, cell.split)

    def _share(self, name: str, runs: pd.DataFrame, split: str) -> Quantity:
        """The accuracy of runs of one cell and learning rate on documents of a split."""
        of_dev = split == "dev"
        column, size = ("dev_accuracy", "dev_documents") if of_dev else ("accuracy", "documents")
        known = runs[runs[column].notna()]
        if known.empty:
            return Quantity(name)
        of = known[size].astype(float)
        return share(name, (known[column] * of).tolist(), of.tolist(), DOCUMENTS, self._of_logits)

    def published(self, mixer: str, width: int, task: str = "AR", **where: Any) -> float | None:
        """The study's accuracy of the same cell; arguments as in `accuracy`."""
        return published_accuracy(_cell(mixer, width, task, where))

    def floor(self, task: str) -> float:
        """Accuracy of the best heuristic without recall on a task's test documents.

        It is NaN if there is no run on the task.
        """
        rows = (self.table["task"] == task) & (self.table["split"] == "test")
        return float(self.table.loc[rows, "floor"].max())

    def learned(
        self, mixer: str, task: str = "AR", *, layers: int = 2, option: str = "",
        split: str = "test",
    ) -> pd.DataFrame:  # fmt: skip
        """Runs of all widths and learning rates that answer above the best floor.

        Their positions are those of the study's main grid.

        Args:
            mixer: Name of the architecture.
            task: Name of the task.
            layers: Number of layers.
            option: Option of the mixer, if it differs from the study's own.
            split: Split of the documents that are answered.
        """
        return self._learned.get((task, split, layers, mixer, option), self.table.iloc[:0])

    def on_split(self, runs: pd.DataFrame, split: str) -> pd.DataFrame:
        """The rows of the same models on documents of another split, if there are any."""
        own = self.table[self.table["split"] == split]
        wanted = pd.MultiIndex.from_frame(runs[MODEL])
        return own[pd.MultiIndex.from_frame(own[MODEL]).isin(wanted)]

    def attribution(
        self, runs: pd.DataFrame, role: str, site: str = INPUT, name: str = ""
    ) -> Quantity:
        """Mean restored share of runs at a site and role.

        It has no published number: the study shows medians, and of runs that hold all or nothing
        at a place the mean is another number.

        Args:
            runs: Rows of the runs, of one task, mixer, option and depth.
            role: Role of the token.
            site: Path of the site.
            name: Name of the runs in sentences.
        """
        column = column_of(site, role)
        name = f"{name or 'the mean'} of {column}"
        known = _measured(runs, column)
        if known.empty:
            return Quantity(name)
        return mean(name, known[column].tolist(), _errors(known, column), self._of_shares)

    def each(self, runs: pd.DataFrame, role: str, site: str = INPUT) -> Iterator[Quantity]:
        """Restored share of every single run, beside the range of the study's runs."""
        column = column_of(site, role)
        for i, run in enumerate(runs.itertuples()):
            own = runs.iloc[i : i + 1]
            what = f"{run.mixer} {run.option}".rstrip()
            name = (
                f"{what}, width {run.width}, {run.layers} layers, rate {run.learning_rate:g}, "
                f"seed {run.seed}, on {run.task} of {column}"
            )
            if _measured(own, column).empty:
                yield Quantity(name)
                continue
            alike = (run.task, int(run.layers), run.mixer, run.option)
            theirs = published_shares(alike, site, role)
            number = one(name, own[column].iloc[0], _errors(own, column)[0])
            yield dataclasses.replace(number, published=theirs and theirs.ends)


def has_usual_positions(rows: pd.DataFrame) -> pd.Series:
    """Which rows have the positions of the study's main grid."""
    return rows["mixer"].map(positions_of) == rows["positions"]


def _measured(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Runs with a restored share that has an interval: of too few documents it has none."""
    return runs[runs[[column, *(column + end for end in ENDS[1:])]].notna().all(axis=1)]


def _errors(runs: pd.DataFrame, column: str) -> list[float]:
    """Standard errors of restored shares, over documents."""
    return ((runs[f"{column}_high"] - runs[f"{column}_low"]) / NORMAL_95).tolist()


def _prior_of_logits(answered: pd.DataFrame) -> Prior:
    """What all cells say of the variance between seeds at one learning rate, of the logit."""
    own = answered[answered["split"] == "test"]
    expected = (own["accuracy"] * own["documents"] + 0.5) / (own["documents"] + 1)
    slope = expected * (1 - expected)
    own = own.assign(slope=slope, of_documents=slope / own["documents"])
    found = own.groupby([*CELL, "learning_rate"]).agg(
        variance=("accuracy", "var"),
        slope=("slope", "mean"),
        of_documents=("of_documents", "mean"),
        runs=("seed", "size"),
        least=("accuracy", "min"),
        most=("accuracy", "max"),
    )
    # Where all runs are right, or none, nothing is known of the logit.
    found = found[(found["runs"] > 1) & (found["least"] < 1) & (found["most"] > 0)]
    # Runs that lie nearer to each other than their documents tell do so by chance.
    variances = found[["variance", "of_documents"]].max(axis=1) / found["slope"] ** 2
    return prior_of(variances.tolist(), (found["runs"] - 1).tolist(), SMALLEST)


def _prior_of_shares(groups: Iterable[pd.DataFrame]) -> Prior:
    """What all groups of runs that learn say of the variance of restored shares between them."""
    known = [
        group[column].dropna()
        for group in groups
        for column in (column_of(INPUT, role) for role in ("key", "value", "query"))
    ]
    known = [shares for shares in known if len(shares) > 1]
    variances = [float(shares.var()) for shares in known]
    return prior_of(variances, [len(shares) - 1.0 for shares in known], SMALLEST_SHARE**2)


def _cell(mixer: str, width: int, task: str, where: dict[str, Any]) -> GridCell:
    """A cell, with the positions of the study's main grid unless others are named."""
    fields = {"positions": STUDY_POSITIONS, **where}
    if fields["positions"] == STUDY_POSITIONS:
        fields["positions"] = positions_of(mixer)
    return GridCell(mixer, width, task, **fields)


def _name(cell: GridCell, where: dict[str, Any]) -> str:
    depth = "" if cell.layers == 2 else f", {cell.layers} layer{'s' if cell.layers > 1 else ''}"
    how = f" {cell.option}" if cell.option else ""
    positions = where.get("positions", STUDY_POSITIONS)
    given = "" if positions == STUDY_POSITIONS else f", positions {positions}"
    on = f" ({cell.split})" if cell.split != "test" else ""
    return f"accuracy of {cell.mixer}{how} at width {cell.width}{depth}{given} on {cell.task}{on}"
