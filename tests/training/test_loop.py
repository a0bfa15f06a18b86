"""The loop, of a run on its own."""

import jax
import numpy as np
import pytest

from mecheval_jax import runs
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.data import evaluation_batch
from mecheval_jax.training.loop import fit
from mecheval_jax.training.state import Policy
from mecheval_jax.training.step import loss_and_accuracy
from tests.support import small


def trained(experiment, folder=None):
    """The last state and the recorded rows of a training without a run folder."""
    programs, recorder = small.programs(experiment), small.Recorder()
    checkpoints = Checkpoints(folder) if folder else small.Nowhere()
    state = fit(programs.create(), programs, checkpoints, recorder, Policy.RAISE)
    checkpoints.close()
    return state, recorder


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
