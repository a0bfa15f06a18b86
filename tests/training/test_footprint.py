"""Sizes that cannot be are refused before anything is allocated."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.models.language_model import parameter_count
from mecheval_jax.training import footprint
from tests.support import small

GIB = 2**30


def of(changes=None, **training):
    experiment = small.experiment(changes or {}, **training)
    return experiment, footprint.footprint_of(
        experiment.model, experiment.task, experiment.training, experiment.evaluation.documents
    )


@pytest.mark.parametrize("mixer", [*small.MIXERS, "gated_delta_net", "mamba2", "s4d"])
def test_it_is_never_more_than_a_model_has(mixer):
    """Catches a training that is refused though it would fit."""
    experiment, found = of({"model.mixer": mixer, "model.width": 32})
    assert 0 < found.parameters <= 4 * parameter_count(experiment.model)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model.width": 2**20}, "parameters"),
        ({"task.key_vocabulary": 2**30}, "parameters"),
        ({"task.pairs": 10**7, "task.key_vocabulary": 10**7, "task.value_vocabulary": 10**7,
          "model.max_length": 10**8}, "batch"),
        ({"training.batch_size": 10**9}, "batch"),
        ({"training.evaluation_documents": 2 * 10**9}, "documents"),
    ],
)  # fmt: skip
def test_what_cannot_be(changes, what, monkeypatch):
    """Catches minutes of silence before a crash, and a message without numbers."""
    monkeypatch.setattr(footprint, "total_memory", lambda: 16 * GIB)
    experiment, found = of(changes)
    assert getattr(found, what) > 16 * GIB
    with pytest.raises(UserError, match=rf"at least [\d,.]+ GiB .*{what} [\d,.]+ GiB.* 16\.00 GiB"):
        footprint.check_memory(experiment.model, experiment.task, experiment.training, 16)


@pytest.mark.parametrize("name", ["training.evaluation_documents", "evaluation.documents"])
def test_which_documents_are_too_many(name, monkeypatch):
    """Catches advice to take fewer of documents that are few."""
    monkeypatch.setattr(footprint, "total_memory", lambda: 16 * GIB)
    experiment, _ = of({name: 2 * 10**9})
    documents = experiment.evaluation.documents
    with pytest.raises(UserError, match=rf" or {name} \(2,000,000,000\)$"):
        footprint.check_memory(experiment.model, experiment.task, experiment.training, documents)


def test_micro_batches_need_less():
    """Catches a batch that is counted whole though it is cut."""
    _, whole = of(batch_size=64)
    _, cut = of(batch_size=64, gradient_accumulation=8)
    assert cut.batch * 8 == whole.batch


def test_activations_in_half_the_bytes():
    """Catches a training that is refused for activations of twice the size that they have."""
    (experiment, whole), (_, half) = of(), of({"model.dtype": "bfloat16"})
    model, length = experiment.model, experiment.task.max_length
    stream = experiment.training.batch_size * length * model.layers * model.width
    assert whole.batch - half.batch == 2 * stream
    assert (half.parameters, half.optimizer) == (whole.parameters, whole.optimizer)


def test_documents(monkeypatch):
    """Catches documents that are drawn before anybody asks how many fit."""
    monkeypatch.setattr(footprint, "total_memory", lambda: GIB)
    task = small.experiment().task
    footprint.check_documents(task, 1000)
    with pytest.raises(UserError, match="fewer than 100,000,000 documents"):
        footprint.check_documents(task, 10**8)
