"""Cells of the study's grid: the runs that a finding is about, looked up in tables of results."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from mecheval_jax.errors import UserError, counted
from mecheval_jax.evaluation.verdict.readings import has_learned
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.statistics.moderated import Prior
from mecheval_jax.study.measured import (
    MODEL,
    ROLES_OF_INPUT,
    answering,
    answers_of,
    falls_of,
    having_shares,
    mean_errors,
    pairs_of,
    prior_of_logits,
    prior_of_shares,
    prior_within,
    shares_of,
    simple_accuracies,
)
from mecheval_jax.study.published.tables import (
    CELL,
    DOCUMENTS,
    GridCell,
    published_accuracy,
    published_shares,
)
from mecheval_jax.study.quantities import Quantity, mean, one, share, variances_of_share
from mecheval_jax.study.results import INPUT, column_of

STUDY_POSITIONS = "study"
"""Positions in the study's main grid: learned for attention alone."""

STUDY_BETA2 = 0.999
"""Decay of Adam's second moment in the study."""

SHOWN_FROM = {"AR": 0.01, "ATR": 0.1}
"""Family of tasks -> the probability that the corruption of the key must take away for the study to
show what is restored in a run."""


class StudyCells:
    """A table of results, in which runs are looked up by how they were trained.

    The accuracy of a cell is that of its best learning rate: the rate whose runs have the highest
    mean accuracy on dev documents or, of rates that their documents and seeds cannot tell apart,
    the one with most runs: a single run at another rate may be better by its seed. The accuracy
    itself is measured on the evaluation documents, which had no part in that choice; the seeds had,
    where rates have equally many runs (`Quantity.chosen`).

    Args:
        table: Rows of `study.results`.

    Raises:
        UserError: If members of one task were trained in different regimes.
    """

    def __init__(self, table: pd.DataFrame):
        check_regimes(table)
        self.table = table[table["beta2"] == STUDY_BETA2] if len(table) else table

        answered = answering(self.table)
        self._by_cell = dict(iter(answered.groupby(CELL)))
        usual = has_usual_positions(self.table)
        learned = self.table[usual & shows_mechanism(self.table)]
        self._learned = dict(iter(learned.groupby(["task", "split", "layers", "mixer", "option"])))
        self._accuracies: dict[str, Quantity] = {}
        self._of_logits = prior_of_logits(answered)
        # Models that are measured on two splits are the same models.
        self._of_shares = prior_of_shares(
            ((task, *rest), group) for (task, _, *rest), group in self._learned.items()
        )
        self._of_changes, self._of_falls = self._priors_of_pairs(answered)

    def _priors_of_pairs(self, answered: pd.DataFrame) -> tuple[Prior, Prior]:
        """What all groups of models say of the variance of their own differences between splits."""
        changes = []
        for (task, split, *rest), group in self._learned.items():
            if split == "dev":
                other = self.on_split(group, "test")
                for role in ROLES_OF_INPUT:
                    pairs = pairs_of(group, other, column_of(INPUT, role))
                    changes.append(((task, *rest), pairs["change"]))
        # Elsewhere dev and test documents are alike, and nothing falls.
        on_test = answered[(answered["split"] == "test") & answered["dev_accuracy"].notna()]
        parts = on_test.groupby([*CELL, "learning_rate"])
        task = CELL.index("task")
        falls = [(key, falls_of(part)["change"]) for key, part in parts if "held-out" in key[task]]
        return prior_within(changes), prior_within(falls)

    def _best(self, cell: GridCell) -> tuple[pd.DataFrame, bool, int]:
        """The members of the best learning rate of a cell, and what other rates say of it.

        Returns:
            The members; whether another rate may do better, since no other was run or one is ahead
            by more than its dev documents explain, which may be by its seed; and the number of
            rates with as many runs, of which this one was chosen by its seeds.
        """
        chosen = self._by_cell.get(cell)
        if chosen is None:
            return self.table.iloc[:0], False, 1
        rates = pd.DataFrame(
            [
                (rate, part["dev_accuracy"].mean(), len(part), *self._variances_on_dev(part))
                for rate, part in chosen.groupby("learning_rate")
            ],
            columns=["rate", "dev", "runs", "variance", "of_documents"],
        ).fillna({"dev": -1.0})
        best = rates.loc[rates["dev"].idxmax()]
        noise = 2 * np.sqrt(rates["variance"] + best["variance"])
        alike = rates[~(rates["dev"] < best["dev"] - noise)]
        most = alike.sort_values(["runs", "dev"]).iloc[-1]
        behind = 2 * math.sqrt(most["of_documents"] + best["of_documents"])
        may_rise = len(rates) == 1 or bool(most["dev"] < best["dev"] - behind)
        equal = int((alike["runs"] == most["runs"]).sum())
        return chosen[chosen["learning_rate"] == most["rate"]], may_rise, equal

    def _variances_on_dev(self, runs: pd.DataFrame) -> tuple[float, float]:
        """Variance of the mean accuracy of runs of one learning rate on dev documents.

        With the noise of seeds, and that of documents alone.
        """
        right, of = answers_of(runs, "dev")
        return variances_of_share(right, of, self._of_logits) if right else (0.0, 0.0)

    def accuracy(self, mixer: str, width: int, task: str = "AR", **where: Any) -> Quantity:
        """The accuracy of a cell at its best learning rate; on dev documents for split ``dev``.

        Args:
            mixer: Name of the architecture.
            width: Width of the model.
            task: Name of the task.
            where: Other fields of a `GridCell`, if they differ from the study's main grid.
        """
        cell = _cell(mixer, width, task, where)
        name = _name(cell)
        if name not in self._accuracies:
            runs, may_rise, equal = self._best(cell._replace(split="test"))
            known = self._share(name, runs, cell.split)
            number = published_accuracy(cell)
            published = None if number is None else (number, number)
            self._accuracies[name] = dataclasses.replace(
                known, published=published, may_rise=may_rise, chosen=equal,
                widths=frozenset([width] if known.runs else []),
            )  # fmt: skip
        return self._accuracies[name]

    def accuracy_at_rates(
        self, mixer: str, width: int, task: str = "AR", **where: Any
    ) -> Iterator[Quantity]:
        """The accuracy of a cell at each learning rate that was run; arguments as in `accuracy`."""
        cell = _cell(mixer, width, task, where)
        runs = self._by_cell.get(cell._replace(split="test"), self.table.iloc[:0])
        for rate, part in runs.groupby("learning_rate"):
            yield self._share(f"{_name(cell)} at {rate:g}", part, cell.split)

    def _share(self, name: str, runs: pd.DataFrame, split: str) -> Quantity:
        """The accuracy of runs of one cell and learning rate on documents of a split."""
        right, of = answers_of(runs, split)
        return share(name, right, of, DOCUMENTS, self._of_logits) if right else Quantity(name)

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
        split: str = "test", width: int | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Runs of all learning rates whose mechanism a finding is about.

        They answer above the best floor for certain or, as the study chooses its runs, lose more by
        the corruption of the key than `SHOWN_FROM`, where that was kept. Their positions are those
        of the study's main grid.

        Args:
            mixer: Name of the architecture.
            task: Name of the task.
            layers: Number of layers.
            option: Option of the mixer, if it differs from the study's own.
            split: Split of the documents that are answered.
            width: Width of the models; all widths if None.
        """
        runs = self._learned.get((task, split, layers, mixer, option))
        if runs is None:
            return self.table.iloc[:0]
        return runs if width is None else runs[runs["width"] == width]

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
        runs = having_shares(runs, role, site)
        name, shares, errors = shares_of(name or "the mean", runs, role, site)
        if not shares:
            return Quantity(name)
        own = mean(name, shares, mean_errors(errors), self._of_shares)
        return dataclasses.replace(own, widths=frozenset(runs["width"]))

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
        pairs = pairs_of(runs, self.on_split(runs, split), column)
        if pairs.empty:
            return Quantity(name)
        own = mean(name, pairs["change"].tolist(), pairs["error"].tolist(), self._of_changes)
        return dataclasses.replace(own, widths=frozenset(pairs["width"]))

    def fall(self, mixer: str, width: int, task: str) -> Quantity:
        """Accuracy on dev less that on test documents of the models of a cell, at its best rate.

        It is the mean of each model's own fall, and of these models: how good another learning rate
        makes them is no part of it. Where several rates were run, that they were chosen by the same
        dev documents adds to it.

        Args:
            mixer: Name of the architecture.
            width: Width of the model.
            task: Name of the task.
        """
        cell = _cell(mixer, width, task, {})
        seen = _cell(mixer, width, task, {"split": "dev"})
        name = f"the fall of {_name(seen)} to test"
        on_dev, on_test = published_accuracy(seen), published_accuracy(cell)
        shown = None if on_dev is None or on_test is None else (on_dev - on_test,) * 2
        runs, _, equal = self._best(cell)
        runs = runs[runs["dev_accuracy"].notna()]
        if runs.empty:
            return Quantity(name, published=shown)
        falls = falls_of(runs)
        own = mean(name, falls["change"].tolist(), falls["error"].tolist(), self._of_falls)
        return dataclasses.replace(own, published=shown, widths=frozenset([width]), chosen=equal)

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
            name, shares, errors = shares_of(name, runs.iloc[i : i + 1], role, site)
            if not shares:
                yield Quantity(name)
                continue
            alike = (run.task, int(run.layers), run.mixer, run.option)
            theirs = published_shares(alike, site, role)
            number = one(name, shares[0], *errors[0])
            shown = theirs and theirs.ends
            yield dataclasses.replace(number, published=shown, widths=frozenset([run.width]))


def check_regimes(table: pd.DataFrame) -> None:
    """Check that members of one task were trained in one regime.

    Raises:
        UserError: If they were not.
    """
    for task, part in table.groupby("task"):
        regimes = sorted(part["regime"].astype(str).unique())
        if len(regimes) > 1:
            raise UserError(
                f"results of {task} come from runs that cannot be compared (regimes "
                f"{', '.join(regimes)}): other documents or another length of training"
            )


def check_distinct(table: pd.DataFrame) -> None:
    """Check that no model is there twice: it would count as two seeds.

    Raises:
        UserError: If one is, trained or measured in another way that no column tells.
    """
    twice = table[table.duplicated([*MODEL, "beta2", "regime", "split"], keep=False)]
    if len(twice):
        one, other = (row for _, row in twice.sort_values([*MODEL, "beta2"]).head(2).iterrows())
        raise UserError(
            f"{one['mixer']}, width {one['width']:g}, rate {one['learning_rate']:g}, seed "
            f"{one['seed']:g} on {one['task']} is there twice ({one['config_hash']} and "
            f"{other['config_hash']}), trained or measured in two ways that no column tells apart: "
            "leave one out"
        )


def has_usual_positions(rows: pd.DataFrame) -> pd.Series:
    """Which rows have the positions of the study's main grid."""
    return rows["mixer"].map(positions_of) == rows["positions"]


def shows_mechanism(rows: pd.DataFrame) -> pd.Series:
    """Which rows have restored shares that say something of a mechanism; see `StudyCells.learned`.

    They answer above the best floor for certain, or are those that the study would show.
    """
    return have_learned(rows) | _is_shown(rows)


def have_learned(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are of runs that have learned (`has_learned`)."""
    answers = rows[["accuracy_low", "floor", "verdict"]].itertuples(index=False)
    return np.array([has_learned(*row) for row in answers], bool)


def _is_shown(rows: pd.DataFrame) -> pd.Series:
    """Which rows the study would show, and do better than copying, or than a guess on recall.

    Those are not shown whose ``gap`` is unknown.
    """
    least = [SHOWN_FROM.get(task.partition(" ")[0], math.inf) for task in rows["task"]]
    better = rows["accuracy"].astype(float) > simple_accuracies(rows)
    return better & (rows["gap"].astype(float) > np.array(least, float))


def _cell(mixer: str, width: int, task: str, where: dict[str, Any]) -> GridCell:
    """A cell, with the positions of the study's main grid unless others are named."""
    fields = {"positions": STUDY_POSITIONS, **where}
    if fields["positions"] == STUDY_POSITIONS:
        fields["positions"] = positions_of(mixer)
    return GridCell(mixer, width, task, **fields)


def _name(cell: GridCell) -> str:
    """A cell in words, which are the same however its positions were asked for."""
    depth = "" if cell.layers == 2 else f", {counted(cell.layers, 'layer')}"
    how = f" {cell.option}" if cell.option else ""
    usual = cell.positions == positions_of(cell.mixer)
    given = "" if usual else f", positions {cell.positions}"
    on = f" ({cell.split})" if cell.split != "test" else ""
    return f"accuracy of {cell.mixer}{how} at width {cell.width}{depth}{given} on {cell.task}{on}"
