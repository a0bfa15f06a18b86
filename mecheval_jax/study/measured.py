"""Numbers of rows of results: restored shares, differences between splits, and their variances."""

from collections.abc import Hashable, Iterable

import numpy as np
import pandas as pd

from mecheval_jax.statistics.intervals import variance_of_answers
from mecheval_jax.statistics.moderated import Prior, prior_of
from mecheval_jax.study.published.tables import CELL, DOCUMENTS
from mecheval_jax.study.results import ENDS, INPUT, column_of

MODEL = [
    "task", "mixer", "width", "layers", "positions", "option", "learning_rate", "seed", "data_seed",
]  # fmt: skip
"""Columns that identify a trained model, whatever documents it was measured on."""

SMALLEST, SMALLEST_SHARE = 1e-12, 0.01
"""Variance of a logit, and standard deviation of a restored share, below which runs count as equal:
logarithms of variances are compared."""

HIGH_ABOVE = 0.1
"""How far above what is simple a run answers that has not failed."""

ROLES_OF_INPUT = ("key", "value", "query")
"""Tokens at which the restored shares of findings lie."""

NORMAL_95 = 1.96
"""Half of a 95 % interval of a normal law, in standard errors."""


def answering(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with accuracies: a run that diverged before it was evaluated answers nothing."""
    of_splits = {"accuracy": "documents", "dev_accuracy": "dev_documents"}
    found = rows.loc[rows["accuracy"].notna() | rows["diverged_at"].notna()]
    lost = found["accuracy"].isna()
    for accuracy, documents in of_splits.items():
        asked = found[documents].where(~lost | found[documents].notna(), DOCUMENTS)
        found = found.assign(**{accuracy: found[accuracy].mask(lost, 0.0), documents: asked})
    return found


def answers_of(runs: pd.DataFrame, split: str) -> tuple[list[float], list[float]]:
    """Numbers of right answers, and of all, of the runs whose accuracy on a split is known."""
    of_dev = split == "dev"
    column, size = ("dev_accuracy", "dev_documents") if of_dev else ("accuracy", "documents")
    known = runs[runs[column].notna()]
    of = known[size].astype(float)
    return (known[column] * of).tolist(), of.tolist()


def measured(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Runs with a restored share that has an interval: of too few documents it has none."""
    return runs[runs[[column, *(column + end for end in ENDS[1:])]].notna().all(axis=1)]


def having_shares(runs: pd.DataFrame, role: str, site: str) -> pd.DataFrame:
    """Runs that have restored shares, with intervals, at a site and one or several roles."""
    for each in role.split("+"):
        runs = measured(runs, column_of(site, each))
    return runs


def at_shared_widths(*groups: pd.DataFrame) -> list[pd.DataFrame]:
    """The runs of each group at the widths that all groups have, none of them if there is no such.

    Of a difference between groups that were run at different widths nobody can say whether it is
    one of width.
    """
    shared = set.intersection(*(set(runs["width"]) for runs in groups))
    return [runs[runs["width"].isin(shared)] for runs in groups]


def shares_of(
    name: str, runs: pd.DataFrame, role: str, site: str
) -> tuple[str, list[float], list[tuple[float, float]]]:
    """A name, and the restored shares of runs that have them, with standard errors to both sides.

    Of several roles together the errors are at most the sum: the documents are the same.
    """
    columns = [column_of(site, each) for each in role.split("+")]
    runs = having_shares(runs, role, site)
    each = zip(*(errors_of(runs, column) for column in columns), strict=True)
    errors = [(sum(below for below, _ in run), sum(above for _, above in run)) for run in each]
    return f"{name} of {' and '.join(columns)}", runs[columns].sum(axis=1).tolist(), errors


def mean_errors(errors: Iterable[tuple[float, float]]) -> list[float]:
    """Standard errors that are taken for both sides."""
    return [(below + above) / 2 for below, above in errors]


def errors_of(runs: pd.DataFrame, column: str) -> list[tuple[float, float]]:
    """Standard errors of restored shares, over documents, below and above: intervals are skewed."""
    low, high = (runs[f"{column}{end}"] for end in ENDS[1:])
    sides = runs[column] - low, high - runs[column]
    return list(zip(*(side.clip(lower=0) / NORMAL_95 for side in sides), strict=True))


def prior_of_logits(answered: pd.DataFrame) -> Prior:
    """What all cells say of the variance between seeds at one learning rate, of the logit."""
    own = answered[answered["split"] == "test"]
    slope = variance_of_answers(own["accuracy"] * own["documents"], own["documents"])
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


def simple_accuracies(rows: pd.DataFrame) -> pd.Series:
    """What copying answers of each row's documents or, on recall, a guess."""
    return rows["copying"].astype(float).fillna(rows["floor"].astype(float))


def failures(answered: pd.DataFrame) -> tuple[int, int]:
    """How many trainings fail of those that stand beside one that succeeds.

    Runs of one cell and learning rate are compared with the best of them, if that answers more than
    copying does, or a guess on recall, by `HIGH_ABOVE` at least; those that answer less than half
    as much have failed.

    Returns:
        The number of failures, and that of all runs beside a best one.
    """
    own = answered[answered["split"] == "test"]
    found = np.zeros(2, int)
    for _, runs in own.groupby([*CELL, "learning_rate"]):
        best = runs["accuracy"].max()
        if len(runs) > 1 and best > simple_accuracies(runs).max() + HIGH_ABOVE:
            found += int((runs["accuracy"] < best / 2).sum()), len(runs) - 1
    return int(found[0]), int(found[1])


def prior_of_shares(groups: Iterable[tuple[Hashable, pd.DataFrame]]) -> Prior:
    """What all groups of runs that learn say of the variance of restored shares between them.

    Args:
        groups: Names of groups, each with the rows of its runs; see `prior_within`.
    """
    return prior_within(
        (name, group[column_of(INPUT, role)].dropna())
        for name, group in groups
        for role in ROLES_OF_INPUT
    )


def prior_within(groups: Iterable[tuple[Hashable, pd.Series]]) -> Prior:
    """What groups of numbers that are shares say of the variance within a group.

    Args:
        groups: Names of groups, each with its numbers; the same models under one name, whatever it
            is that was measured of them.
    """
    known = [(name, numbers) for name, numbers in groups if len(numbers) > 1]
    variances = [float(numbers.var()) for _, numbers in known]
    degrees = [len(numbers) - 1.0 for _, numbers in known]
    return prior_of(variances, degrees, SMALLEST_SHARE**2, [name for name, _ in known])


def pairs_of(runs: pd.DataFrame, others: pd.DataFrame, column: str) -> pd.DataFrame:
    """Differences of a restored share between rows of the same models, with standard errors.

    With the ``width`` of each.
    """
    own, other = (
        measured(rows, column).assign(error=lambda kept: mean_errors(errors_of(kept, column)))
        for rows in (runs, others)
    )
    both = own.merge(other, on=MODEL, suffixes=("", "_other"))
    error = np.hypot(both["error"], both["error_other"])
    change = both[column] - both[f"{column}_other"]
    return pd.DataFrame({"width": both["width"], "change": change, "error": error})


def falls_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of models on dev less that on test documents, with standard errors."""
    variance = sum(
        variance_of_answers(runs[name] * runs[of], runs[of]) / runs[of]
        for name, of in (("dev_accuracy", "dev_documents"), ("accuracy", "documents"))
    )
    change = runs["dev_accuracy"] - runs["accuracy"]
    return pd.DataFrame({"change": change, "error": np.sqrt(variance)})
