"""Agreement of published accuracies with the prediction for one more run of ours."""

import pandas as pd

from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.published.tables import CELL, published

COLUMNS = (
    "source", *CELL, "published", "accuracy", "low", "high", "predicted_low", "predicted_high",
    "runs", "agrees",
)  # fmt: skip


def agreement(cells: StudyCells) -> pd.DataFrame:
    """A row for each published accuracy of which there are runs, at the best learning rate.

    ``low`` and ``high`` are the interval of the mean over our seeds, ``predicted_low`` and
    ``predicted_high`` that of one more run on 320 documents, such as the published one. ``agrees``
    is missing on treecall, whose grammar is not the study's; where a single run gives another
    number and no other cell tells how far seeds lie apart; and where runs of a single learning rate
    give a lower one, since another rate may do better.
    """
    rows = []
    for cell in published("accuracies").drop_duplicates(CELL).itertuples():
        ours = cells.accuracy(
            cell.mixer, cell.width, cell.task, layers=cell.layers, positions=cell.positions,
            option=cell.option, split=cell.split,
        )  # fmt: skip
        claim = ours.matches(cell.accuracy)
        if not claim.runs:
            continue
        low, high = ours.interval()
        ends = claim.interval
        agrees = ends[0] <= cell.accuracy <= ends[1]
        comparable = not cell.task.startswith("ATR")
        rows.append(
            {
                "source": cell.source,
                **{name: getattr(cell, name) for name in CELL},
                "published": cell.accuracy,
                "accuracy": ours.value,
                "low": low,
                "high": high,
                "predicted_low": ends[0],
                "predicted_high": ends[1],
                "runs": ours.runs,
                "agrees": (agrees or (None if claim.if_true == 1 else False))
                if comparable
                else None,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"agrees": "boolean"})
