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
from mecheval_jax.study.quantities import Quantity, mean, one, share, variance_of_share
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

SHOWN_FROM = {"AR": 0.01, "ATR": 0.1}
"""Family of tasks -> the probability that the corruption of the key must take away for the study to
show what is restored in a run."""

NORMAL_95 = 3.92
"""Width of a 95 % interval of a normal law, in standard errors."""


class StudyCells:
    """A table of results, in which runs are looked up by how they were trained.

    The accuracy of a cell is that of its best learning rate: the rate whose runs have the highest
    mean accuracy on dev documents or, of rates that their documents and seeds cannot tell apart,
    the one with most runs: a single run at another rate may be better by its seed. The accuracy
    itself is measured on the evaluation documents, which had no part in that choice.

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
        recall = np.array([has_learned(*row) for row in answers], bool)
        learned = self.table[usual & (recall | _is_shown(self.table))]
        self._learned = dict(iter(learned.groupby(["task", "split", "layers", "mixer", "option"])))
        self._accuracies: dict[str, Quantity] = {}
        self._of_logits = _prior_of_logits(answered)
        self._of_shares = _prior_of_shares(self._learned.values())
        self._of_changes, self._of_falls = self._priors_of_pairs(answered)

    def _priors_of_pairs(self, answered: pd.DataFrame) -> tuple[Prior, Prior]:
        """What all groups of models say of the variance of their own differences between splits."""
        changes = []
        for (_, split, *_), group in self._learned.items():
            if split == "dev":
                other = self.on_split(group, "test")
                for role in ("key", "value", "query"):
                    changes.append(_pairs(group, other, column_of(INPUT, role))["change"])
        on_test = answered[(answered["split"] == "test") & answered["dev_accuracy"].notna()]
        parts = on_test.groupby([*CELL, "learning_rate"])
        falls = [_falls(part)["change"] for (task, *_), part in parts if "held-out" in task]
        return _prior(changes), _prior(falls)

    def _best(self, cell: GridCell) -> pd.DataFrame:
        """The members of the best learning rate of a cell."""
        chosen = self._by_cell.get(cell)
        if chosen is None:
            return self.table.iloc[:0]
        rates = pd.DataFrame(
            [
                (rate, part["dev_accuracy"].mean(), len(part), self._variance_on_dev(part))
                for rate, part in chosen.groupby("learning_rate")
            ],
            columns=["rate", "dev", "runs", "variance"],
        ).fillna({"dev": -1.0})
        best = rates.loc[rates["dev"].idxmax()]
        noise = 2 * np.sqrt(rates["variance"] + best["variance"])
        alike = rates[~(rates["dev"] < best["dev"] - noise)]
        most = alike.sort_values(["runs", "dev"])["rate"].iloc[-1]
        return chosen[chosen["learning_rate"] == most]

    def _variance_on_dev(self, runs: pd.DataFrame) -> float:
        """Variance of the mean accuracy of runs of one learning rate on dev documents."""
        known = runs[runs["dev_accuracy"].notna()]
        if known.empty:
            return 0.0
        of = known["dev_documents"].astype(float)
        right = (known["dev_accuracy"] * of).tolist()
        return variance_of_share(right, of.tolist(), self._of_logits)

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
        return self._of_task(task, "floor")

    def copying(self, task: str) -> float:
        """Accuracy of naming the token behind the asked one, the floor that the study looks at.

        The best heuristic here (`floor`) answers more of treecall than many of the study's models.
        It is NaN if no table has it.
        """
        return self._of_task(task, "copying")

    def _of_task(self, task: str, column: str) -> float:
        rows = (self.table["task"] == task) & (self.table["split"] == "test")
        return float(self.table.loc[rows, column].max())

    def learned(
        self, mixer: str, task: str = "AR", *, layers: int = 2, option: str = "",
        split: str = "test",
    ) -> pd.DataFrame:  # fmt: skip
        """Runs of all widths and learning rates whose mechanism a finding is about.

        They answer above the best floor for certain or, as the study chooses its runs, lose more by
        the corruption of the key than `SHOWN_FROM`, where that was kept. Their positions are those
        of the study's main grid.

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
        """Mean restored share of runs at a site and role, or at several roles together.

        It has no published number: the study shows medians, and of runs that hold all or nothing
        at a place the mean is another number.

        Args:
            runs: Rows of the runs, of one task, mixer, option and depth.
            role: Role of the token; several with ``+`` between them, of which each run's shares are
                added up.
            site: Path of the site.
            name: Name of the runs in sentences.
        """
        name, shares, errors = _shares(name or "the mean", runs, role, site)
        return mean(name, shares, errors, self._of_shares) if shares else Quantity(name)

    def change(self, runs: pd.DataFrame, split: str, role: str, name: str) -> Quantity:
        """Mean restored share of models on their own split less that on another one, at `INPUT`.

        It is the mean of each model's own difference: how far models lie apart is no part of it.

        Args:
            runs: Rows of the models, of one task, mixer, option and depth.
            split: The other split.
            role: Role of the token.
            name: Name of the runs in sentences.
        """
        column = column_of(INPUT, role)
        name = f"{name} of {column}"
        pairs = _pairs(runs, self.on_split(runs, split), column)
        if pairs.empty:
            return Quantity(name)
        return mean(name, pairs["change"].tolist(), pairs["error"].tolist(), self._of_changes)

    def fall(self, mixer: str, width: int, task: str) -> Quantity:
        """Accuracy on dev less that on test documents of the models of a cell, at its best rate.

        It is the mean of each model's own fall, and of these models: how good another learning rate
        makes them is no part of it.

        Args:
            mixer: Name of the architecture.
            width: Width of the model.
            task: Name of the task.
        """
        cell = _cell(mixer, width, task, {})
        seen = _cell(mixer, width, task, {"split": "dev"})
        name = f"the fall of {_name(seen, {})} to test"
        on_dev, on_test = published_accuracy(seen), published_accuracy(cell)
        shown = None if on_dev is None or on_test is None else (on_dev - on_test,) * 2
        runs = self._best(cell)
        runs = runs[runs["dev_accuracy"].notna()]
        if runs.empty:
            return Quantity(name, published=shown)
        falls = _falls(runs)
        own = mean(name, falls["change"].tolist(), falls["error"].tolist(), self._of_falls)
        return dataclasses.replace(own, published=shown)

    def each(self, runs: pd.DataFrame, role: str, site: str = INPUT) -> Iterator[Quantity]:
        """Restored share of every single run, beside the range of the study's runs.

        Arguments are those of `attribution`.
        """
        for i, run in enumerate(runs.itertuples()):
            what = f"{run.mixer} {run.option}".rstrip()
            name = (
                f"{what}, width {run.width}, {run.layers} layers, rate {run.learning_rate:g}, "
                f"seed {run.seed}, on {run.task}"
            )
            name, shares, errors = _shares(name, runs.iloc[i : i + 1], role, site)
            if not shares:
                yield Quantity(name)
                continue
            alike = (run.task, int(run.layers), run.mixer, run.option)
            theirs = published_shares(alike, site, role)
            number = one(name, shares[0], errors[0])
            yield dataclasses.replace(number, published=theirs and theirs.ends)


def has_usual_positions(rows: pd.DataFrame) -> pd.Series:
    """Which rows have the positions of the study's main grid."""
    return rows["mixer"].map(positions_of) == rows["positions"]


def _is_shown(rows: pd.DataFrame) -> pd.Series:
    """Which rows the study would show; those are not whose ``gap`` is unknown."""
    least = [SHOWN_FROM.get(task.partition(" ")[0], math.inf) for task in rows["task"]]
    return rows["gap"].astype(float) > np.array(least, float)


def _measured(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Runs with a restored share that has an interval: of too few documents it has none."""
    return runs[runs[[column, *(column + end for end in ENDS[1:])]].notna().all(axis=1)]


def _shares(
    name: str, runs: pd.DataFrame, role: str, site: str
) -> tuple[str, list[float], list[float]]:
    """A name, and the restored shares of runs that have them, with standard errors."""
    columns = [column_of(site, each) for each in role.split("+")]
    for column in columns:
        runs = _measured(runs, column)
    each = zip(*(_errors(runs, column) for column in columns), strict=True)
    errors = [math.hypot(*of_run) for of_run in each]
    return f"{name} of {' and '.join(columns)}", runs[columns].sum(axis=1).tolist(), errors


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
    return _prior(known)


def _prior(groups: Iterable[pd.Series]) -> Prior:
    """What groups of numbers that are shares say of the variance within a group."""
    known = [group for group in groups if len(group) > 1]
    variances = [float(group.var()) for group in known]
    return prior_of(variances, [len(group) - 1.0 for group in known], SMALLEST_SHARE**2)


def _pairs(runs: pd.DataFrame, others: pd.DataFrame, column: str) -> pd.DataFrame:
    """Differences of a restored share between rows of the same models, with standard errors."""
    own, other = (
        _measured(rows, column).assign(error=lambda kept: _errors(kept, column))
        for rows in (runs, others)
    )
    both = own.merge(other, on=MODEL, suffixes=("", "_other"))
    error = np.hypot(both["error"], both["error_other"])
    return pd.DataFrame({"change": both[column] - both[f"{column}_other"], "error": error})


def _falls(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of models on dev less that on test documents, with standard errors."""
    variance = sum(
        (share := (runs[name] * runs[of] + 0.5) / (runs[of] + 1)) * (1 - share) / runs[of]
        for name, of in (("dev_accuracy", "dev_documents"), ("accuracy", "documents"))
    )
    change = runs["dev_accuracy"] - runs["accuracy"]
    return pd.DataFrame({"change": change, "error": np.sqrt(variance)})


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
