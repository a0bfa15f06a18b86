"""Summaries whose verdict counts: that on the answers of the finished run, and no other."""

from collections.abc import Mapping
from typing import Any

from mecheval_jax.experiment import Experiment
from mecheval_jax.store.run_folder import RunFolder

OF_VERDICT = ("verdict", "probabilities", "layer", "evidence")
"""Fields of a summary that a verdict consists of."""


def with_final_verdict(summary: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """A summary without its verdict, if that is not on the answers of the finished run.

    Args:
        summary: The run's summary.
        experiment: Experiment by which its answers were measured.
    """
    if RunFolder.has_final_evidence(summary, experiment):
        return dict(summary)
    return {name: value for name, value in summary.items() if name not in OF_VERDICT}


def evidence_words(summary: Mapping[str, Any]) -> str:
    """What the evidence of a summary's verdict is of, where it is not of the finished run."""
    of = f"step {summary.get('evidence_step')} on {summary.get('evidence_split')} documents"
    return f"it is of {of}, and not of the finished run"
