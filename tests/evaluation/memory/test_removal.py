"""Taking a pair out of a memory, where it is set by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.removal import MemoryPlace, Removed, find_memory, memories
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import capture, observe
from mecheval_jax.interventions.patch import replace
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from tests.support import planted, planted_memory


def test_the_state_of_a_delta_rule_holds_the_pair_at_the_value():
    """Catches a write of another token, or an answer that is lost whatever is taken out."""
    subject = planted_memory.delta_rule(planted_memory.RECALL, 0.5)
    found, _ = find_memory(subject, subject.batch)
    assert found.places[found.best] == MemoryPlace("block_0/mixer/write", 0)
    assert found.clean.min() > 0.99
    assert found.removed[found.best].max() < 0.2
    others = np.delete(found.removed, found.best, axis=0)
    assert np.where(np.delete(found.present, found.best, axis=0), others, 1).min() > 0.99
    whole, where = find_memory(subject, subject.batch, together=True)
    assert whole.places == (MemoryPlace("block_0/mixer/write", tokens=3),)
    assert set(np.asarray(whole.places[0].positions(where)).sum(axis=1)) == {2, 3}
    np.testing.assert_allclose(whole.removed[0], found.removed[found.best], atol=1e-3)


def test_a_place_that_no_document_has_is_not_the_best():
    """Catches an effect of 0 where nothing was removed, above all that were measured."""
    places = tuple(MemoryPlace("block_0/mixer/write", offset) for offset in range(3))
    removed = np.array([[0.0, 0.0], [0.4, 0.6], [0.3, 0.4]])
    present = np.array([[False, False], [True, True], [True, False]])
    clean = np.array([0.2, 0.3])
    assert Removed(places, clean, removed, present).best == 2  # by the one document that has it


def test_every_copy_of_a_pair_is_removed():
    """Catches a place that is missed since the model answers from another copy."""
    task = MultiQueryRecall(vocabulary=64, lengths=(32,), pairs=(4,), num_passes=2)
    subject = planted_memory.lively("gla", task)
    place = MemoryPlace("block_0/mixer/write", 0)
    found, where = find_memory(subject, subject.batch)
    np.testing.assert_array_equal(place.positions(where).sum(axis=1), 2)
    activations = capture(subject.model, subject.params, subject.batch)
    last = subject.batch.roles["value"][:, :1]
    zeros = {place.site: jnp.zeros_like(activations[place.site])}
    both = replace(zeros, jnp.concatenate([last, last - 8], axis=1))
    _, without = observe(subject.model, subject.params, subject.batch.tokens, both)
    query = np.asarray(subject.batch.query_positions)[:, 0]
    taken = place.removal(activations, place.positions(where), where.question)
    _, removed = observe(subject.model, subject.params, subject.batch.tokens, taken)
    ours, theirs = (each["block_0/mixer/state"] for each in (removed, without))
    rows = np.arange(len(query))
    np.testing.assert_allclose(ours[rows, query], theirs[rows, query], atol=1e-6)
    assert found.places[0] == place


def test_the_pattern_of_attention_holds_the_pair_in_the_layer_that_reads():
    """Catches edges cut in the wrong direction, and the layer that binds taken for the reader."""
    config, params, task = planted.induction()
    batch = planted.documents(task, 32)
    subject = Subject(LanguageModel(config), params, task, batch, planted_memory.EVALUATION)
    found, _ = find_memory(subject, batch)
    assert found.places[found.best] == MemoryPlace("block_1/mixer/scores", 0)
    assert found.removed[found.best].max() < 0.3


def test_models_and_documents_without_a_memory():
    """Catches a search that finds nothing and says so only as an index."""
    with pytest.raises(UserError, match="lstm has no site write or scores"):
        memories(planted_memory.lively("lstm"))
    place = MemoryPlace("block_2/mixer/scores", 1)
    assert not place.recurrent
    assert place.cells() == {
        "layer": 2,
        "component": "mixer/scores",
        "site": "block_2/mixer/scores",
        "offset": 1,
        "tokens": 1,
    }
