"""The advice: which architecture to take, by a stated rule, from the table of a choice alone.

1. Only shapes that have learned count: their accuracy's interval lies above the best floor.
2. Of these, one of which no more than half of the runs have learned counts only if there is no
   other.
3. The best is the one with the highest accuracy. The *equals* are those whose accuracy cannot be
   told from it: the interval of the difference holds 0.
4. Of the equals the cheapest at the asked length is recommended, by the cost that was asked for; of
   those whose cost was not measured, by the number of parameters, after the others.

Where the recommended one answers less than `RELIABLE` of the questions, the advice says how often
it is wrong, and that it is the best of these trainings and no more.

Where no shape has learned, or none is finished, nothing is recommended. Transparency decides
nothing: it is told beside the rest, since only the reader knows what it is worth.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.selection.further import (
    further_runs,
    is_lost,
    is_split,
    may_take_more_steps,
)
from mecheval_jax.selection.request import Asked
from mecheval_jax.selection.words import (
    cost_words,
    listed,
    mechanism_words,
    name_of,
    percent,
    quality_numbers,
    times_overlap,
)
from mecheval_jax.statistics.intervals import difference_of_estimates
from mecheval_jax.store.choice import (
    ABSTAINED,
    COSTS,
    LEARNED,
    RECOMMENDED,
    UNFINISHED,
    Advice,
    Paragraph,
)

RELIABLE = 0.9
"""Accuracy below which a recommendation comes with a warning: of ten answers one is wrong."""

SURE = 0.95
"""Probability of a verdict below which it is called uncertain."""


def advise(table: pd.DataFrame, asked: Asked) -> Advice:
    """The advice that follows from a table.

    Args:
        table: Rows of ``choice.csv``.
        asked: What was asked for.
    """
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    unfinished = [row for row in rows if row["state"] == UNFINISHED]
    learned = [row for row in rows if row["state"] == LEARNED]
    failed = [row for row in rows if row["state"] not in (LEARNED, UNFINISHED)]
    others = [*_others(failed, learned, asked)]
    if not learned:
        further = tuple(further_runs(rows, (), None, asked))
        return Advice(ABSTAINED, None, (_nothing(failed, unfinished, asked), *others), further)
    reliable = [row for row in learned if row["learned"] > row["members"] / 2] or learned
    # Of the most accurate ones the cheapest: no other of the same accuracy is called better.
    best = min(reliable, key=lambda row: (-row["accuracy"], *_price(row, asked.cheapest)))
    equals = [row for row in reliable if not is_told_apart(best, row)]
    lucky = [row for row in learned if row not in reliable]
    others = [*_beaten(reliable, equals, lucky), *others]
    taken = min(equals, key=lambda row: (*_price(row, asked.cheapest), -row["accuracy"]))
    paragraphs = [_answer(taken, best, equals, COSTS[asked.cheapest]), _cost(taken, equals, asked)]
    if taken["verdict"] is not None:
        paragraphs.append(_mechanism(taken))
    uncertain = _uncertain(taken, equals, unfinished, COSTS[asked.cheapest])
    poor = taken if _is_poor(taken) else None
    further = tuple(further_runs(rows, [*equals, *lucky], poor, asked))
    names = ("group", "mixer", "width", "learning_rate", "member")
    model = {name: taken[name] for name in names}
    return Advice(RECOMMENDED, model, (*paragraphs, *others, *uncertain), further)


def is_told_apart(better: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the accuracy of one row is above another's, by the interval of the difference."""
    ends = ("accuracy", "low", "high")
    one, two = (tuple(row[name] for name in ends) for row in (better, other))
    return better is not other and difference_of_estimates(one, two)[0] > 0


def _price(row: Mapping[str, Any], cheapest: str) -> tuple[bool, float]:
    """By which rows are sorted, the cheapest first; those of unknown cost last, the small first."""
    cost = row[COSTS[cheapest]]
    return cost is None, row["parameters"] if cost is None else cost


# What the paragraphs say.


def _answer(
    taken: dict[str, Any], best: dict[str, Any], equals: list[dict[str, Any]], cost: str
) -> Paragraph:
    """Which to take, and how sure that is; `cost` is the column of the cost that decides."""
    text = (
        f"Take {name_of(taken)}, trained at a learning rate of {taken['learning_rate']:g}: it "
        f"answers {percent(taken)} of the questions in documents that it has not seen, and the "
        f"best rule without recall ({taken['floor_name']}) {taken['floor']:.1%}."
    )
    numbers = quality_numbers(taken)
    if _is_poor(taken):
        text += (
            f" It is the best of these trainings, and wrong in {1 - taken['accuracy']:.1%} of the "
            "questions: a start, and nothing to rely on."
        )
    if best is not taken:
        low, high = difference_of_estimates(
            *((row["accuracy"], row["low"], row["high"]) for row in (best, taken))
        )
        difference = best["accuracy"] - taken["accuracy"]
        text += (
            f" Of those that can be relied on {name_of(best)} has the highest accuracy, "
            f"{percent(best)}: {difference:.1%} more [{low:.1%}, {high:.1%}], which cannot be told "
            "from none."
        )
        numbers |= {"best_accuracy": best["accuracy"], "difference": difference}
        numbers |= {"difference_low": low, "difference_high": high}
    alike = [name_of(row) for row in equals if row is not taken and row is not best]
    if alike:
        text += f" As good as the best, too, as far as can be told: {listed(alike)}."
    others = [row for row in equals if row is not taken]
    if close := [name_of(row) for row in others if times_overlap(taken, row, cost)]:
        text += (
            f" That it is cheaper than {listed(close)} is not certain: their measured times "
            "overlap."
        )
    return Paragraph("answer", text, numbers)


def _cost(taken: dict[str, Any], equals: list[dict[str, Any]], asked: Asked) -> Paragraph:
    column, length = COSTS[asked.cheapest], taken["length"]
    text = f"At {length:,} tokens of context {name_of(taken)} {cost_words(taken)}"
    text += f" It has {taken['parameters']:,} parameters."
    numbers = {name: taken[name] for name in ("length", *COSTS.values(), "parameters")}
    dearer = [row for row in equals if row is not taken and row[column] is not None]
    if taken[column] is None:
        text += f" What it costs ({asked.cheapest}) was not measured"
        others = ", nor of any as good: the one with the fewest parameters is named."
        text += others if len(equals) > 1 else "."
    elif dearer:
        next_one = min(dearer, key=lambda row: row[column])
        measured = "" if len(dearer) + 1 == len(equals) else " and were measured"
        of_equals = f"of the {1 + len(dearer)} that are equally good{measured}"
        if next_one[column] == taken[column]:
            numbers |= {"next_cost": next_one[column], "ratio": 1.0}
            text += (
                f" None {of_equals} is cheaper by what was asked for ({asked.cheapest}); "
                f"{name_of(next_one)} costs the same."
            )
            return Paragraph("cost", text, numbers)
        ratio = next_one[column] / taken[column] if taken[column] else None
        times = (
            "more than the nothing that it costs" if ratio is None else f"{ratio:.2f} times as much"
        )
        text += (
            f" It is the cheapest {of_equals}, by what was asked for ({asked.cheapest}); the next, "
            f"{name_of(next_one)}, costs {times}."
        )
        numbers |= {"next_cost": next_one[column], "ratio": ratio}
    return Paragraph("cost", text, numbers)


def _mechanism(taken: dict[str, Any]) -> Paragraph:
    names = (
        *("verdict", "agreement", "probability", "member_verdict", "judged", "learned", "members"),
        "concentration",
        *("concentration_low", "concentration_high", "circuit_edges", "edges", "faithfulness"),
    )
    return Paragraph("mechanism", mechanism_words(taken), {name: taken[name] for name in names})


def _nothing(
    failed: list[dict[str, Any]], unfinished: list[dict[str, Any]], asked: Asked
) -> Paragraph:
    if not failed:
        reasons = (asked.failed.get(row["group"]) for row in unfinished)
        each = [
            name_of(row) + (f", which failed: {reason}" if reason else "")
            for row, reason in zip(unfinished, reasons, strict=True)
        ]
        what = "; ".join(each) if any(asked.failed) else listed(each) or "none was planned"
        return Paragraph("answer", f"Nothing can be advised: no model is finished ({what}).", {})
    best = max(failed, key=lambda row: row["accuracy"] or 0.0)
    why = "none answers better than the best rule without recall"
    if (best["low"] or 0.0) > best["floor"]:
        why = (
            "of none is it certain enough (99.9 %) that it answers more than the best rule without "
            "recall and that its answers depend on the pairs"
        )
    text = (
        f"No model can be recommended: {why}. The nearest is {name_of(best)} with {percent(best)}, "
        f"and that rule ({best['floor_name']}) has {best['floor']:.1%}."
    )
    return Paragraph("answer", text, quality_numbers(best))


def _others(
    failed: list[dict[str, Any]], learned: list[dict[str, Any]], asked: Asked
) -> Iterator[Paragraph]:
    """Who memorises and who fails, and what to do."""
    if memorised := [row for row in (*learned, *failed) if row["memorised"]]:
        text = " ".join((*_by_heart(memorised), *_beyond_heart(memorised, asked)))
        yield Paragraph("others", text, {row["group"]: row["train_accuracy"] for row in memorised})
    lost = [row for row in failed if is_lost(row)]
    if lost:
        each = [f"{name_of(row)} ({percent(row)}{_on_train(row)})" for row in lost]
        text = (
            f"Not learned at {_rates(asked)} in {asked.steps:,} steps: "
            f"{listed(each)}. That speaks of these trainings, not of what the architecture could "
            "do with more."
        )
        yield Paragraph("others", text, {row["group"]: row["accuracy"] for row in lost})


def _by_heart(memorised: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Who has learned train documents by heart: those that do not recall, and those that do."""
    for recalls in (False, True):
        rows = [row for row in memorised if (row["state"] == LEARNED) == recalls]
        each = [
            f"{name_of(row)} ({row['train_accuracy']:.1%} of the questions in train documents, "
            f"{row['accuracy']:.1%} in others)"
            for row in rows
        ]
        how = ("recalls less", "recall less") if recalls else ("does not recall", "do not recall")
        known = ("has learned its", "have learned their")
        many = len(rows) > 1
        if rows:
            by_heart = f"{known[many]} train documents by heart"
            yield f"{listed(each)} {by_heart} and {how[many]} in others."


def _beyond_heart(memorised: Sequence[dict[str, Any]], asked: Asked) -> Iterator[str]:
    """What may help; fewer steps only of a training that is seen to have gone on for too long."""
    them, more, read = "it" if len(memorised) == 1 else "them", "more", ""
    if asked.documents is not None:
        more = f"more than these {asked.documents:,}"
        read = f" ({asked.epochs:.0f} times through these)"
    yield f"Give {them} {more} train documents."
    if able := [row for row in memorised if may_take_more_steps(row)]:
        each = listed([f"{name_of(row)} had {_course(row)}" for row in able])
        yield (
            f"More than these {asked.steps:,} steps{read} may help as well, above all where "
            f"accuracy on dev documents still rose: {each}."
        )
    if past := [row for row in memorised if row["past_peak"]]:
        each = [
            f"{name_of(row)}, whose accuracy on dev documents has fallen from "
            f"{row['dev_peak']:.1%} to {row['dev_accuracy']:.1%}"
            for row in past
        ]
        yield f"Fewer steps may help {'; '.join(each)}."


def _course(row: dict[str, Any]) -> str:
    """Accuracy on dev documents half-way, if it is known, and at the end."""
    numbers = ((row["dev_halfway"], "half-way"), (row["dev_accuracy"], "at the end"))
    return listed([f"{value:.1%} {when}" for value, when in numbers if value is not None])


def _beaten(
    reliable: Sequence[dict[str, Any]],
    equals: Sequence[dict[str, Any]],
    lucky: Sequence[dict[str, Any]],
) -> Iterator[Paragraph]:
    """Who has learned and is not taken: the less accurate, and those that mostly fail to learn."""
    less = [row for row in reliable if row not in equals]
    if less:
        each = listed([f"{name_of(row)} ({percent(row)})" for row in less])
        text = f"Learned, and less accurate: {each}."
        yield Paragraph("others", text, {row["group"]: row["accuracy"] for row in less})
    if lucky:
        each = listed(
            [
                f"{name_of(row)} ({percent(row)}, and {row['learned']:.0f} of "
                f"{row['members']:.0f} runs)"
                for row in lucky
            ]
        )
        text = f"Learned in no more than half of the runs, and so not counted on: {each}."
        yield Paragraph("others", text, {row["group"]: row["accuracy"] for row in lucky})


def _on_train(row: dict[str, Any]) -> str:
    seen = row["train_accuracy"]
    return "" if seen is None else f", on train documents {seen:.1%}"


def _uncertain(
    taken: dict[str, Any],
    equals: list[dict[str, Any]],
    unfinished: list[dict[str, Any]],
    cost: str,
) -> Iterator[Paragraph]:
    """What is not known, if anything; `cost` is the column of the cost that decides."""
    says = []
    if taken["members"] == 1:
        says.append("one run was made of it, which says nothing of how often training succeeds")
    elif taken["learned"] < taken["members"]:
        says.append(
            f"{taken['learned']:.0f} of its {taken['members']:.0f} runs have learned (accuracies "
            f"from {taken['lowest']:.1%}), so that a training may have to be made again"
        )
    probability = SURE if taken["probability"] is None else taken["probability"]
    if taken["verdict"] == "undecided" or probability < SURE:
        says.append("its mechanism is not settled")
    if is_split(taken):
        says.append(
            f"only {taken['agreement']:.0%} of its runs that were judged have this mechanism"
        )
    if len(equals) > 1:
        says.append(f"{len(equals)} models are as good, and only the cost has decided")
    if unpriced := [name_of(row) for row in equals if row is not taken and row[cost] is None]:
        says.append(f"what it costs was not measured of {listed(unpriced)}, which is as good")
    if unfinished:
        says.append(f"not finished: {listed([name_of(row) for row in unfinished])}")
    if says:
        names = ("members", "learned", "lowest", "probability")
        text = f"What is uncertain: {'; '.join(says)}."
        yield Paragraph("uncertain", text, {name: taken[name] for name in names})


def _is_poor(taken: dict[str, Any]) -> bool:
    """Whether what is recommended is wrong too often to be relied on."""
    return taken["accuracy"] < RELIABLE


def _rates(asked: Asked) -> str:
    rates = listed([f"{rate:g}" for rate in asked.rates])
    return f"the learning rate{'s' if len(asked.rates) > 1 else ''} {rates}"
