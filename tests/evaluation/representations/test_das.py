"""Distributed alignment search: it finds the subspace that is there, and its controls do not."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig, SubspacesConfig
from mecheval_jax.evaluation.representations.counterfactuals import apart, present
from mecheval_jax.evaluation.representations.das import (
    SUBSPACES,
    align,
    match_norms,
    orthonormal,
    subspace_rows,
)
from tests.support import planted
from tests.support.variable_pairs import DOCUMENTS, documents, pairs_of

DIMENSIONS = 7  # of the differences between 8 keys or 8 values
SITE = "block_1/block_input"
CONFIG = SubspacesConfig(dimensions=DIMENSIONS, steps=80, learning_rate=0.05, batch_size=32)


def subject(**evaluation):
    return planted.subject_of(planted.induction(), documents(), EvaluationConfig(**evaluation))


# Catches a basis that is not orthonormal, or spans other columns than those it is given.
def test_orthonormal():
    free = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    basis = np.asarray(orthonormal(jnp.asarray(free)))
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(basis @ (basis.T @ free), free, atol=1e-5)
    assert (np.diagonal(basis.T @ free) > 0).all()  # a sign that jumps has no gradient


# Catches a control that is weaker than what it is compared with, by its size alone.
def test_match_norms():
    draw = np.random.default_rng(0)
    changes, like = draw.normal(size=(2, 4, 6)).astype(np.float32)
    matched = np.asarray(match_norms(jnp.asarray(changes), jnp.asarray(like)))
    norms = [np.linalg.norm(x, axis=1) for x in (matched, like, changes)]
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-5)
    np.testing.assert_allclose(matched / changes, (norms[1] / norms[2])[:, None].repeat(6, 1), 1e-4)


def differences(variable):
    """The directions in which the induction model keeps a variable at the value token."""
    _, params, task = planted.induction()
    embedding = np.asarray(params["token_embedding"]["embedding"], np.float64)
    if variable == "value":
        kept = embedding[task.first_value :]
    else:  # layer 0 copies a token's identity into directions of the previous token
        mixer = params["block_0"]["mixer"]
        copied = np.asarray(mixer["v_proj"]["kernel"]) @ np.asarray(mixer["out_proj"]["kernel"])
        kept = embedding[3 : task.first_value] @ copied
    _, size, directions = np.linalg.svd(kept - kept.mean(axis=0))
    assert size[DIMENSIONS - 1] > 1e3 * size[DIMENSIONS]
    return directions[:DIMENSIONS]


# Catches a search that moves the wrong rows, or finds a subspace of the wrong variable: the
# induction model keeps value and key at the value token in subspaces that are known.
@pytest.mark.parametrize("variable", ["key", "value"])
def test_the_planted_subspace_is_found(variable):
    found = align(subject(), CONFIG, pairs_of(variable), SITE, "value")
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(DIMENSIONS), atol=1e-5)
    accuracy = {name: correct.mean() for name, correct in found.correct.items()}
    assert accuracy["learned"] > 0.95
    assert accuracy["whole"] == 1
    # A part of the key is enough where no other pair has it, whatever subspace brings it.
    controls = {"key": ["none", "random_labels"]}
    controls["value"] = [*controls["key"], "random_subspace"]
    assert max(accuracy[name] for name in controls[variable]) < 0.35
    other = {"key": "value", "value": "key"}[variable]
    overlap = {v: ((differences(v) @ found.basis) ** 2).sum() for v in (variable, other)}
    assert overlap[variable] > {"key": 0.25, "value": 0.7}[variable] * DIMENSIONS
    assert overlap[other] < 0.15 * DIMENSIONS  # a random basis has 7 / 64 of each direction


# Catches rows of another place or kind, documents counted that do not count, and associations
# that do not move: all of the value token holds one, its key or the query nothing.
def test_rows():
    searched = subject(roles=("value", "next_key"))
    table = pd.DataFrame(subspace_rows(searched, CONFIG, [SITE], ("association",)))
    assert len(table) == 2 * len(SUBSPACES)
    assert set(table["metric"]) == {"interchange_accuracy"}
    value = table.set_index(["role", "subspace"])["value"]
    assert value["value", "whole"] == 1
    assert value["value", "none"] == value["next_key", "whole"] == 0
    assert value["value", "learned"] > value["value", "random_subspace"]
    assert value["value", "untrained_model"] < 0.35
    for role in ("value", "next_key"):
        pairs = apart(pairs_of("association"), DOCUMENTS // 4)
        counted = present(pairs, role)[: DOCUMENTS // 4]
        assert set(table[table["role"] == role]["documents"]) == {int(counted.sum())}


# Catches mistakes that surface as shapes, or not at all.
@pytest.mark.parametrize(
    ("places", "options", "message"),
    [
        ({"sites": ["block_2/block_input"]}, {}, "unknown site"),
        ({"roles": ("valu",)}, {}, "did you mean 'value'"),
        ({"roles": ("answer",)}, {}, "'answer' lies after the query"),
        ({"variables": ("pair",)}, {}, "unknown variable 'pair'.*key, value, association"),
        ({}, {"dimensions": 65}, "dimensions is 65: .* 64 channels"),
        ({}, {"dimensions": 0}, "dimensions is 0"),
        ({}, {"test_share": 0.001}, "160 documents.*0.001"),
        ({}, {"confidence": 1.0}, "confidence is 1.0"),
        ({}, {"learning_rate": 0.0}, "learning_rate is 0.0"),
    ],
)
def test_bad_requests(places, options, message):
    chosen = {"sites": [SITE], "roles": ("value",), "variables": ("key",)} | places
    evaluation = {"roles": chosen.pop("roles"), "confidence": options.pop("confidence", 0.95)}
    with pytest.raises(UserError, match=message):
        list(subspace_rows(subject(**evaluation), SubspacesConfig(**options), **chosen))
