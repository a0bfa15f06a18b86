"""Documents, loss, steps and the loop."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax import runs
from mecheval_jax.files import read_table
from mecheval_jax.models.language_model import LanguageModel, initialize
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.tasks.base import SPLITS
from mecheval_jax.tasks.scoring import weighted_mean
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.data import evaluation_batch, stream, training_batch
from mecheval_jax.training.divergence import Diverged, Policy
from mecheval_jax.training.loop import fit
from mecheval_jax.training.step import loss_and_accuracy, read
from tests.support import small

# Documents -----------------------------------------------------------------------------------

TASK = AssociativeRecall(pairs=2, key_vocabulary=8, value_vocabulary=8)


@functools.partial(jax.jit, static_argnums=1)
def batch_of_step(step, training_batches, key=0):
    return training_batch(TASK, jax.random.key(key), jnp.asarray(step), 4, training_batches)


def test_fixed_set_is_replayed():
    """Catches a set that is shuffled, drawn anew in the second epoch, or of another size."""
    epoch = [batch_of_step(step, 3) for step in range(3)]
    for step in range(3):
        small.assert_same_bits(batch_of_step(step + 3, 3), epoch[step])
        small.assert_same_bits(batch_of_step(step + 300, 3), epoch[step])
        # It is the beginning of the endless stream.
        small.assert_same_bits(batch_of_step(step, None), epoch[step])
    assert len({np.asarray(batch.tokens).tobytes() for batch in epoch}) == 3


def test_fresh_documents_never_return():
    """Catches a key that is not folded with the step."""
    tokens = [np.asarray(batch_of_step(step, None).tokens).tobytes() for step in range(30)]
    assert len(set(tokens)) == 30
    assert np.asarray(batch_of_step(0, None, key=1).tokens).tobytes() not in tokens


def test_splits_are_separate_streams():
    """Catches evaluation on documents of the training set, or on those of another split."""
    key = jax.random.key(0)
    assert len({jax.random.key_data(stream(key, s)).tobytes() for s in SPLITS}) == 3
    of_split = jax.jit(lambda split: evaluation_batch(TASK, 0, 4, split), static_argnums=0)
    drawn = [np.asarray(of_split(split).tokens) for split in SPLITS]
    drawn += [np.asarray(batch_of_step(step, None).tokens) for step in range(4)]
    assert len({tokens.tobytes() for tokens in drawn}) == len(drawn)


# Loss ----------------------------------------------------------------------------------------

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


def test_weighted_mean():
    """Catches a mean over all queries instead of those that count."""
    mean = weighted_mean(jnp.array([[1.0, 7.0], [3.0, 100.0]]), jnp.array([[1.0, 1.0], [2.0, 0.0]]))
    assert float(mean) == (1 + 7 + 2 * 3) / 4


# Steps ---------------------------------------------------------------------------------------


def test_first_step_only_gathers_moments_and_rates_share_a_program():
    """Catches a first step with a rate above 0, and a program compiled per learning rate."""
    programs = small.programs(small.experiment(small.ONE_LAYER))
    start = programs.create()
    run = programs.steps(Policy.RAISE)  # compiled once and for all
    first, _ = run(jax.tree.map(jnp.copy, start), np.int32(0), np.int32(1))
    small.assert_same_bits(first.params, start.params)
    assert int(first.step) == 1
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(first.opt_state.mu))

    ends = []
    for rate in (1e-3, 3e-2):
        of_start = start.hyperparameters.learning_rate
        rate = jax.device_put(jnp.float32(rate), of_start.sharding)
        changed = start.hyperparameters.replace(learning_rate=rate)
        state = jax.tree.map(jnp.copy, start.replace(hyperparameters=changed))
        state, _ = run(state, np.int32(0), np.int32(5))
        ends.append(np.asarray(state.params["token_embedding"]["embedding"]))
    assert not np.array_equal(*ends)


def test_a_small_model_learns():
    """Catches a wrong sign, wrong targets, and gradients that do not reach the parameters."""
    experiment = small.experiment(
        {
            "task.key_vocabulary": 4,
            "task.value_vocabulary": 4,
            "model.mixer": "based",
            "model.width": 32,
            "model.feed_forward": "none",
        },
        steps=500,
        batch_size=64,
        learning_rate=1e-2,
        evaluate_every=250,
        evaluation_documents=256,
        checkpoint_every=500,
        steps_per_dispatch=250,
    )
    rows = trained(experiment)[1].rows
    dev = [row for row in rows if row["split"] == "dev"]
    assert dev[-1]["accuracy"] > 0.95  # one of the document's two values: 0.5
    assert dev[-1]["loss"] < 0.3 < rows[0]["loss"]


# The loop ------------------------------------------------------------------------------------


def trained(experiment, folder=None):
    """The last state and the recorded rows of a training without a run folder."""
    programs, recorder = small.programs(experiment), small.Recorder()
    checkpoints = Checkpoints(folder) if folder else small.Nowhere()
    state = fit(programs.create(), programs, checkpoints, recorder, Policy.RAISE)
    checkpoints.close()
    return state, recorder


def cut(**intervals):
    return small.experiment(small.ONE_LAYER, learning_rate=1e-2, **intervals)


@pytest.fixture(scope="module")
def single_steps():
    """A run whose every step is a dispatch of its own."""
    return trained(cut(steps_per_dispatch=1, evaluate_every=5, checkpoint_every=20))


@pytest.mark.parametrize(
    "intervals",
    [
        {"steps_per_dispatch": 3, "evaluate_every": 5, "checkpoint_every": 20},
        {"steps_per_dispatch": 7, "evaluate_every": 4, "checkpoint_every": 6},
    ],
)
def test_how_a_run_is_cut_changes_nothing(intervals, single_steps):
    """Catches steps skipped or repeated at a cut, and metrics averaged over the wrong steps."""
    state, recorder = trained(cut(**intervals))
    small.assert_same_bits(state, single_steps[0])

    stops = {s for every in intervals.values() for s in range(every, 21, every)} | {20}
    rows = [row for row in recorder.rows if row["split"] == "train"]
    assert [row["step"] for row in rows] == sorted(stops)
    single = {
        name: [row[name] for row in single_steps[1].rows if row["split"] == "train"]
        for name in ("loss", "accuracy")
    }
    assert len(single["loss"]) == 20
    for first, row in zip([0, *sorted(stops)], rows, strict=False):
        for name, values in single.items():
            np.testing.assert_allclose(row[name], np.mean(values[first : row["step"]]), rtol=1e-5)


def test_dev_scores_are_those_of_the_step(single_steps):
    """Catches an evaluation of parameters from before or after the step it is recorded for."""
    experiment = cut(steps_per_dispatch=1, evaluate_every=5, checkpoint_every=20)
    model, task, training = experiment.model, experiment.task, experiment.training
    batch = evaluation_batch(task, training.data_seed, training.evaluation_documents, "dev")
    score = jax.jit(lambda params, batch: loss_and_accuracy(model, params, task, batch))
    loss, accuracy = score(single_steps[0].params, batch)
    dev = [row for row in single_steps[1].rows if row["split"] == "dev"]
    assert [row["step"] for row in dev] == [5, 10, 15, 20]
    np.testing.assert_allclose(dev[-1]["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(dev[-1]["accuracy"], accuracy, rtol=1e-5)
    assert len({row["loss"] for row in dev}) == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return runs.train(small.experiment(small.ONE_LAYER), tmp_path_factory.mktemp("whole") / "run")


def test_metrics_are_complete_and_in_order(folder):
    """Catches rows that are lost, doubled or out of order, and fields that are missing."""
    lines = folder.metrics.read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [(row["step"], row["split"]) for row in rows] == [
        (5, "train"),
        (10, "train"),
        (10, "dev"),
        (15, "train"),
        (20, "train"),
        (20, "dev"),
    ]
    for row in rows:
        scores = {"step", "split", "loss", "accuracy"}
        assert set(row) == scores | ({"seconds_per_step"} if row["split"] == "train" else set())
        assert row["loss"] > 0
        assert 0 <= row["accuracy"] <= 1
    summary = folder.read_summary()
    assert summary["finished"] is True
    assert summary["step"] == 20
    assert summary["accuracy_low"] <= summary["accuracy"] <= summary["accuracy_high"]
    assert summary["floors"]["best"] >= summary["floors"]["in_document"] == 0.5


PROPERTIES = ("length", "distance", "pairs")


def test_slices_are_of_the_same_answers(folder):
    """Catches slices of other documents than those of the summary, or without some of them."""
    sliced = read_table(folder.slices).to_dict("records")
    by_name = {name: [row for row in sliced if row["property"] == name] for name in PROPERTIES}
    assert sum(map(len, by_name.values())) == len(sliced)
    assert len(by_name["distance"]) > 1
    for rows in by_name.values():
        assert sum(row["queries"] for row in rows) == 16
        right = sum(row["accuracy"] * row["queries"] for row in rows)
        assert right / 16 == pytest.approx(folder.read_summary()["accuracy"])


# Divergence ----------------------------------------------------------------------------------


def states_of(folder, experiment):
    """Every checkpoint of a folder."""
    form = small.programs(experiment).saved_form
    steps = sorted(int(path.name) for path in folder.checkpoints.iterdir())
    states = []
    for step in steps:
        checkpoints = Checkpoints(folder.checkpoints)
        states.append(checkpoints.read(step, form))
        checkpoints.close()
    return dict(zip(steps, states, strict=True))


def test_divergence_is_named_and_never_saved(tmp_path):
    """Catches a run that goes on with numbers that are none, or saves them."""
    experiment = small.experiment(
        small.ONE_LAYER, learning_rate=1e9, checkpoint_every=1, warmup_fraction=0.5
    )
    with pytest.raises(Diverged) as caught:
        runs.train(experiment, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    states = states_of(folder, experiment)
    assert f"at step {caught.value.step} " in str(caught.value)
    assert "1e+09" in str(caught.value)
    assert f"the checkpoint of step {max(states)} is kept" in str(caught.value)
    assert caught.value.step in (max(states), max(states) - 1)
    for state in states.values():
        for leaf in jax.tree.leaves((state["params"], state["moments"])):
            assert np.isfinite(np.asarray(leaf)).all()
    assert folder.read_summary() == {"finished": False, "diverged_at": caught.value.step}
    for row in folder.read_metrics():
        assert np.isfinite(row["loss"])


def test_divergence_in_the_last_update(tmp_path):
    """Catches a check of the losses alone: that of the last step does not see its update."""
    experiment = small.experiment(
        small.ONE_LAYER,
        steps=1,
        warmup_fraction=0.0,
        learning_rate=1e38,
        weight_decay=1e10,
    )
    with pytest.raises(Diverged, match="at step 0 "):
        runs.train(experiment, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert not states_of(folder, experiment)
    assert folder.read_summary() == {"finished": False, "diverged_at": 0}


# Early end ------------------------------------------------------------------------------------


def test_training_ends_at_the_target(tmp_path):
    """Catches a target that is ignored, one that is looked at late, and a resume that goes on."""
    target = {"learning_rate": 1e-2, "steps": 200, "evaluate_every": 20, "checkpoint_every": 200}
    experiment = small.experiment(small.ONE_LAYER, **target, target_accuracy=0.3)
    folder = runs.train(experiment, tmp_path / "run")
    dev = [row for row in folder.read_metrics() if row["split"] == "dev"]
    end = folder.read_summary()["step"]
    assert 20 < end < 200
    assert [row["accuracy"] >= 0.3 for row in dev] == [False] * (len(dev) - 1) + [True]
    assert dev[-1]["step"] == end
    assert runs.load(folder.path).step == end

    before = folder.metrics.read_text()
    runs.train(experiment, folder.path)  # finished: skipped
    folder.summary.unlink()  # as if it had been broken off before it was written
    runs.train(experiment, folder.path)
    assert folder.read_summary()["step"] == end
    assert folder.metrics.read_text() == before
