"""A search for the positions that carry the answer, if the named sets of positions do not.

The verdict is then ``undecided``. The search restores each position alone, and the reason of the
verdict names those that bring back most.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.evaluation.patching.effects import Gap
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.question import Question, corruption_key
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.exchanges import CORRUPTED, pair_runs
from mecheval_jax.evaluation.verdict.places import cut_before, judged
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.site_path import together
from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.tasks.base import at_position

FURTHEST = 64
"""Number of positions behind the pair's earlier token that are searched."""

SHOWN = 5
"""Number of positions that a verdict names."""


def search_positions(subject: Subject, verdict: Verdict) -> Verdict:
    """A verdict with the shares that single positions restore at the cut where it abstained.

    Its evidence gets ``search``: rows with the site, the ``offset`` of the position from the
    earlier token of the pair, and the share ``value`` that it restores alone, the highest first.

    Args:
        subject: Subject that is judged.
        verdict: Verdict that abstained because it lacks positions.
    """
    cut = cut_before(subject.config, verdict.elsewhere)
    runs, patched, present = jax.device_get(_restored(subject, cut))
    present = np.asarray(present)
    documents = present.any(axis=0)
    gap = Gap(runs[CLEAN], runs[CORRUPTED], Bootstrap([int(documents.size)], 1, 0))
    rows = []
    for offset, (values, here) in enumerate(zip(patched, present, strict=True)):
        if here.any():
            share = gap.restored(np.where(here, values, runs[CORRUPTED]), documents)
            rows.append({"site": together(cut), "offset": offset, "value": share.value})
    rows.sort(key=lambda row: -row["value"])
    where = ", ".join(f"{row['value']:.2f} at {row['offset']:+d}" for row in rows[:SHOWN])
    reason = f"{verdict.reason}; single positions, counted from the pair's earlier token: {where}"
    evidence = verdict.evidence | {"search": rows}
    return dataclasses.replace(verdict, reason=reason, evidence=evidence)


def _restored(subject: Subject, cut: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Probabilities of the answer in both runs and with each position restored; and which exist."""
    task, batch, evaluation = subject.task, subject.batch, subject.evaluation

    @jax.jit
    def program(params: PyTree) -> tuple[Array, Array, Array]:
        found = judged(subject.config, task, batch)
        question = Question(LanguageModel(subject.config), params, batch)
        runs = pair_runs(question, task, corruption_key(evaluation.seed), {*cut})
        first, length = jnp.argmax(found.earlier, axis=1), batch.tokens.shape[1]
        last = batch.query_positions[:, 0]
        places = first[None] + jnp.arange(min(FURTHEST, length))[:, None]
        masks = jax.vmap(lambda at: at_position(at, length))(places)
        masks &= (found.applies[None] & (places <= last[None]))[..., None]
        ends = np.full((len(places), 2), (CORRUPTED, CLEAN))
        items = jnp.asarray(np.column_stack([ends, np.arange(len(places))]))
        patched = runs.exchanged(cut, items, masks, evaluation.chunk)
        return runs.answers["probability"], patched["probability"], masks.any(axis=-1)

    return program(subject.params)
