"""The search over positions finds where a pair is held."""

import pytest

from mecheval_jax.evaluation.verdict.search import search_positions
from mecheval_jax.evaluation.verdict.verdict import Verdict
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
