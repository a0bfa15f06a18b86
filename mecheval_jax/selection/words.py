"""Rows of the table of a choice in words, as the advice and the terminal say them."""

from collections.abc import Mapping, Sequence
from typing import Any

from mecheval_jax.reporting.terminal.costs import quantity

Row = Mapping[str, Any]

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


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 seed``, ``3 seeds``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def quality_numbers(row: Row) -> dict[str, Any]:
    """The numbers on the answers of a shape."""
    names = ("accuracy", "low", "high", "floor", "train_accuracy", "members", "learned")
    return {name: row[name] for name in names}


def cost_words(row: Row) -> str:
    """What a shape costs, as far as it was measured, as the end of a sentence."""
    says = []
    if row["prefill_seconds"] is not None:
        says.append(f"reads a document in {quantity(row['prefill_seconds'], 's')}")
    if row["training_tokens_per_second"] is not None:
        says.append(f"trains on {row['training_tokens_per_second']:,.0f} tokens a second")
    if row["decode_seconds"] is not None:
        says.append(f"writes a token in {quantity(row['decode_seconds'], 's')}")
    if row["state_bytes"] is not None:
        says.append(f"keeps {row['state_bytes']:,.0f} bytes of state")
    return f"{listed(says)}." if says else "has costs that were not measured."


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
