"""Evidence: which sites a verdict reads, and what is kept of them for pooling."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.evidence import (
    Evidence,
    convolution_sites,
)
from mecheval_jax.evaluation.verdict.verdict import judge
from tests.support import planted
from tests.support.fabricated import DIRECT, EVALUATION, IN, OUT, evidence_on, verdict_on


def test_few_documents_give_no_verdict():
    """Catches a verdict on 19 documents, or on a next key in three, that all agree by chance."""
    shares = {(IN, "value"): 1.0, (OUT, "query"): 1.0}
    for count, name in ((19, "undecided"), (20, "induction")):
        runs = {"clean": np.full(count, 0.9), "corrupted": np.full(count, 0.1)}
        verdict = verdict_on(shares, correct=1.0, **runs)
        assert verdict.verdict == name
        assert verdict.probabilities[name] == 1
        assert ("value in 19" in verdict.reason) == (count == 19)
    present = np.ones((4, 40), bool)
    present[2, 3:] = False
    verdict = verdict_on(shares, present=present)
    assert (verdict.verdict, "next_key in 3" in verdict.reason) == ("undecided", True)


@pytest.mark.parametrize(
    ("mixer", "names"),
    [
        ("attention", set()),
        ("mamba", {"mixer/conv_output"}),
        ("hyena", {"mixer/conv_output"}),
        ("h3", {"mixer/shift_output"}),
        ("delta_net", {"mixer/k", "mixer/v"}),
        ("gla", set()),
    ],
)
def test_what_a_convolution_gives(mixer, names):
    """Catches keys without a convolution taken for convolved ones, and sites that are missed."""
    config = planted.shape_of(mixer, layers=1)
    assert set(convolution_sites(config)) == {f"block_0/{name}" for name in names}


def test_a_canon_convolution_is_read_too():
    """Catches a residual convolution before the mixer that is passed over."""
    config = planted.shape_of("attention", layers=1, canon=4)
    assert convolution_sites(config) == ("block_0/canon_output",)


def test_evidence_survives_its_file(tmp_path):
    """Catches a pooled verdict that rests on other numbers than the runs' own."""
    evidence = evidence_on(DIRECT)
    evidence.write(tmp_path / "evidence.npz")
    again = Evidence.read(tmp_path / "evidence.npz")
    assert judge(again, EVALUATION) == judge(evidence, EVALUATION)
    (tmp_path / "evidence.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="damaged"):
        Evidence.read(tmp_path / "evidence.npz")
    with pytest.raises(UserError, match=r"launch\.intervene writes it"):
        Evidence.read(tmp_path / "nothing.npz")


def test_different_architectures_are_not_pooled():
    """Catches an average over places that are not the same."""
    with pytest.raises(UserError, match="cannot be pooled"):
        Evidence.pool([evidence_on(DIRECT), evidence_on(DIRECT, convolutions=("mixer/k",))])
