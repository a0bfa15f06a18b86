"""Rows of the table of a choice in words, as the advice and the terminal say them."""

from collections.abc import Mapping, Sequence
from typing import Any

from mecheval_jax.reporting.numbers import quantity
from mecheval_jax.store.choice import TIMES

Row = Mapping[str, Any]

ROUGH = 2.0
"""By how many times longer than the shortest the longest call may take before a time is rough."""

VERDICTS = {
    "induction": "binds the pair where it stands and looks it up from the question (induction)",
    "direct_retrieval": "fetches the answer from the question, without binding the pair before "
    "(direct retrieval)",
    "convolutional_binding": "joins the pair by a short convolution or shift before it is fetched "
    "(convolutional binding)",
    "mixed": "answers by two routes at once (mixed)",
    "undecided": "answers in a way that could not be settled (undecided)",
}


def name_of(row: Row) -> str:
    """A shape: ``based of width 64``."""
    return f"{row['mixer']} of width {row['width']}"


def percent(row: Row) -> str:
    """The accuracy of a row with its interval."""
    if row["accuracy"] is None:
        return "no number"
    return f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"


def listed(words: Sequence[str]) -> str:
    """Words with commas, and *and* before the last."""
    *first, last = words or [""]
    return f"{', '.join(first)} and {last}" if first else last


def quality_numbers(row: Row) -> dict[str, Any]:
    """The numbers on the answers of a shape."""
    names = ("accuracy", "low", "high", "floor", "train_accuracy", "members", "learned")
    return {name: row[name] for name in names}


def cost_words(row: Row) -> str:
    """What a shape costs, as far as it was measured, as the end of a sentence.

    Times have their shortest and longest calls beside them, and are called rough if these are far
    apart.
    """
    says = []
    if row["prefill_seconds"] is not None:
        says.append(f"reads a document in {_time(row, 'prefill_seconds')}")
    if row["training_tokens_per_second"] is not None:
        ends = _ends(row, "training_seconds")
        slowest_first = f" [{1 / ends[1]:,.0f}, {1 / ends[0]:,.0f}]" if ends else ""
        says.append(
            f"trains on {row['training_tokens_per_second']:,.0f}{slowest_first} tokens a second"
        )
    if row["decode_seconds"] is not None:
        says.append(f"writes a token in {_time(row, 'decode_seconds')}")
    if row["state_bytes"] is not None:
        says.append(f"keeps {row['state_bytes']:,.0f} bytes of state")
    if not says:
        return "has costs that were not measured."
    return f"{listed(says)}.{_roughness(row)}"


def times_overlap(one: Row, other: Row, column: str) -> bool:
    """Whether the shortest and longest calls of two shapes overlap; not if any is not known."""
    ours, theirs = _ends(one, column), _ends(other, column)
    return bool(ours and theirs and ours[1] >= theirs[0] and theirs[1] >= ours[0])


def _ends(row: Row, column: str) -> tuple[float, float] | None:
    """The shortest and the longest call in seconds; None of what is no time, or was not measured.

    A time of 0 is below what the clock tells.
    """
    low, high = (row.get(f"{column}_{end}") for end in ("low", "high"))
    return None if not low or not high else (low, high)


def _time(row: Row, column: str) -> str:
    """A time with its shortest and longest call, to two digits."""
    seconds, *ends = (
        quantity(float(f"{value:.2g}"), "s") for value in (row[column], *(_ends(row, column) or ()))
    )
    return f"{seconds} [{', '.join(ends)}]" if ends else seconds


def _roughness(row: Row) -> str:
    """A sentence on times whose calls took very different times; nothing of none."""
    ratios = [high / low for column in TIMES for low, high in [_ends(row, column) or (1.0, 1.0)]]
    if max(ratios) <= ROUGH:
        return ""
    return (
        f" These times are rough: the longest call took {max(ratios):.1f} times as long as the "
        "shortest, as on a busy machine."
    )


def judged_share(row: Row) -> str:
    """How many of the runs of a shape that were judged have its verdict."""
    share, learned = f"{row['agreement']:.0%}", f"{row['learned']:.0f}"
    if row["judged"] == row["learned"]:
        return f"{share} of the {learned} runs that have learned"
    judged = f"{row['judged']:.0f} of the {learned} that have learned"
    return f"{share} of the runs that were judged ({judged})"


def mechanism_words(row: Row) -> str:
    """By what a shape answers, and how clear that is."""
    text = f"It {VERDICTS.get(row['verdict'], row['verdict'])}"
    probable = f"probability of {row['probability']:.2f}"
    if row["learned"] == 1:
        text += "." if row["verdict"] == "undecided" else f", with a {probable}."
    else:
        text += f"; so are judged {judged_share(row)}, with a mean {probable}."
    if row["member_verdict"] not in (None, row["verdict"]):
        of_member = VERDICTS.get(row["member_verdict"], row["member_verdict"])
        text += f" The run that is named is one of the others: it {of_member}."
    if row["concentration"] is not None:
        text += (
            f" One vector ({row['concentration_site']} at {row['concentration_role']}) brings back "
            f"{row['concentration']:z.0%} of the answer"
        )
        if row["concentration_low"] is not None:
            text += f" [{row['concentration_low']:z.0%}, {row['concentration_high']:z.0%}]"
        text += "."
    if row["circuit_edges"] is not None:
        text += (
            f" {row['circuit_edges']:.0f} of {row['edges']:.0f} edges of its graph give "
            f"{row['faithfulness']:.0%} of it."
        )
    return text
