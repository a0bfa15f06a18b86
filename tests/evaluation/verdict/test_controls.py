"""Controls: where nothing should be found, they find nothing, and they would find something."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.subject import measure
from mecheval_jax.evaluation.verdict.controls import (
    draw_distractors,
    plan_controls,
    with_controls,
)
from mecheval_jax.evaluation.verdict.evidence import verdict_sites
from mecheval_jax.evaluation.verdict.verdict import judge
from mecheval_jax.tasks.base import ABSENT
from tests.support import planted


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


def test_where_nothing_fits_there_is_no_distractor():
    """Catches position -1, or a role of the question, taken where a document has no other pair."""
    task = planted.task_with(pairs=1)
    chosen = draw_distractors(planted.documents(task, 8), seed=0)
    assert (chosen.positions == ABSENT).all()


@pytest.fixture(scope="module")
def model():
    return planted.induction(3)


def test_controls_of_a_planted_model_find_nothing(model):
    """Catches a control in units of its own gap, and one that restores where it should not."""
    config, _, task = model
    subject = planted.subject_of(model, planted.documents(task, 64))
    _, rows = measure(subject, plan_controls(subject))
    sites = verdict_sites(config)
    assert {row["control"] for row in rows} == {"untrained", "placebo", "distractor"}
    placebos = {(row["site"], row["role"]) for row in rows if row["control"] == "placebo"}
    expected = {(site, role) for site in sites for role in ("bos", "uninvolved")}
    expected |= {("block_1/block_output", role) for role in ("key", "value", "next_key")}
    assert placebos == expected
    for row in rows:
        assert abs(row["value"]) < 0.05, row
        assert row["low"] <= row["value"] + 1e-9
    distractor = rows[-1]
    assert distractor["control"] == "distractor"
    assert 0 < distractor["documents"] <= 64
    # Beside the numbers of the verdict.
    verdict = with_controls(planted.verdict_of(model), rows)
    for entry in verdict.evidence["attributions"]:
        assert abs(entry["untrained"]) < 0.05
        assert abs(entry["placebo"]) < 0.05
    assert verdict.evidence["distractor"]["value"] == distractor["value"]


def test_a_distractor_that_matters_is_seen(model, monkeypatch):
    """Catches a control that cannot fail: the asked key as the distractor takes everything."""
    from mecheval_jax.evaluation.verdict import controls

    def asked(batch, seed):
        key = np.asarray(batch.roles["key"])[:, 0]
        tokens = np.asarray(batch.tokens)[np.arange(len(key)), key]
        other = 3 + (tokens - 3 + 1) % 8
        return controls.Distractors(key.astype(np.int32), other.astype(np.int32))

    monkeypatch.setattr(controls, "draw_distractors", asked)
    _, _, task = model
    subject = planted.subject_of(model, planted.documents(task, 64))
    _, rows = measure(subject, plan_controls(subject))
    assert rows[-1]["value"] > 0.5
    assert rows[-1]["significant"]
    # And restoring at that place is no placebo.
    output = [r for r in rows if r["control"] == "placebo" and r["role"] == "uninvolved"]
    assert not any(r["significant"] for r in output if r["value"] == 0)
    assert jnp.isfinite(rows[-1]["p_value"])


def test_a_verdict_reads_every_role_of_the_task():
    """Catches direct retrieval named because the next key, which binds, was left out."""
    model = config, _, task = planted.convolution(1, d_conv=4, later=1)
    asked = dataclasses.replace(planted.EVALUATION, roles=("key",), directions=("damage",))
    subject = planted.subject_of(model, planted.documents(task, 64), asked)
    grid, _ = measure(subject, plan_controls(subject))
    verdict = judge(planted.evidence_of(grid, config, task), asked)
    assert (verdict.verdict, verdict.binding) == (
        "convolutional_binding",
        "convolution_at_next_key",
    )
