"""Errors of those who write interventions."""

import re

import jax.numpy as jnp
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import compose, interchange, validate
from mecheval_jax.interventions.checks import validate_positions
from tests.support.two_runs import (
    DOCUMENTS,
    subject_of,
)


def broken(change):
    """The attention subject's patch at one site, with its entry changed."""
    subject = subject_of("attention")
    entry = subject.restore("block_1/mixer_output", subject.key)["block_1/mixer_output"]
    return {"block_1/mixer_output": change(dict(entry))}


BROKEN = {
    "broadcastable shape": (
        lambda entry: entry | {"value": entry["value"][:1, :1]},
        r"block_1/mixer_output: the value is float32\[1, 1, 16\], "
        r"the activation float32\[4, 13, 16\]",
    ),
    "other length": (lambda entry: entry | {"value": entry["value"][:, 1:]}, r"\[4, 12, 16\]"),
    "integers": (lambda entry: entry | {"value": entry["value"].astype(jnp.int32)}, "int32"),
    "half precision": (
        lambda entry: entry | {"value": entry["value"].astype(jnp.float16)},
        "float16",
    ),
    "mask of numbers": (lambda entry: entry | {"mask": entry["mask"] * 1.0}, "must be bool"),
    "mask of other documents": (
        lambda entry: entry | {"mask": entry["mask"][:1]},
        "same documents and positions",
    ),
    "mask without channels": (
        lambda entry: entry | {"mask": entry["mask"][..., 0]},
        "same documents and positions",
    ),
    "mask that selects nothing": (
        lambda entry: entry | {"mask": jnp.zeros_like(entry["mask"])},
        "selects no position",
    ),
    "no value": (lambda entry: {"mask": entry["mask"]}, "has a value"),
    "mask of a shift": (
        lambda entry: {"mask": entry["mask"], "shift": entry["value"]},
        "a mask without a value",
    ),
    "shift of other documents": (
        lambda entry: {"shift": entry["value"][1:]},
        r"the shift is float32\[3, 13, 16\], the activation float32\[4, 13, 16\]",
    ),
    "projection of other channels": (
        lambda entry: entry | {"projection": jnp.eye(15)},
        r"the projection is \[15, 15\], the activation has 16 channels",
    ),
    "another leaf later": (
        lambda entry: entry | {"then": {"shfit": entry["value"]}},
        "has a value",
    ),
    "nothing": (lambda entry: {}, "has a value or a shift.* not nothing"),
    "an array later": (lambda entry: entry | {"then": entry["value"]}, "not an array alone"),
    "an array alone": (lambda entry: entry["value"], "not an array alone"),
    "another leaf": (lambda entry: entry | {"valeu": entry["value"]}, "has a value"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_intervention_is_refused(case, attention):
    """Catches a patch that Flax or broadcasting would accept, or drop, without a word."""
    change, message = BROKEN[case]
    validate(broken(lambda entry: entry), attention.activations)
    with pytest.raises(UserError, match=message):
        validate(broken(change), attention.activations)


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("block_1/mixer_outptu", "block_1/mixer_output"),
        ("blok_1/block_input", "block_1/block_input"),
        ("finalnorm", "final_norm"),
    ],
)
def test_a_misspelt_path_names_the_nearest(path, nearest, attention):
    """Catches a path that no module has, which Flax ignores silently."""
    value = attention.other["block_1/mixer_output"]
    patch = {path: {"value": value}}
    with pytest.raises(UserError, match=re.escape(f"did you mean '{nearest}'")):
        validate(patch, attention.activations)
    with pytest.raises(UserError, match=re.escape(f"did you mean '{nearest}'")):
        interchange(attention.other, [path], attention.key)


def test_no_intervention_at_all_is_refused(attention):
    """Catches an empty patch that would be reported as one without effect."""
    with pytest.raises(UserError, match="no interventions"):
        validate({}, attention.activations)


def test_an_intervention_that_changes_nothing_is_refused(attention):
    """Catches a source that was captured from the run that is patched."""
    site = "block_1/block_input"
    own = interchange(attention.activations, [site], attention.key)
    with pytest.raises(UserError, match="nothing would change"):
        validate(own, attention.activations)
    validate(own, attention.activations, must_change=False)
    # The runs differ from the key on: before it, another run's value is the live one.
    before_key = attention.restore(site, jnp.zeros(DOCUMENTS, jnp.int32))
    with pytest.raises(UserError, match="nothing would change"):
        validate(before_key, attention.activations)
    validate(attention.restore(site, attention.key), attention.activations)
    # One that changes something does not excuse another that does not.
    both = compose(attention.restore("block_0/block_input", attention.key), own)
    with pytest.raises(UserError, match=f"{site}: the intervention leaves every"):
        validate(both, attention.activations)


def test_a_position_outside_the_document_is_refused():
    """Catches positions in the padding, and an absent role mistaken for one."""
    lengths = jnp.array([5, 3])
    validate_positions(jnp.array([4, -1]), lengths)
    validate_positions(jnp.array([[0, 4], [2, -1]]), lengths)
    with pytest.raises(UserError, match="position 3 lies outside document 1, which has 3 tokens"):
        validate_positions(jnp.array([4, 3]), lengths)
    with pytest.raises(UserError, match="position 5 lies outside document 0, which has 5 tokens"):
        validate_positions(jnp.array([[0, 5], [2, 9]]), lengths)
