"""Pairs that are kept out of training: the same cells in every run, never asked by accident."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mecheval_jax.tasks import held_out
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

FIRST_KEY = 3
KEYS = VALUES = 16
TASK = AssociativeRecall(
    pairs=4, key_vocabulary=KEYS, value_vocabulary=VALUES, held_out=0.1, seed=5
)
WORD = 2**32


def lowbias32(x):
    """The published constants of the hash, in Python's integers."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) % WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) % WORD
    return x ^ (x >> 16)


def table(seed, fraction, keys=KEYS, values=VALUES):
    """Which cells are held out, [keys, values]."""
    grid = jnp.meshgrid(jnp.arange(keys), jnp.arange(values), indexing="ij")
    return np.asarray(held_out.is_held_out(seed, fraction, *grid))


@functools.cache
def asked(split):
    """Keys and values asked by 4000 documents of a split, and the tokens."""
    batch = jax.jit(lambda key: TASK.sample(key, 4000, split))(jax.random.key(1))
    tokens = np.asarray(batch.tokens)
    keys = np.take_along_axis(tokens, np.asarray(batch.query_positions), axis=1)[:, 0]
    return keys - FIRST_KEY, np.asarray(batch.targets)[:, 0] - FIRST_KEY - KEYS, tokens


# Catches another hash, by which runs of different versions would hold out different cells.
def test_hash_in_integers():
    for seed, key, value in [(0, 0, 0), (5, 3, 9), (123, 4095, 4000), (2**31, 1, 2)]:
        salted = lowbias32((key + seed * 0x9E3779B9) % WORD)
        expected = lowbias32(salted ^ lowbias32((value + 0x85EBCA6B) % WORD))
        assert int(held_out.cells(seed, jnp.array(key), jnp.array(value))) == expected


# Catches a fraction that is a half when a fifth is asked, and rows or columns held out whole.
@pytest.mark.parametrize("fraction", [0.02, 0.2, 0.9])
def test_share_of_the_cells(fraction):
    cells = table(0, fraction, 256, 256)
    spread = np.sqrt(fraction * (1 - fraction))
    assert abs(cells.mean() - fraction) < 4 * spread / 256
    for axis in (0, 1):
        lines = cells.mean(axis=axis)
        assert np.abs(lines - fraction).max() < 5 * spread / 16
        assert 0.8 < lines.std() / (spread / 16) < 1.2


# Catches a seed that is not used, and cells that depend on anything but the seed.
def test_cells_depend_on_the_seed():
    one, again, other = table(0, 0.2), table(0, 0.2), table(1, 0.2)
    np.testing.assert_array_equal(one, again)
    assert 0 < (one & other).sum() < one.sum()
    # More is held out by adding cells, not by drawing them anew.
    assert (table(0, 0.4) | ~one).all()


# Catches a split that asks what it must not, above all a test that asks what was trained.
@pytest.mark.parametrize(("split", "wanted"), [("train", False), ("dev", False), ("test", True)])
def test_each_split_asks_its_own_cells(split, wanted):
    keys, values, _ = asked(split)
    forbidden = table(TASK.seed, TASK.held_out)
    assert (forbidden[keys, values] == wanted).all()
    possible = (forbidden == wanted).sum()
    assert len(set(zip(keys.tolist(), values.tolist(), strict=True))) == possible


# Catches rejection of whole documents: the key must be uniform, then the value among those that
# its row has, however few they are.
@pytest.mark.parametrize("split", ["train", "test"])
def test_asked_pairs_are_uniform_by_key_then_by_value(split):
    keys, values, _ = asked(split)
    allowed = table(TASK.seed, TASK.held_out) == (split == "test")
    eligible = np.flatnonzero(allowed.any(axis=1))
    counts = np.bincount(keys, minlength=KEYS)
    if split == "test":
        assert len(eligible) < KEYS  # some keys have no cell that is held out
    assert counts.sum() == counts[eligible].sum()
    assert stats.chisquare(counts[eligible]).pvalue > 1e-3
    for key in eligible:
        row = np.bincount(values[keys == key], minlength=VALUES)[allowed[key]]
        if len(row) > 1:
            assert stats.chisquare(row).pvalue > 1e-4


# Catches a context from which held-out cells are missing: only the asked pair is restricted.
def test_the_context_may_hold_any_cell():
    _, _, tokens = asked("train")
    forbidden = table(TASK.seed, TASK.held_out)
    pairs = tokens[:, 1:9].reshape(-1, 4, 2) - [FIRST_KEY, FIRST_KEY + KEYS]
    share = forbidden[pairs[..., 0], pairs[..., 1]].mean()
    # Three of four pairs are drawn without regard to the cells.
    assert abs(share - 3 / 4 * forbidden.mean()) < 0.01


# Catches a second question that asks a cell of the wrong split, or a value twice.
@pytest.mark.parametrize(("split", "wanted"), [("train", False), ("test", True)])
def test_several_queries(split, wanted):
    task = AssociativeRecall(
        pairs=3, key_vocabulary=KEYS, value_vocabulary=VALUES, held_out=0.4, queries=3
    )
    batch = jax.jit(lambda key: task.sample(key, 500, split))(jax.random.key(2))
    tokens, at = np.asarray(batch.tokens), np.asarray(batch.query_positions)
    keys = np.take_along_axis(tokens, at, axis=1) - FIRST_KEY
    values = np.asarray(batch.targets) - FIRST_KEY - KEYS
    assert (table(0, 0.4)[keys, values] == wanted).all()
    for rows in (keys, values):
        assert (np.diff(np.sort(rows, axis=1), axis=1) > 0).all()


# Catches splits that share their documents although nothing is held out by chance.
def test_nothing_is_held_out_by_default():
    task = AssociativeRecall(pairs=2, key_vocabulary=4, value_vocabulary=4)
    batch = jax.jit(lambda key: task.sample(key, 1000, "test"))(jax.random.key(3))
    tokens, at = np.asarray(batch.tokens), np.asarray(batch.query_positions)
    keys = np.take_along_axis(tokens, at, axis=1)[:, 0]
    assert len(set(zip(keys.tolist(), np.asarray(batch.targets)[:, 0].tolist(), strict=True))) == 16


# Catches a choice among the allowed that is biased, or falls on a forbidden one.
@pytest.mark.parametrize("allowed", [[1, 0, 1, 1, 0, 0, 1], [0, 0, 1, 0], [1, 1, 1]])
def test_choose_uniformly(allowed):
    allowed = np.array(allowed, bool)
    choose = jax.jit(jax.vmap(lambda key: held_out.choose_uniformly(key, jnp.asarray(allowed))))
    chosen = np.asarray(choose(jax.random.split(jax.random.key(4), 5000)))
    counts = np.bincount(chosen, minlength=len(allowed))
    assert counts[~allowed].sum() == 0
    if allowed.sum() > 1:
        assert stats.chisquare(counts[allowed]).pvalue > 1e-3
