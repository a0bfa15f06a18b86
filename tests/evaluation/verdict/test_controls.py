"""Controls: where nothing should be found, they find nothing, and each of them can fail."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.verdict import controls
from mecheval_jax.evaluation.verdict.controls import (
    draw_distractors,
    plan_controls,
    with_controls,
)
from mecheval_jax.evaluation.verdict.verdict import judge
from mecheval_jax.models.language_model import initialize
from mecheval_jax.reporting import words
from mecheval_jax.tasks.base import ABSENT, EOS
from tests.support import planted, planted_places

DOCUMENTS = 64


@pytest.mark.parametrize(
    "changes",
    [{}, {"min_pairs": 2}, {"reverse": True}, {"filler": 2}, {"queries": 2}],
    ids=str,
)
def test_a_distractor_is_another_documents_key_at_its_own_place(changes):
    """Catches a token of the question replaced, or one of another class put in."""
    task = planted.task_with(**changes)
    batch = planted.documents(task, 64, 3)
    chosen = draw_distractors(batch, seed=0)
    tokens, changed = np.asarray(batch.tokens), np.asarray(chosen.in_documents(batch))
    found = chosen.positions != ABSENT
    assert found.mean() > 0.5
    np.testing.assert_array_equal((tokens != changed).sum(axis=1), found)
    first = task.first_value if task.reverse else 3
    size = task.value_vocabulary if task.reverse else task.key_vocabulary
    for i in np.flatnonzero(found):
        position = chosen.positions[i]
        involved = {int(at[i, 0]) for at in batch.roles.values()}
        assert 0 < position < min(batch.roles["divider"][i, 0], batch.lengths[i])
        assert position not in involved
        assert tokens[i, position] not in (tokens[i, batch.roles["key"][i, 0]], batch.targets[i, 0])
        assert chosen.tokens[i] not in tokens[i]
        for token in (tokens[i, position], chosen.tokens[i]):  # a key goes, a key comes
            assert first <= token < first + size
    again = draw_distractors(batch, seed=0)
    np.testing.assert_array_equal(again.positions, chosen.positions)
    assert (draw_distractors(batch, seed=1).positions != chosen.positions).any()
    # Behind the pair where one fits there: before it nothing could restore.
    last = np.maximum(batch.roles["key"][:, 0], batch.roles["value"][:, 0])
    assert (chosen.positions > last)[found].mean() > 0.2


def test_the_asked_item_is_no_distractor_where_a_type_is_asked_behind_it():
    """Catches the type of the question taken for the item, which may then be replaced."""
    batch = planted.documents(planted.TASK, DOCUMENTS, 3)
    rows, key = np.arange(DOCUMENTS), np.asarray(batch.roles["key"])[:, 0]
    tokens = np.asarray(batch.tokens).copy()
    asked = tokens[rows, key]
    others = 1 + 2 * np.arange(planted.TASK.pairs)
    other = others[(np.searchsorted(others, key) + 1) % len(others)]
    tokens[rows, other] = asked  # the item stands there once more
    before = batch.query_positions[:, :1] - 1
    tokens[rows, np.asarray(before)[:, 0]] = asked
    tokens[rows, np.asarray(batch.query_positions)[:, 0]] = EOS
    typed = batch.replace(tokens=jnp.asarray(tokens), roles=batch.roles | {"query": before})
    chosen = draw_distractors(typed, seed=0)
    found = chosen.positions != ABSENT
    assert found.mean() > 0.5
    assert (tokens[rows, chosen.positions] != asked)[found].all()


def test_documents_without_a_divider_have_distractors_before_their_question():
    """Catches documents that are all left out of a control since only others have a divider."""
    batch = planted.documents(planted.task_with(min_pairs=2), 64, 3)
    without = np.arange(64) % 2 == 0
    divider = np.where(without, ABSENT, batch.roles["divider"][:, 0])
    some = batch.replace(roles=batch.roles | {"divider": divider[:, None]})
    chosen, usual = draw_distractors(some, seed=0), draw_distractors(batch, seed=0)
    found = chosen.positions != ABSENT
    of_usual = usual.positions != ABSENT
    np.testing.assert_array_equal(found[~without], of_usual[~without])
    assert (found >= of_usual).all()  # where nothing divides them, places of the question fit, too
    assert found[without].mean() > 0.5
    assert (chosen.positions < batch.query_positions[:, 0])[found].all()


def test_distractors_are_drawn_in_parts(monkeypatch):
    """Catches other draws where documents are too many to be compared all at once."""
    batch = planted.documents(planted.task_with(min_pairs=2), 20, 3)
    whole = draw_distractors(batch, seed=0)
    monkeypatch.setattr(controls, "DONORS_AT_ONCE", 7)
    chex.assert_trees_all_equal(draw_distractors(batch, seed=0), whole)


def test_where_nothing_fits_there_is_no_distractor():
    """Catches position -1, or a role of the question, taken where a document has no other pair."""
    task = planted.task_with(pairs=1)
    chosen = draw_distractors(planted.documents(task, 8), seed=0)
    assert (chosen.positions == ABSENT).all()
    np.testing.assert_array_equal(chosen.donors, np.arange(8))


def measured(model, seed=1, documents=DOCUMENTS):
    """The verdict on a model with its controls, and their rows."""
    task = model[2]
    subject = planted.subject_of(model, planted.documents(task, documents, seed))
    measurement, arrays = plan_controls(subject)
    raw = jax.device_get(measurement.on_device(subject.params, arrays))
    evidence, rows = measurement.on_host(raw, subject, (documents, documents), 0.3)
    return with_controls(judge(evidence, planted.EVALUATION), rows), rows


@pytest.fixture(scope="module")
def clean():
    """Of a model that holds every pair at its value."""
    return measured(planted_places.split_storage(3))


def test_controls_of_a_planted_model_find_nothing(clean):
    """Catches a control that restores where it should not, or that is 0 by construction alone."""
    verdict, rows = clean
    assert {row["control"] for row in rows} == {"untrained", "placebo", "distractor"}
    placebos = [row for row in rows if row["control"] == "placebo"]
    assert {(r["site"], r["direction"]) for r in placebos} == {
        ("block_0/mixer_output", "withhold"),
        ("block_1/block_input", "restore"),
        ("block_1/mixer_output", "withhold"),
    }
    for row in placebos:
        assert abs(row["value"]) < 0.15, row
        assert 20 < row["documents"] <= DOCUMENTS
    distractor = rows[-1]
    assert distractor["control"] == "distractor"
    assert abs(distractor["value"]) < 0.05
    assert verdict.evidence["failed"] == []
    # Beside the numbers of the verdict.
    found = {(e["site"], e["direction"], e["role"]): e for e in verdict.evidence["attributions"]}
    pair = found["block_1/block_input", "restore", "pair"]
    assert pair["value"] == pytest.approx(1, abs=0.02)
    assert abs(pair["placebo"]) < 0.05
    assert verdict.evidence["distractor"]["value"] == distractor["value"]


def slopes(model, batch):
    """By place, the slope of what restoring changes on the gap, in logits, document by document."""
    evidence = planted.evidence_of(model, batch)
    clean_run, corrupted = evidence.ends[1]
    found = {}
    for i, cell in enumerate(evidence.cells):
        here = evidence.present[i]
        gap, moved = (clean_run - corrupted)[here], (evidence.patched[1, i] - corrupted)[here]
        if cell.direction == "restore" and here.any():
            found[cell.site, cell.role] = np.linalg.lstsq(gap[:, None], moved)[0][0]
    return found


def test_the_untrained_model_stands_in_its_own_units(clean):
    """Catches a division by the trained gap, of which any untrained change is a millionth, and by
    the mean of the untrained one, of which it is any multiple."""
    config, _, task = planted_places.split_storage(3)
    params = jax.jit(initialize, static_argnums=0)(config, jax.random.key(0))
    expected = slopes((config, params, task), planted.documents(task, DOCUMENTS, 1))
    compared = 0
    for row in clean[1]:
        if row["control"] == "untrained" and row["direction"] == "restore" and row["documents"]:
            compared += 1
            assert row["value"] == pytest.approx(expected[row["site"], row["role"]], abs=0.02)
            assert abs(row["value"]) < 2
            if row["low"] is not None:
                assert row["low"] <= row["value"] <= row["high"]
    assert compared > 3


def test_the_untrained_model_is_not_rounded(clean):
    """Catches shares of a gap that is rounding in half the bits."""
    config, params, task = planted_places.split_storage(3)
    _, rows = measured((dataclasses.replace(config, dtype="bfloat16"), params, task))
    ours, theirs = (
        [row for row in table if row["control"] == "untrained"] for table in (rows, clean[1])
    )
    assert ours == theirs


def test_the_untrained_control_can_fail(monkeypatch):
    """Catches a control that reads other parameters than it says: here, the trained ones."""
    model = planted_places.split_storage(3)
    monkeypatch.setattr(controls, "new_parameters", lambda config, seed: model[1])
    verdict, _ = measured(model)
    expected = slopes(model, planted.documents(model[2], DOCUMENTS, 1))
    for entry in verdict.evidence["attributions"]:
        if entry["direction"] == "restore":
            assert entry["untrained"] == pytest.approx(expected[entry["site"], entry["role"]])


def test_placebos_can_fail():
    """Catches placebos that no model fails: this one holds its first pair at the divider."""
    task = planted.task_with(pairs=3)
    model = planted_places.stored(5, task, range(1, 3), range(1), behind=5)
    verdict, rows = measured(model, documents=3 * DOCUMENTS)  # some have a pair to look at
    placebo = {(r["site"], r["direction"]): r for r in rows if r["control"] == "placebo"}
    assert placebo["block_1/block_input", "restore"]["value"] > 0.9
    assert placebo["block_1/mixer_output", "withhold"]["value"] > 0.2
    assert "placebo at block_1/block_input" in verdict.evidence["failed"]
    assert verdict.verdict == "undecided"


def test_documents_without_a_distractor_do_not_count(monkeypatch):
    """Catches a distractor that passes since most documents have none to be replaced."""

    def rarely_found(batch, seed):
        chosen = draw_distractors(batch, seed)
        key = np.asarray(batch.roles["key"])[:, 0]
        other = 3 + (np.asarray(batch.tokens)[np.arange(len(key)), key] - 3 + 1) % 8
        here = np.arange(len(key)) % 8 == 0
        return chosen.replace(
            positions=np.where(here, key, ABSENT).astype(np.int32),
            tokens=np.where(here, other, 0).astype(np.int32),
        )

    monkeypatch.setattr(controls, "draw_distractors", rarely_found)
    *_, distractor = measured(planted_places.split_storage(3))[1]
    assert distractor["value"] > 0.5  # the asked key was replaced, in an eighth of the documents
    assert distractor["documents"] == DOCUMENTS / 8


def test_no_distractor_at_all(monkeypatch):
    """Catches a number where nothing was replaced, and a verdict that cannot be written then."""

    def nothing(batch, seed):
        chosen = draw_distractors(batch, seed)
        return chosen.replace(positions=np.full_like(chosen.positions, ABSENT))

    monkeypatch.setattr(controls, "draw_distractors", nothing)
    verdict, rows = measured(planted_places.split_storage(3))
    assert (rows[-1]["value"], rows[-1]["documents"]) == (None, 0)
    assert verdict.evidence["failed"] == []
    assert "no document" in words.distractor(verdict.evidence)


def test_the_distractor_can_fail(monkeypatch):
    """Catches a token that is not replaced: the asked key as the distractor takes everything."""

    def asked(batch, seed):
        chosen = draw_distractors(batch, seed)
        key = np.asarray(batch.roles["key"])[:, 0]
        tokens = np.asarray(batch.tokens)[np.arange(len(key)), key]
        other = 3 + (tokens - 3 + 1) % 8
        return chosen.replace(positions=key.astype(np.int32), tokens=other.astype(np.int32))

    monkeypatch.setattr(controls, "draw_distractors", asked)
    verdict, rows = measured(planted_places.split_storage(3))
    assert rows[-1]["value"] > 0.5
    assert rows[-1]["significant"]
    assert jnp.isfinite(rows[-1]["p_value"])
    assert verdict.evidence["failed"] == ["distractor at tokens"]
