"""A step in micro-batches, and a gradient that computes the forward pass again."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.models.language_model import LanguageModel, initialize
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.training.step import answer, gradients_and_metrics
from tests.support import small

EXPERIMENT = small.experiment({"task.queries": 2, "model.layers": 1})


@pytest.fixture(scope="module")
def example():
    """Parameters, and 8 documents whose queries weigh differently, some nothing."""
    params = jax.jit(lambda key: initialize(EXPERIMENT.model, key))(jax.random.key(0))
    batch = EXPERIMENT.task.sample(jax.random.key(1), 8, "train")
    weights = jax.random.randint(jax.random.key(2), batch.weights.shape, 0, 4)
    return params, dataclasses.replace(batch, weights=weights.astype(jnp.float32))


def gradients(example, **changes):
    training = dataclasses.replace(EXPERIMENT.training, **changes)
    run = jax.jit(
        lambda params, batch: gradients_and_metrics(
            EXPERIMENT.model, params, EXPERIMENT.task, batch, training
        )
    )
    return run(*example)


@pytest.fixture(scope="module")
def whole(example):
    return gradients(example)


def assert_close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), ours, theirs)


def test_metrics_are_means_over_queries(example, whole):
    """Catches a mean over documents, or one in which absent queries count: a plain loop."""
    params, batch = example
    scores = jax.jit(
        lambda params, batch: answer(EXPERIMENT.model, params, EXPERIMENT.task, batch)
    )(params, batch)
    totals = {"loss": 0.0, "accuracy": 0.0}
    for document in range(8):
        for query in range(2):
            weight = float(batch.weights[document, query])
            totals["loss"] += weight * float(scores.loss[document, query])
            totals["accuracy"] += weight * float(scores.correct[document, query])
    for name, total in totals.items():
        np.testing.assert_allclose(whole[1][name], total / batch.weights.sum(), rtol=1e-5)


@pytest.mark.parametrize("count", [2, 8])
def test_micro_batches_give_the_gradient_of_the_batch(example, whole, count):
    """Catches a mean of the micro-batches' means, and sums that start from the first twice."""
    assert_close(gradients(example, gradient_accumulation=count), whole)


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_rematerialization_changes_no_number(example, whole, remat):
    """Catches a block that is wrapped with other parameters, or reads other positions."""
    assert_close(gradients(example, remat=remat), whole)


def test_rematerialization_keeps_less(example):
    """Catches a policy that is not applied."""
    params, batch = example

    def kept(remat):
        model = LanguageModel(EXPERIMENT.model, remat=remat)
        run = lambda params: model.apply({"params": params}, batch.tokens)
        _, pull_back = jax.eval_shape(lambda params: jax.vjp(run, params), params)
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(pull_back))

    assert kept("full") < kept("dots") < kept("none")


def test_settings_that_cannot_be():
    """Catches a mistake that is found only in the compiled step."""
    with pytest.raises(UserError, match="batch_size 8 does not divide into 3 micro-batches"):
        small.experiment(gradient_accumulation=3)
    with pytest.raises(UserError, match=r"'ful'.*full"):
        small.experiment(remat="ful")


def test_configs_from_before_these_fields(tmp_path):
    """Catches a run of an older version that cannot be resumed."""
    folder = RunFolder(tmp_path / "run")
    folder.open(EXPERIMENT)
    values = EXPERIMENT.as_dict()
    for name in ("gradient_accumulation", "remat"):
        del values["training"][name]
    assert Experiment.from_config(values) == EXPERIMENT
    folder.open(Experiment.from_config(values))
