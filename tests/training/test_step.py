"""Loss at the queries, micro-batches, and gradients that compute the forward pass again."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.models.language_model import LanguageModel, initialize
from mecheval_jax.training.members import Ensemble
from mecheval_jax.training.optimizer import Special
from mecheval_jax.training.state import NEVER, hyperparameters_of, new_state
from mecheval_jax.training.step import (
    add_share,
    answer,
    evaluate_state,
    gradients_and_metrics,
    loss_and_accuracy,
    read,
    special_parameters,
    totals_of,
)
from tests.support import small

TWO_QUERIES = {
    "task.pairs": 4,
    "task.min_pairs": 2,
    "task.queries": 2,
    "model.positions": "learned",
}


@pytest.fixture(scope="module")
def two_queries():
    """Documents of which every second one's second query does not count."""
    task = small.experiment(TWO_QUERIES).task
    batch = jax.jit(lambda key: task.sample(key, 8, "train"))(jax.random.key(3))
    return batch.replace(weights=batch.weights.at[::2, 1].set(0))


@pytest.mark.parametrize("mixer", small.MIXERS)
def test_loss_at_the_queries_is_that_of_all_positions(mixer, two_queries):
    """Catches logits read one place off, and a last layer that skips what it must read."""
    experiment = small.experiment(TWO_QUERIES | {"model.mixer": mixer})
    model, task, batch = experiment.model, experiment.task, two_queries
    shapes = jax.eval_shape(lambda: initialize(model, jax.random.key(0)))
    draw = np.random.default_rng(0)  # large: fresh parameters let hardly anything through
    params = jax.tree.map(lambda leaf: jnp.float32(0.5 * draw.normal(size=leaf.shape)), shapes)

    @jax.jit
    def compute(params, batch):
        apply = functools.partial(LanguageModel(model).apply, {"params": params})
        everywhere = apply(batch.tokens)  # the whole document, answers and padding included
        short, at = read(task, batch), batch.query_positions
        computed = [apply(short, at, skip_unread=skip) for skip in (False, True)]
        # Each query on its own as well: some mixers read a single one in another way.
        alone = [apply(short, at[:, q : q + 1], skip_unread=True) for q in range(2)]
        computed.append(jnp.concatenate(alone, axis=1))
        return everywhere, computed, loss_and_accuracy(model, params, task, batch)

    everywhere, computed, (loss, accuracy) = jax.device_get(compute(params, batch))
    tokens, positions, weights = map(
        np.asarray, (batch.tokens, batch.query_positions, batch.weights)
    )
    assert len(np.unique(positions[:, 0])) > 1  # documents of several lengths
    expected, right, asked = [], [], []
    for i in range(8):
        for q, position in enumerate(positions[i]):
            logits = everywhere[i, position].astype(np.float64)
            for at_queries in computed:
                np.testing.assert_allclose(at_queries[i, q], logits, rtol=1e-4, atol=1e-5)
            answer = tokens[i, position + 1]
            expected.append(np.log(np.exp(logits).sum()) - logits[answer])
            right.append(logits.argmax() == answer)
            asked.append(weights[i, q])
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(loss, np.average(expected, weights=asked), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.average(right, weights=asked), rtol=1e-6)


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


@pytest.mark.parametrize("count", [1, 2])
def test_parts_give_the_gradient_of_the_batch(example, whole, count):
    """Catches parts that weigh alike whatever their queries, and a part that is left out."""
    params, batch = example
    parts = [
        jax.tree.map(lambda leaf, cut=cut: leaf[cut], batch) for cut in (slice(4), slice(4, 8))
    ]
    training = dataclasses.replace(EXPERIMENT.training, gradient_accumulation=count)
    ensemble = Ensemble(EXPERIMENT.model, EXPERIMENT.task, (training,))
    add = jax.jit(functools.partial(add_share, ensemble=ensemble))
    first, second = map(vars, parts)
    totals = totals_of((first, second), EXPERIMENT.task)
    shares = add(None, params, first, totals)
    assert_close(add(shares, params, second, totals), whole)


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


def test_parameters_that_authors_train_otherwise():
    """Catches a study that trains some parameters otherwise, and one switch that does both."""
    model = dataclasses.replace(EXPERIMENT.model, mixer="rwkv7", layers=1)
    special = lambda **fields: special_parameters(
        model, dataclasses.replace(EXPERIMENT.training, **fields)
    )
    assert special() == {}
    assert special(scaled_rates=True) == {"block_0/mixer/w0": Special(2.0)}
    both = special(scaled_rates=True, exempt_from_decay=True)
    assert both["block_0/mixer/w0"] == Special(2.0, decays=False)
    assert both["block_0/mixer/a0"] == Special(decays=False)


@pytest.mark.parametrize(("step", "diverged"), [(7, NEVER), (20, 19), (50, 49)])
def test_a_run_diverges_where_it_would_be_evaluated_alone(step, diverged):
    """Catches a member that is frozen at the last step of a shorter one."""
    experiment = small.experiment(small.ONE_LAYER, steps=50, evaluate_every=20)
    runs = (experiment.training,)
    ensemble = Ensemble(experiment.model, experiment.task, runs)
    state = new_state(experiment.model, hyperparameters_of(experiment.training))
    state = state.replace(step=jnp.int32(step), params=jax.tree.map(jnp.log, state.params))
    batch = experiment.task.sample(jax.random.key(0), 4, "dev")
    changed, scores = evaluate_state(state, batch, ensemble)
    assert not np.isfinite(scores["loss"])
    assert int(changed["diverged_at"]) == diverged
