"""The search over positions finds where a pair is held."""

import numpy as np
import pytest

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.verdict import search
from mecheval_jax.evaluation.verdict.places import STREAM, nearest, places_of
from mecheval_jax.evaluation.verdict.search import search_positions
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.tasks.geometry import geometry
from tests.support import planted


def test_the_position_that_holds_the_pair():
    """Catches offsets counted from another token, and a gap of other documents."""
    model = planted.induction(1)
    subject = planted.subject_of(model, planted.documents(model[2], 64, 1))
    blank = Verdict("undecided", None, None, "why", {}, {}, elsewhere=1)
    found = search_positions(subject, blank)
    rows = found.evidence["search"]
    assert rows[0]["offset"] == 1  # the value, one token behind the key
    assert rows[0]["value"] == pytest.approx(1, abs=0.02)
    assert max(row["value"] for row in rows[1:]) < 0.05
    assert found.reason.startswith("why; ")
    assert "1.00 at +1" in found.reason


def test_the_documents_are_those_that_were_judged():
    """Catches documents in which a convolution could have joined the pair, or fetched it."""
    evaluation = EvaluationConfig(documents=16, corruptions=("key",), resamples=50)
    subject = planted.lively_subject("mamba", evaluation)
    _, _, present = search._restored(subject, ("block_1/block_input",))
    found = geometry(subject.task, subject.batch)
    judged = found.apart(nearest(subject.config, subject.task.usual_length)).applies
    assert judged.sum() < found.applies.sum()
    np.testing.assert_array_equal(np.asarray(present).any(axis=0), judged)


def test_what_passes_the_cut_beside_the_stream():
    """Catches the values of RWKV-7's first layer left corrupted: restoring the whole document at
    the cut would not restore the answer."""
    evaluation = EvaluationConfig(documents=16, corruptions=("key",), resamples=50)
    subject = planted.lively_subject("rwkv7", evaluation)
    blank = Verdict("undecided", None, None, "why", {}, {}, elsewhere=1)
    (site,) = {row["site"] for row in search_positions(subject, blank).evidence["search"]}
    (cut,) = (p for p in places_of(subject.config, subject.task.usual_length) if p.kind == STREAM)
    assert site == cut.site
    assert len(cut.sites) == 2
