"""Steps on documents that the host draws: what is compiled, and that it changes no number."""

import jax.monitoring
import numpy as np
import pytest

from mecheval_jax.training import host_steps
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import HostDocuments
from mecheval_jax.training.replay import Replay
from mecheval_jax.training.state import Policy
from tests.support import small
from tests.support.treecall_cases import experiment

STEPS, BATCHES = 12, 5


@pytest.fixture
def compiled():
    """Names of the functions that are compiled while a test runs."""
    names = []

    def on_event(event, _, **about):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(about["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(on_event)
    yield names
    jax.monitoring.unregister_event_duration_listener(on_event)


def made(**training):
    return experiment(steps=STEPS, training_batches=BATCHES, batch_size=16, **training)


def shapes_of(made, worth):
    """Shapes of the parts of every step."""
    unit = made.training.gradient_accumulation if worth else None
    key = jax.random.key(made.training.data_seed)
    documents = HostDocuments(made.task, key, 16, Replay(BATCHES), unit=unit)
    return [tuple(each["tokens"].shape for each in documents.parts(at)) for at in range(STEPS)]


@pytest.fixture
def losses_of(monkeypatch, compiled):
    """Losses of twelve steps in stretches of four, with every program compiled once."""

    def losses(made, worth, most_combinations=100):
        monkeypatch.setattr(host_steps, "STEPS_WORTH_PARTS", STEPS if worth else STEPS + 1)
        monkeypatch.setattr(host_steps, "MOST_COMBINATIONS", most_combinations)
        programs = small.programs(made)
        state, program = programs.create(), programs.steps(Policy.RAISE)
        shapes, found = shapes_of(made, worth), []
        assert shapes[:BATCHES] == shapes[BATCHES : 2 * BATCHES]
        compiled.clear()
        for first in (0, 4, 8):
            state, metrics = program(state, np.int32(first), np.int32(first + 4))
            found += np.asarray(metrics["loss"])[:4].tolist()
        # A program for each combination of shapes; or one for each shape of a first, a middle and
        # a last part, and a small one for each combination, which gives its totals.
        by_place = {
            (len(each) > 1, place == 0, place == len(each) - 1, part)
            for each in shapes
            for place, part in enumerate(each)
        }
        of_parts = len(by_place) + len({each for each in shapes if len(each) > 1})
        of_steps = len(set(shapes))
        expected = of_steps if not worth or of_steps <= most_combinations else of_parts
        room_for_metrics = 1
        assert compiled.count("jit(on_mesh)") == expected + room_for_metrics, compiled
        # A run that is resumed takes the same steps.
        again = programs.steps(Policy.RAISE)
        middle, _ = again(programs.create(), np.int32(0), np.int32(3))
        resumed = programs.steps(Policy.RAISE)
        _, metrics = resumed(middle, np.int32(3), np.int32(5))
        np.testing.assert_array_equal(np.asarray(metrics["loss"])[:2], found[3:5])
        return found

    return losses


@pytest.mark.parametrize("one_too_many", [False, True])
def test_each_shape_is_compiled_once_and_documents_follow_the_step(losses_of, one_too_many):
    """Catches a compilation for every batch, or for every combination of the shapes of parts; and
    documents that depend on how a run is cut."""
    shapes = shapes_of(made(), True)
    most_combinations = len(set(shapes)) - one_too_many
    assert len(set(shapes)) > 1
    assert max(map(len, shapes)) > 2
    assert {len(each) for each in shapes_of(made(), False)} == {1}
    in_parts = losses_of(made(), True, most_combinations)
    # Parts give the losses of whole batches.
    np.testing.assert_allclose(in_parts, losses_of(made(), False), rtol=1e-5)


@pytest.mark.parametrize("most_combinations", [0, 100])
def test_micro_batches_of_parts(losses_of, most_combinations):
    """Catches parts that micro-batches do not divide, and shares of a part that are not its own."""
    accumulating = made(gradient_accumulation=2)
    in_parts = losses_of(accumulating, True, most_combinations)
    np.testing.assert_allclose(in_parts, losses_of(made(), False), rtol=1e-5)


@pytest.mark.parametrize(
    ("steps", "platform", "parts"),
    [(10_000, "cpu", True), (9_999, "cpu", False), (10_000, "gpu", False)],
)
def test_when_documents_are_in_parts(steps, platform, parts):
    """Catches parts on an accelerator, or in a run that is over before they are compiled."""
    assert host_steps.are_in_parts(TrainingConfig(steps=steps), platform) == parts
