"""Reading, editing and erasing in a state that is set by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory import editing
from mecheval_jax.evaluation.memory.closed_form import FEW
from mecheval_jax.evaluation.memory.editing import _by_cosine, editing_rows, factors_of
from mecheval_jax.evaluation.memory.removal import MemoryPlace
from mecheval_jax.interventions.capture import capture
from mecheval_jax.site_path import in_mixer
from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.tasks.geometry import geometry
from tests.support import planted_memory


def test_one_association_and_no_other():
    """Catches an edit at another pair's key, a donor that loses its value, an erasure of all."""
    table = pd.DataFrame(editing_rows(planted_memory.delta_rule(planted_memory.RECALL, 0.5)))
    interference = table[table["metric"] == "interference"]
    assert (interference["value"] == 0).all()
    assert interference["cosine"].abs().max() < 0.01  # keys are orthogonal
    found = table[table["cosine"].isna()].set_index(["operation", "question", "metric"])["value"]
    for question in ("donor", "others"):
        for operation in ("none", "edit", "erase"):
            assert found[operation, question, "accuracy"] == 1
    assert found["none", "edited", "accuracy"] == 1
    assert found["edit", "edited", "accuracy"] == found["erase", "edited", "accuracy"] == 0
    assert found["edit", "edited", "new_answer"] == 1
    assert found["none", "edited", "new_answer"] == found["erase", "edited", "new_answer"] == 0
    assert found["edit", "edited", "change"] == -1
    assert found["edit", "others", "change"] == 0
    assert found["none", "edited", "read"] == 1
    # Shares of all documents or none have Wilson's intervals: replicates would have no width.
    shares = table[table["metric"].isin(["accuracy", "new_answer", "read"])]
    assert {0.0, 1.0} <= set(shares["value"])
    for value, low, high, of in shares[["value", "low", "high", "documents"]].to_numpy(float):
        assert (low, high) == pytest.approx(wilson(value * of, of))
    # Nearly nothing is left of the residual stream, and its norm makes rounding errors large.
    assert found["none", "edited", "closed_form_error"] < 1e-3


def test_nothing_is_read_where_nothing_is_held():
    """Catches a tie among values, all of which are 0, that is called the pair's own value."""
    subject = planted_memory.delta_rule(planted_memory.RECALL, 0.999)
    mixer = subject.params["block_0"]["mixer"]
    silent = {name: jax.tree.map(jnp.zeros_like, mixer[name]) for name in mixer if name[0] == "v"}
    assert silent
    params = {**subject.params, "block_0": {**subject.params["block_0"], "mixer": mixer | silent}}
    table = pd.DataFrame(editing_rows(dataclasses.replace(subject, params=params)))
    assert table.set_index("metric").loc["read", "value"] == 0


@pytest.mark.parametrize(("mixer", "layer"), [("h3,gla", 1), ("gla,h3", 0)])
def test_the_layer_whose_state_is_a_site(mixer, layer):
    """Catches H3, whose state is none, taken for the memory of a hybrid, which is then refused."""
    subject = planted_memory.lively(mixer, layers=2)
    table = pd.DataFrame(editing_rows(subject))
    assert set(table["layer"].dropna()) == {layer}


def test_interference_by_cosine():
    """Catches parts from near to far, and the edited pair or the donor among the others."""
    cosine = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [-0.5, 0.1, 0.6, 9], [-0.4, 0.2, 0.7, 9]])
    changed = np.array([[-1, -1, -1, 0], [-1, -1, -1, 0], [0, 0, -1, 5], [0, -1, -1, 5]])
    present, bootstrap = np.array([True, True, True, False]), Bootstrap([4], 50, 0)
    found = list(_by_cosine(cosine, changed, present, bootstrap))
    assert [near for near, _ in found] == pytest.approx([-0.45, 0.15, 0.65])
    assert [change.value for _, change in found] == pytest.approx([0, -0.5, -1])


def test_factors_of_a_write():
    """Catches key and value exchanged, and a write of zeros that becomes a number."""
    draw = np.random.default_rng(0)
    key, value = draw.normal(size=(5, 2, 3)), draw.normal(size=(5, 2, 4))
    key[0] = 0
    write = jnp.asarray(key[..., :, None] * value[..., None, :], jnp.float32)
    found_key, found_value = factors_of(write)
    again = found_key[..., :, None] * found_value[..., None, :]
    np.testing.assert_allclose(again, write, atol=1e-5)
    lengths = np.linalg.norm(key, axis=-1) * np.linalg.norm(found_key, axis=-1)
    np.testing.assert_allclose(np.abs((key * found_key).sum(-1)), lengths, rtol=1e-5)
    assert np.isfinite(found_value).all()
    # Beside what a value of ones leaves, both are known with their signs and lengths.
    of_ones = np.broadcast_to(key[..., :, None], write.shape)
    found_key, found_value = factors_of(write, jnp.asarray(of_ones, jnp.float32))
    np.testing.assert_allclose(found_key, key, rtol=1e-5)
    np.testing.assert_allclose(found_value[1:], value[1:], rtol=1e-4, atol=1e-5)
    assert (found_value[0] == 0).all()


def test_keys_are_near_or_opposite_by_themselves():
    """Catches keys whose sign is that of an entry of their value, by which near ones are opposite.

    The state of Taylor attention keeps key features as they are written.
    """
    subject = planted_memory.lively("taylor_attention")
    batch = editing.asked_pairs(subject, editing.PAIRS, editing.DOCUMENTS)
    asked = [editing.asking(batch, number) for number in range(editing.PAIRS)]
    place = MemoryPlace(in_mixer(0, "write"))
    found = editing.edit(subject, batch, place, editing.PAIRS)
    features = capture(subject.model, subject.params, asked[0], in_mixer(0, "key_features"))
    keys = np.stack(
        [
            value[np.arange(len(value)), geometry(subject.task, each).position(0)].reshape(
                len(value), -1
            )
            for each in asked
            for value in features.values()
        ]
    )
    lengths = np.linalg.norm(keys, axis=-1)
    expected = (keys * keys[0]).sum(axis=-1) / (lengths * lengths[0])
    assert expected.min() > 0
    np.testing.assert_allclose(found["cosine"], expected, atol=1e-3)


@pytest.mark.parametrize("mixer", ["mamba3", "gated_delta_product"])
def test_several_writes_for_one_value(mixer):
    """Catches half of a value left in the state, that of a second write or of the next token."""
    options = {"mixer_options": {"head_dim": 16}} if mixer == "mamba3" else {}
    subject = planted_memory.lively(mixer, **options)
    table = pd.DataFrame(editing_rows(subject))
    error = table[table["metric"] == "closed_form_error"]["value"]
    assert error.item() < 1e-4
    assert table.loc[error.index, "documents"].item() == FEW  # other rows have more


def test_models_without_associations():
    """Catches attention, which has no state, and H3, which does not give its own, edited."""
    with pytest.raises(UserError, match="attention has no site write"):
        next(editing_rows(planted_memory.lively("attention")))
    with pytest.raises(UserError, match="h3 has no site state with values beside it"):
        next(editing_rows(planted_memory.lively("h3")))


def test_a_place_behind_the_last_pair(monkeypatch):
    """Catches a table of no documents, and one of documents that ask for a pair without a place."""
    find, offset = editing.find_memory, 2

    def behind(*arguments):
        removed, found = find(*arguments)
        later = dataclasses.replace(removed.places[0], offset=offset)
        return dataclasses.replace(removed, places=(later,) * len(removed.places)), found

    monkeypatch.setattr(editing, "find_memory", behind)
    subject = planted_memory.delta_rule(planted_memory.RECALL, 0.5)
    rows = list(editing_rows(subject))
    last = 1 + 2 * (planted_memory.RECALL.pairs - 1)
    batch = editing.asked_pairs(subject, 3, subject.evaluation.documents)
    without = np.asarray(batch.roles["key"][:, :3] != last).all(axis=1).sum()
    measured = [row for row in rows if row["metric"] != "closed_form_error"]  # of the first eight
    assert {row["documents"] for row in measured} == {without}
    assert 0 < without < len(batch.tokens)
    offset = 4
    with pytest.raises(UserError, match=r"4 tokens behind their later one.*more pairs"):
        next(editing_rows(subject))
