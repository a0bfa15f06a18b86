"""How far sites mix earlier tokens in, measured on made-up operations whose reach is known."""

import numpy as np
import pytest

from mecheval_jax.models.local_mixing import (
    OUTPUTS,
    changed_tokens,
    changes,
    reach_of_changes,
    wrong_reach,
)
from mecheval_jax.sites import ALL

LENGTH = 40
X = np.random.default_rng(0).standard_normal((2, LENGTH, 3)).astype(np.float32)


def convolution(x, taps):
    """What a causal filter gives, token by token."""
    y = np.zeros_like(x)
    for back, tap in enumerate(taps):
        y[:, back:] += tap * x[:, : x.shape[1] - back]
    return y


def fading(x, keep):
    return convolution(x, keep ** np.arange(x.shape[1], dtype=np.float64)).astype(np.float32)


def last_large(x):
    """At each token the last earlier one whose first number is above 1: a look-up by content."""
    y = np.zeros_like(x)
    for document, tokens in enumerate(x):
        found = np.zeros(x.shape[2])
        for at, token in enumerate(tokens):
            found = token if token[0] > 1 else found
            y[document, at] = found
    return y


OPERATIONS = {
    "alone": (lambda x: np.tanh(x), 0),
    "constant": (lambda x: np.ones_like(x), 0),
    "shift": (lambda x: convolution(x, (0, 1)), 1),
    "four taps": (lambda x: convolution(x, (0.5, -0.1, 2, 0.01)), 3),
    "large offset": (lambda x: 1e3 + convolution(x, (1, 1)), 1),
    "whole": (lambda x: convolution(x, np.ones(LENGTH)), ALL),
    "fading": (lambda x: fading(x, 0.9), ALL),
    "soon forgotten": (lambda x: fading(x, 0.02), ALL),
    "look-up": (last_large, ALL),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_reach_of_an_operation(name):
    """Catches a state that fades and is taken for a convolution, and a convolution for a state."""
    operation, reach = OPERATIONS[name]
    found = []
    for token in changed_tokens(LENGTH):
        other = X.copy()
        other[:, token] += 2
        found.append(changes({"it": operation(X)}, {"it": operation(other)}, token)["it"])
    assert reach_of_changes(found) == reach


@pytest.mark.parametrize(("length", "tokens"), [(1, []), (2, []), (3, [1]), (12, [1, 3, 6])])
def test_tokens_that_are_changed(length, tokens):
    """Catches a change behind which no token is left that could show its end."""
    assert changed_tokens(length) == tokens


def chain(x, held):
    """Three taps, a state that reads them, and a shift behind all; the first two can be held."""
    mixed = convolution(X if held else x, (1, 1, 1))
    read = fading(mixed, 0.9)
    shifted = convolution(x, (0, 1))
    return {"mixed": mixed, "read": read, "shifted": shifted, OUTPUTS: read + shifted}


@pytest.mark.parametrize(
    ("declared", "wrong"),
    [
        ({"mixed": 2}, "'shifted' mixes 1 earlier tokens"),
        ({"mixed": 1}, "says that 'mixed' mixes 1 earlier tokens into each token, but it mixes 2"),
        ({"mixed": 3}, "says that 'mixed' mixes 3 earlier tokens into each token, but it mixes 2"),
        ({"read": ALL, "mixed": 2}, "'shifted' mixes 1 earlier tokens"),
        ({"shifted": ALL}, "says that 'shifted' mixes all"),
    ],
)
def test_what_is_declared(declared, wrong):
    """Catches a local operation that no name stands for, and a number that is not its own."""
    assert wrong in wrong_reach(declared, chain, X)


def in_blocks(x, of):
    """The sum of a block's tokens so far."""
    y = x.copy()
    for start in range(0, x.shape[1], of):
        y[:, start : start + of] = np.cumsum(x[:, start : start + of], axis=1)
    return y


@pytest.mark.parametrize(("declared", "fits"), [(9, True), (4, False), (ALL, True)])
def test_blocks_of_tokens(declared, fits):
    """Catches a refusal of what mixes as much as it says at some tokens only, 9 in blocks of 10."""

    def sums(x, held):
        return {"sums": in_blocks(X if held else x, 10), OUTPUTS: in_blocks(X if held else x, 10)}

    wrong = wrong_reach({"sums": declared}, sums, X)
    assert (wrong is None) == fits


def test_what_is_declared_rightly():
    """Catches a check that refuses what is true, also where documents are too short to tell."""

    def mixed(x, held):
        it = convolution(X if held else x, (1, 1, 1))
        return {"mixed": it, OUTPUTS: it}

    assert wrong_reach({"mixed": 2}, mixed, X) is None
    short = X[:, :3]
    assert wrong_reach({"mixed": 2}, lambda x, held: {"mixed": x, OUTPUTS: x}, short) is None
