"""The table of a choice: a row for each shape, read from the files of its sweep.

What the columns mean is said in `store.choice`. Nothing is computed here but means, shares and
Pareto fronts, so that the table can be made again from the folder at any time.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mecheval_jax.console import say
from mecheval_jax.evaluation.patching.circuits import SmallestCircuit
from mecheval_jax.evaluation.transparency import agreement, concentration
from mecheval_jax.evaluation.verdict.readings import summary_has_learned
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import damaged
from mecheval_jax.models.language_model import parameter_count
from mecheval_jax.statistics.intervals import difference_of_shares
from mecheval_jax.store.choice import (
    COLUMNS,
    COSTS,
    FRONTS,
    LEARNED,
    NOT_LEARNED,
    UNFINISHED,
    ChoiceFolder,
)
from mecheval_jax.store.cost_folder import rows_of
from mecheval_jax.store.final_evidence import evidence_words, with_final_verdict
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.metrics import dev_rows, read_rows
from mecheval_jax.store.remedies import WRITTEN_AGAIN
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder
from mecheval_jax.store.sweep_tables import best, read_members, wide
from mecheval_jax.sweeps.plan import GroupPlan

MEMORISED = 0.2
"""Accuracy on train documents less that on unseen ones, from which a model memorises."""

SURELY = 0.95
"""Confidence with which accuracy on dev documents has fallen from its peak."""

CIRCUIT = "circuit"
"""Field of a member's summary that holds its smallest faithful circuit."""


def choice_table(folder: ChoiceFolder, groups: Sequence[GroupPlan], length: int) -> pd.DataFrame:
    """The rows of ``choice.csv``.

    Args:
        folder: Folder of the choice.
        groups: Groups of its sweep.
        length: Tokens of context at which costs are given.

    A group of which a file is damaged is said, and stands in the table as one that is unfinished.
    """
    costs = folder.cost.read_costs()
    left_out, rows = LeftOut(), []
    for plan in groups:
        read = functools.partial(_answers, plan, folder.group(plan.name))
        answers = left_out.part(plan.name, read, {})
        rows.append(_shape(plan) | answers | cost_of(costs, plan, length))
    return with_fronts(pd.DataFrame(rows, columns=COLUMNS))


def chosen_member(group: GroupFolder) -> dict[str, Any] | None:
    """The run of a group that answers dev documents best, as in ``best.csv``; None of none.

    Raises:
        UserError: If the table of the group is damaged.
    """
    if not group.has_table():
        return None
    return best(read_members(group)).iloc[0].to_dict()


def _shape(plan: GroupPlan) -> dict[str, Any]:
    """A shape of which nothing is known but its plan."""
    model = plan.experiments[0].model
    return {
        "group": plan.name,
        **model.shape,
        "parameters": parameter_count(model),
        "state": UNFINISHED,
        "memorised": False,
        "past_peak": False,
        "runs": len(plan.members),
    }


def _answers(plan: GroupPlan, group: GroupFolder) -> dict[str, Any]:
    """How well and by what the runs of a shape answer; nothing before they are done.

    Raises:
        UserError: If a file of the group or of one of these runs is damaged.
    """
    if not group.has_table():
        return {}
    table = read_members(group)
    if wrong := sorted(set(table["member"]) - set(plan.members)):
        raise damaged(group.table, f"the group has no member {wrong[0]:g}", WRITTEN_AGAIN)
    chosen, members = best(table).iloc[0].to_dict(), wide(table)
    alike = members[members["learning_rate"] == chosen["learning_rate"]]
    runs = {number: RunFolder(group.member(number)) for number in alike["member"]}
    planned = dict(zip(plan.members, plan.experiments, strict=True))
    summaries = {number: _finished(run, planned[number]) for number, run in runs.items()}
    run, own = runs[chosen["member"]], summaries[chosen["member"]]
    trained = train_accuracy(run)
    # A run has learned where its interval lies above what can be had without recall.
    learned = [number for number in runs if summary_has_learned(summaries[number])]
    seen = None if trained is None or own["accuracy"] is None else trained - own["accuracy"]
    row = {name: chosen[name] for name in ("member", "learning_rate", "seed", "dev_accuracy")}
    row |= {
        "state": LEARNED if summary_has_learned(own) else NOT_LEARNED,
        "memorised": seen is not None and seen >= MEMORISED,
        "diverged": int(members["diverged_at"].notna().sum()),
        "accuracy": own["accuracy"],
        "low": own["accuracy_low"],
        "high": own["accuracy_high"],
        "train_accuracy": trained,
        "floor": own["floors"]["best"],
        "floor_name": floor_name(own["floors"]),
        "members": len(runs),
        "learned": len(learned),
        "lowest": alike["accuracy"].min(),
        "mean": alike["accuracy"].mean(),
    }
    judged = [summaries[number] for number in learned if "verdict" in summaries[number]]
    row |= dev_course(run, planned[chosen["member"]].training.evaluation_documents)
    return row | transparency_of(run, own, judged)


def _finished(run: RunFolder, experiment: Experiment) -> dict[str, Any]:
    """The summary of a run, without a verdict on other documents or another step; that is said."""
    summary = run.read_finished()
    if not run.has_final_evidence(summary, experiment):
        say(f"left out: verdict of {run.path}: {evidence_words(summary)}")
    return with_final_verdict(summary, experiment)


def train_accuracy(run: RunFolder) -> float | None:
    """Accuracy on the documents of the last steps of a training; None if it has none."""
    rows = [row for row in read_rows(run.metrics, '"train"') if row.get("accuracy") is not None]
    return float(rows[-1]["accuracy"]) if rows else None


def dev_course(run: RunFolder, documents: int) -> dict[str, Any]:
    """Columns on accuracy on dev documents over a training, as far as it was evaluated.

    Args:
        run: Folder of the run.
        documents: Number of dev documents of an evaluation.
    """
    rows = dev_rows(run.metrics)
    if not rows:
        return {"past_peak": False}
    peak, last = max(float(row["accuracy"]) for row in rows), float(rows[-1]["accuracy"])
    course: dict[str, Any] = {"dev_peak": peak, "past_peak": is_past_peak(peak, last, documents)}
    if first := [row for row in rows if 2 * row["step"] <= rows[-1]["step"]]:
        course["dev_halfway"] = float(first[-1]["accuracy"])
    return course


def is_past_peak(peak: float, last: float, documents: int) -> bool:
    """Whether accuracy on dev documents has surely fallen: training went on for too long.

    Args:
        peak: Highest accuracy at any step, 0 to 1.
        last: Accuracy at the last step, likewise.
        documents: Number of dev documents; as if each asked once and others were asked each time,
            so that the highest of many evaluations is not taken for a peak by its noise.
    """
    shares = (peak * documents, documents), (last * documents, documents)
    return difference_of_shares(*shares, SURELY)[0] > 0


def floor_name(floors: Mapping[str, float]) -> str | None:
    """Name of the floor that is the best one."""
    named = [name for name, value in floors.items() if value == floors["best"] and name != "best"]
    return named[0] if named else None


def transparency_of(
    run: RunFolder, own: Mapping[str, Any], judged: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Columns on the mechanism; none of what was not judged.

    Args:
        run: Folder of the run that is chosen.
        own: Its summary.
        judged: Summaries of the runs like it that have learned and have a verdict.

    Raises:
        UserError: If the evidence of its verdict is damaged.
    """
    row: dict[str, Any] = {}
    if found := agreement(judged):
        row |= {"judged": len(judged), "verdict": found.verdict}
        row |= {"agreement": found.share, "probability": found.probability}
    if not summary_has_learned(own):
        return row
    row["member_verdict"] = own.get("verdict")
    if most := concentration(run.attributions_in(own)):
        names = ("", "_low", "_high", "_site", "_role")
        row |= {f"concentration{name}": value for name, value in zip(names, most, strict=True)}
    if own.get(CIRCUIT) is not None:
        circuit = SmallestCircuit(**own[CIRCUIT])
        row |= {"circuit_edges": circuit.edges, "edges": circuit.of}
        row |= {"faithfulness": circuit.faithfulness}
    return row


def cost_of(costs: pd.DataFrame | None, plan: GroupPlan, length: int) -> dict[str, Any]:
    """Columns on costs of a shape, as far as they were measured.

    Args:
        costs: Rows of ``cost.csv``; None where there are none.
        plan: Group of the shape.
        length: Tokens of context.
    """
    model, row = plan.experiments[0].model, {"length": length}
    own = pd.DataFrame() if costs is None else rows_of(costs, model.shape)
    if own.empty:
        return row
    for cost in own[own["length"] == length].to_dict("records"):
        row["state_bytes"] = cost["state_bytes"]
        program = cost["program"]
        # A call reads several documents at once: the time of one is its share of the call.
        tokens = cost["tokens_per_second"] * cost["seconds"]
        if program not in COSTS or not tokens > 0:  # it was not measured
            continue
        units = tokens / length if program == "prefill" else tokens
        times = (cost[name] / units for name in ("seconds", "low", "high"))
        column = COSTS[program]
        row |= dict(zip((column, f"{column}_low", f"{column}_high"), times, strict=True))
        if program == "training":
            row["training_tokens_per_second"] = cost["tokens_per_second"]
    return row


def with_fronts(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its Pareto fronts, among the shapes that have learned."""
    learned = table["state"] == LEARNED
    for name, column in FRONTS.items():
        sign = 1 if column == "concentration" else -1
        goods = table[["accuracy", column]].to_numpy(float) * (1, sign)
        table[name] = on_front(np.where(learned.to_numpy()[:, None], goods, np.nan))
    return table


def on_front(goods: np.ndarray) -> np.ndarray:
    """Which rows no other is at least as good as in everything, and better in something.

    Args:
        goods: [row, quantity] Numbers of which more is better; rows with a NaN are on no front.
    """
    known = ~np.isnan(goods).any(axis=1)
    at_least = (goods[None] >= goods[:, None]).all(axis=-1)
    better = (goods[None] > goods[:, None]).any(axis=-1)
    return known & ~(at_least & better & known[None]).any(axis=1)
