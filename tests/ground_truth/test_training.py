"""Training to a mechanism: what each rule rewards, on planted models, and that models learn."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.ground_truth import training
from mecheval_jax.ground_truth.mechanisms import rules_of
from mecheval_jax.ground_truth.training import Settings, train_to
from mecheval_jax.tasks.geometry import geometry
from tests.support import planted


@pytest.mark.parametrize(
    ("build", "own", "other"),
    [
        (planted.induction, "induction", "direct_retrieval"),
        (planted.convolution, "convolutional_binding", "induction"),
    ],
)
def test_rules_tell_mechanisms_apart(build, own, other):
    """Catches a rule that rewards the wrong set, run or direction."""
    config, params, task = build(0)
    rules = [rules_of(config, mechanism, task.usual_length) for mechanism in (own, other)]

    @jax.jit
    def both(params, batch):
        key = jax.random.key(0)
        return [training.losses_of(config, task, each, params, batch, key) for each in rules]

    right, wrong = both(params, planted.documents(task, 16))
    assert float(right["answer"]) == pytest.approx(float(wrong["answer"]))
    assert right["rules"] < 0.2
    assert wrong["rules"] > 1.0
    assert right["logits"] < 0.02
    assert wrong["logits"] > 0.2


def test_a_rule_that_is_always_kept_has_a_share_of_one(monkeypatch):
    """Catches shares of documents that add up to more than 1."""
    batch, key = planted.documents(planted.TASK, 192), jax.random.key(0)
    found = dataclasses.replace(geometry(planted.TASK, batch), applies=jnp.arange(192) < 190)
    runs = types.SimpleNamespace(log_probabilities=jnp.zeros((2, 192, 5)))
    correct = types.SimpleNamespace(correct=jnp.ones((192, 1)))
    answers = jnp.zeros((192, 5))
    monkeypatch.setattr(training, "_both_runs", lambda *asked: (runs, found))
    monkeypatch.setattr(training, "_answers", lambda *asked: (answers, answers))
    monkeypatch.setattr(training, "score", lambda *asked: correct)
    config = planted.shape_of("attention")
    kept = training.rules_kept(config, planted.TASK, "induction", {}, batch, key)
    assert kept.tolist() == [1.0, 1.0]


def test_models_of_several_seeds_learn_at_once():
    """Catches seeds that are one model, a loss that rises, and steps that are left out."""
    config = planted.shape_of("attention", width=16, feed_forward="none")
    told = []
    settings = Settings(steps=12, batch_size=8, learning_rate=1e-2)
    found = train_to(
        config,
        planted.TASK,
        "induction",
        (0, 1),
        settings,
        lambda step, losses: told.append((step, losses)),
    )
    assert [step for step, _ in told] == [2, 4, 6, 8, 10, 12]
    assert set(told[0][1]) == {"answer", "rules", "logits"}
    assert (told[-1][1]["answer"] < told[0][1]["answer"]).all()
    first, second = (np.asarray(params["token_embedding"]["embedding"]) for params in found)
    assert first.shape == (planted.TASK.vocabulary_size, 16)
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: Settings(steps=0), r"training to a mechanism.steps is 0"),
        (lambda: Settings(learning_rate=-1.0), r"learning_rate is -1"),
        (lambda: Settings(weight=-1.0), r"weight is -1"),
        (
            lambda: train_to(
                planted.shape_of("attention", layers=1), planted.TASK, "induction", (0,)
            ),
            r"binds in one layer",
        ),
    ],
)
def test_mistakes_are_named(ask, message):
    """Catches settings that cannot be, and training that could not succeed."""
    with pytest.raises(UserError, match=message):
        ask()
