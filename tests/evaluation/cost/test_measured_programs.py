"""The programs whose costs are measured do what they say."""

import jax
import numpy as np
import pytest

from mecheval_jax.evaluation.cost.measured_programs import (
    DECODED,
    PROGRAMS,
    decode,
    prefill,
    training,
)
from mecheval_jax.models.language_model import ModelConfig, parameter_count

WIDTH, VOCABULARY = 16, 32


def model(mixer="attention", **options):
    return ModelConfig(mixer, 2, WIDTH, VOCABULARY, 64, **options)


def test_operations_of_attention():
    """Catches a program that leaves out the head, the scores, or the backward pass."""
    length, batch = 24, 3
    config = model()
    found = prefill(config, length, batch).count().flops / (length * batch)
    # All weights at every token in the first layer; in the last, queries and what follows at one.
    scores = 4 * length * WIDTH
    first = 2 * 12 * WIDTH**2 + scores
    last = 2 * 2 * WIDTH**2 + (2 * 10 * WIDTH**2 + scores + 2 * WIDTH * VOCABULARY) / length
    assert found == pytest.approx(first + last, rel=0.25)  # softmax, norms and activations too
    assert found > first + last
    step = training(config, length, batch)
    update = 10 * parameter_count(config) / step.tokens
    assert 2.5 * found < step.count().flops / step.tokens < 4 * found + 2 * update


def test_a_recurrence_costs_the_same_a_token():
    """Catches a loop that is counted once."""
    short, long = (prefill(model("mamba"), n, 1).count().flops / n for n in (16, 64))
    assert long == pytest.approx(short, rel=0.1)
    short, long = (prefill(model("attention"), n, 1).count().flops / n for n in (16, 64))
    assert long > 1.2 * short


def test_decoding_goes_on_at_the_end():
    """Catches a state that is too short, and a clock that starts at 0."""
    program = decode(model(), 40, 2)
    params, state, tokens = program.make()
    assert tokens.shape == (2, DECODED)
    assert state["position"] == 40 - DECODED
    after, logits = program.function(params, state, tokens)
    assert after["position"] == 40
    assert logits.shape == (2, VOCABULARY)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("kind", PROGRAMS)
def test_what_is_compiled_runs(kind):
    """Catches arguments that do not fit, and tokens that are miscounted."""
    program = PROGRAMS[kind](model("based"), 16, 2)
    compiled, arguments = program.compile(), program.make()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(compiled(*arguments)))
    assert program.tokens == 2 * (DECODED if kind == "decode" else 16)
