"""Options of the evaluation and of analyses: mistakes are named, with what is valid."""

import re

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import (
    CircuitsConfig,
    EvaluationConfig,
    GradientsConfig,
    ProbesConfig,
    SubspacesConfig,
    count_held_out,
)
from tests.support import planted
from tests.support.compilation import ROOT


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (EvaluationConfig, {"split": "tset"}, r"did you mean 'test'"),
        (EvaluationConfig, {"roles": ()}, r"evaluation.roles is empty"),
        (EvaluationConfig, {"roles": ("key", "key")}, r"names key twice"),
        (EvaluationConfig, {"documents": 0}, r"evaluation.documents is 0"),
        (EvaluationConfig, {"resamples": 49}, r"evaluation.resamples is 49: .* at least 50"),
        (EvaluationConfig, {"confidence": 1.0}, r"evaluation.confidence is 1.0"),
        (GradientsConfig, {"steps": 0}, r"analyses.gradients.steps is 0"),
        (CircuitsConfig, {"steps": 0}, r"analyses.circuits.steps is 0"),
        (CircuitsConfig, {"draws": 0}, r"analyses.circuits.draws is 0"),
        (CircuitsConfig, {"ports": ()}, r"analyses.circuits.ports is empty"),
        (CircuitsConfig, {"methods": ("eap", "epa")}, r"analyses.circuits.methods 'epa'"),
        (CircuitsConfig, {"methods": ("eap", "eap")}, r"circuits.methods names eap twice: once"),
        (ProbesConfig, {"targets": ("key", "value", "key")}, r"probes.targets names key twice"),
        (ProbesConfig, {"documents": 0}, r"analyses.probes.documents is 0"),
        (SubspacesConfig, {"batch_size": 0}, r"analyses.subspaces.batch_size is 0"),
    ],
)
def test_mistakes_are_named(kind, options, message):
    """Catches a value that fails later as a shape, or another section in the message."""
    with pytest.raises(UserError, match=message):
        kind(**options)


def test_indices_are_in_the_order_of_the_axes():
    """Catches a corruption's index taken for a direction's."""
    config = EvaluationConfig(roles=("key", "query", "value"), corruptions=("value", "key"))
    assert config.index("key", "restore", "value", "key") == (0, 1, [2, 0])


def test_roles_and_corruptions_of_a_task():
    """Catches a grid that is asked for what documents do not have."""
    EvaluationConfig().check_against(planted.TASK)
    with pytest.raises(UserError, match=r"unknown role in evaluation.roles 'valeu'"):
        EvaluationConfig(roles=("valeu",)).check_against(planted.TASK)
    with pytest.raises(UserError, match=r"unknown corruption in evaluation.corruptions 'query'"):
        EvaluationConfig(corruptions=("query",)).check_against(planted.TASK)


@pytest.mark.parametrize(("share", "documents", "held_out"), [(0.25, 8, 2), (0.3, 3, 1)])
def test_the_documents_that_are_held_out(share, documents, held_out):
    """Catches a share of the others."""
    assert count_held_out("probes", share, documents) == held_out


@pytest.mark.parametrize(("share", "documents"), [(0.01, 8), (0.99, 8)])
def test_some_are_fitted_and_some_held_out(share, documents):
    """Catches a split with an empty side."""
    with pytest.raises(UserError, match=rf"8 documents with analyses.probes.test_share {share}"):
        count_held_out("probes", share, documents)


def test_directions_are_what_the_program_says():
    """Catches a help that names a value which is refused."""
    (told,) = re.findall(
        r'"directions", None, "([^"]*)"', (ROOT / "launch" / "intervene.py").read_text()
    )
    named = re.split(r",? or |, ", told.partition(", which")[0])
    assert named == ["restore", "damage", "restore,damage"]
    for words in named:
        directions = tuple(words.split(","))
        assert EvaluationConfig(directions=directions).directions == directions
