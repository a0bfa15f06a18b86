"""Compiled programs: they answer, in any basis, and have the verdict of their source."""

import numpy as np
import pytest

from mecheval_jax import files
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.verdict.measurement import measure_verdict
from mecheval_jax.ground_truth import compiled
from mecheval_jax.interventions.capture import run
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted

VERDICTS = {
    compiled.INDUCTION: ("induction", 1),
    compiled.DIRECT: ("direct_retrieval", 2),
    compiled.HOPS: ("induction", 3),
}
"""Mechanisms by the source of the programs, with the layers that look the answer up."""


@pytest.mark.parametrize("name", compiled.TASKS)
def test_a_program_answers_in_any_basis(name):
    """Catches a parameter that is not turned, or is turned from the wrong side."""
    logits = []
    for seed in (None, 0, 1):
        config, params, task = compiled.program(name, seed)
        batch = planted.documents(task, 32)
        logits.append(np.asarray(run(LanguageModel(config), params, batch))[:, 0])
        assert (logits[-1].argmax(axis=-1) == np.asarray(batch.targets[:, 0])).all()
    np.testing.assert_allclose(logits[1:], [logits[0]] * 2, atol=1e-4)


def test_a_seed_turns_the_axes():
    """Catches models whose variables stay on axes of their own."""
    kernels = [
        np.asarray(params["block_0"]["mixer"]["v_proj"]["kernel"])
        for params in (compiled.program(compiled.INDUCTION, seed)[1] for seed in (None, 0, 1))
    ]
    shares = [(np.abs(kernel) > 1e-6).mean() for kernel in kernels]
    assert shares[0] < 0.02
    assert min(shares[1:]) > 0.2
    assert not np.allclose(kernels[1], kernels[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.update(other=np.ones(1)), r"'other' is of no program"),
        (lambda found: found.pop("induction/token_embedding/embedding"), r"weights of induction"),
        (
            lambda found: found.pop("induction/position_embedding/embedding"),
            r"position_embedding/embedding is absent",
        ),
        (
            lambda found: found.update({"induction/token_embedding/embedding": np.ones(3)}),
            r"lacks weights of induction",
        ),
        (
            lambda found: found.update({"induction/position_embedding/embedding": "x"}),
            r"no weights",
        ),
        (
            lambda found: found.update(
                {
                    "induction/position_embedding/embedding": found[
                        "induction/position_embedding/embedding"
                    ]
                    * np.nan
                }
            ),
            r"position_embedding/embedding has a value that is not finite",
        ),
    ],
)
def test_a_damaged_file_is_named(tmp_path, monkeypatch, change, message):
    """Catches a traceback."""
    found = files.read_arrays(compiled.FILE, "")
    change(found)
    files.write_arrays(tmp_path / "programs.npz", found)
    monkeypatch.setattr(compiled, "FILE", tmp_path / "programs.npz")
    compiled._weights.cache_clear()
    try:
        with pytest.raises(UserError, match=message):
            compiled.program(compiled.INDUCTION)
    finally:
        compiled._weights.cache_clear()
    with pytest.raises(UserError, match=r"unknown program 'inducton'.*did you mean 'induction'"):
        compiled.program("inducton")


@pytest.mark.parametrize("name", compiled.TASKS)
def test_the_verdict_is_that_of_the_source(name):
    """Catches a verdict that holds for models set by hand alone."""
    model = compiled.program(name, 0)
    evaluation = EvaluationConfig(documents=64, corruptions=("key",), resamples=200)
    subject = planted.subject_of(model, planted.documents(model[2], 64), evaluation)
    verdict = measure_verdict(subject, ()).verdict
    assert verdict is not None
    assert (verdict.verdict, verdict.layer) == VERDICTS[name]
