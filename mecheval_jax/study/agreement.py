"""Agreement of published accuracies with the prediction for one more run of ours."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.claims import UNTRIED, Claim
from mecheval_jax.study.published.tables import CELL, published
from mecheval_jax.study.quantities import Quantity

COLUMNS = (
    "source", *CELL, "published", "accuracy", "low", "high", "predicted_low", "predicted_high",
    "runs", "agrees", "open",
)  # fmt: skip

ANOTHER_GRAMMAR, TOO_WIDE = "another grammar", "too wide to tell"
ONE_RUN, ONE_RATE, ANOTHER_RATE = "one run", "one rate", "at another rate"
ONE_AHEAD = "a rate of fewer runs is ahead"


def agreement(cells: StudyCells) -> pd.DataFrame:
    """A row for each published accuracy of which there are runs, at the best learning rate.

    ``low`` and ``high`` are the interval of the mean over our seeds, ``predicted_low`` and
    ``predicted_high`` that of one more run on 320 documents, such as the published one. Where
    ``agrees`` is missing, ``open`` says why: on treecall, the grammar is not the study's; the
    interval is so wide that holding a number says nothing; a single run gives another number, and
    no other cell tells how far seeds lie apart; runs of a single learning rate give a lower one,
    or one of fewer runs is ahead, so that another rate may do better; or the best rate does not
    give it and another one does, since the published number is the best of several.
    """
    rows = []
    for cell in published("accuracies").drop_duplicates(CELL).itertuples():
        where: dict[str, Any] = {
            name: getattr(cell, name) for name in ("layers", "positions", "option", "split")
        }
        ours = cells.accuracy(cell.mixer, cell.width, cell.task, **where)
        claim = ours.matches(cell.accuracy)
        if not claim.runs:
            continue
        low, high = ours.interval()
        rates = cells.accuracy_at_rates(cell.mixer, cell.width, cell.task, **where)
        open_for = _open_for(ours, cell.accuracy, cell.task, rates)
        rows.append(
            {
                "source": cell.source,
                **{name: getattr(cell, name) for name in CELL},
                "published": cell.accuracy,
                "accuracy": ours.value,
                "low": low,
                "high": high,
                "predicted_low": claim.interval[0],
                "predicted_high": claim.interval[1],
                "runs": ours.runs,
                "agrees": None if open_for else _holds(claim, cell.accuracy),
                "open": open_for,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"agrees": "boolean"})


def _holds(claim: Claim, number: float) -> bool:
    return claim.interval[0] <= number <= claim.interval[1]


def _open_for(ours: Quantity, number: float, task: str, rates: Iterator[Quantity]) -> str:
    """Why it cannot be said whether a number agrees; empty if it can.

    An interval supports nothing by holding a number if it is too wide; see `Quantity.matches`.
    """
    claim = ours.matches(number)
    if task.startswith("ATR"):
        return ANOTHER_GRAMMAR
    if _holds(claim, number):
        return TOO_WIDE if claim.if_false else ""
    if not ours.degrees:
        return ONE_RUN
    of_rates = list(rates)
    if claim.note == UNTRIED:
        return ONE_RATE if len(of_rates) == 1 else ONE_AHEAD
    found = any(not rate.matches(number).if_false for rate in of_rates)
    return ANOTHER_RATE if found else ""
