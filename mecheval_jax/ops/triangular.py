"""Lower triangular matrices over the tokens of a chunk, built by doubling blocks.

The tokens of a chunk are halved again and again. Each pair s < t is parted by one of these cuts: at
level j, s is in the first half of a block of 2^(j+1) tokens and t in the second. So the decay
between s and t is that from s to the middle of their block times that from there to t. Neither
exceeds 1, however strong the decay, and nothing is divided. These are a few matrix products of the
whole chunk for each level. Where decays are known not to be strong, one level is enough: the middle
of the chunk, whichever side of it both tokens are on. The factors then exceed 1, but no more than
floats can hold.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float

SPAN = 40.0
"""Greatest logarithm of a decay over a chunk that is taken from its middle: e^20 times e^-20 is as
exact as either."""


@functools.cache
def _levels(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that each level parts, and the tokens between each token and the middle of its block.

    Returns:
        Masks [level, t, s] of the pairs, and [level, t, r] of the tokens r after the token t in
        the first half of a block, and before it in the second.
    """
    index = np.arange(size)
    level = np.arange(max(size - 1, 1).bit_length())[:, None]
    second, block = (index >> level) & 1 == 1, index >> (level + 1)
    same = block[:, :, None] == block[:, None, :]
    parted = same & second[:, :, None] & ~second[:, None, :]
    alike = same & (second[:, :, None] == second[:, None, :])
    later = index[:, None] < index[None, :]
    return parted, alike & np.where(second[:, :, None], later.T, later)


def _masked(mask: np.ndarray, x: Float[Array, "*axes r c"]) -> Float[Array, "*axes r c"]:
    return jnp.where(jnp.expand_dims(mask, range(x.ndim - 2)), x, 0)


def decayed_products(
    rows: Float[Array, "*axes rows key"],
    keys: Float[Array, "*axes columns key"],
    log_decay: Float[Array, "*axes c decayed"],
    least: float = -math.inf,
) -> Float[Array, "*axes rows columns"]:
    """Inner products of rows t and keys s < t, decayed by the tokens strictly between s and t.

    Logarithms are summed over each span separately, because differences of one running sum would
    lose all digits beside a decay of almost 0, unless `least` excludes such a decay.

    Args:
        rows: One set of c rows after the other.
        keys: One set of c keys after the other.
        log_decay: Finite logarithms of the decays; the last axis has size key, or 1.
        least: What no `log_decay` is below.

    Returns:
        sum_key row[t] key[s] a[s+1] ... a[t-1] where s < t, and 0 elsewhere, in every set.
    """
    if log_decay.shape[-1] > 1:
        return _by_channel(rows, keys, log_decay, -least * log_decay.shape[-2] <= SPAN)
    return _products(rows, keys) * _for_sets(_until_before(decays_up_to(log_decay)), rows, keys)


def products_up_to(
    queries: Float[Array, "*axes c key"],
    rows: Float[Array, "*axes rows key"] | None,
    keys: Float[Array, "*axes columns key"],
    log_decay: Float[Array, "*axes c decayed"],
    least: float = -math.inf,
) -> tuple[Float[Array, "*axes c columns"], Float[Array, "*axes rows columns"] | None]:
    """Inner products of queries t and keys s <= t, and the `decayed_products` of rows if there are.

    Those of queries are decayed by the tokens after s, up to t itself: a query reads the state
    after its token, a row the one before it. Other arguments are as in `decayed_products`.
    """
    size, rows_too = log_decay.shape[-2], [] if rows is None else [rows]
    if log_decay.shape[-1] == 1:
        until = decays_up_to(log_decay)
        weights = [_for_sets(until, queries, keys)]
        weights += [_for_sets(_until_before(until), rows, keys) for rows in rows_too]
        found = _products(jnp.concatenate([queries, *rows_too], axis=-2), keys)
        found = found * jnp.concatenate(weights, axis=-2)
        return found[..., :size, :], found[..., size:, :] if rows_too else None
    reads = jnp.exp(log_decay) * queries
    found = decayed_products(jnp.concatenate([reads, *rows_too], -2), keys, log_decay, least)
    # Queries read what their own token has written as well, which nothing has decayed yet.
    identity = jnp.expand_dims(jnp.eye(size, dtype=keys.dtype), range(keys.ndim - 2))
    sets = jnp.split(keys, keys.shape[-2] // size, axis=-2)
    own = [identity * (queries * key).sum(axis=-1)[..., None] for key in sets]
    up_to = found[..., :size, :] + jnp.concatenate(own, axis=-1)
    return up_to, found[..., size:, :] if rows_too else None


def decays_up_to(log_decay: Float[Array, "*axes c 1"]) -> Float[Array, "*axes t s"]:
    """Decay by the tokens after s, up to t, where s <= t, and 0 elsewhere."""
    size = log_decay.shape[-2]
    later = np.tri(size, k=-1, dtype=bool)
    ones = jnp.expand_dims(later.astype(log_decay.dtype), range(log_decay.ndim - 2))
    up_to = np.tri(size, dtype=bool)
    return _masked(up_to, jnp.exp(_summed(up_to, ones * log_decay)))


def _until_before(until: Float[Array, "*axes t s"]) -> Float[Array, "*axes t s"]:
    """Decay by the tokens between s and t, where s < t: up to the token before t."""
    return jnp.pad(until[..., :-1, :], [(0, 0)] * (until.ndim - 2) + [(1, 0), (0, 0)])


def _for_sets(
    weights: Float[Array, "*axes c c"],
    rows: Float[Array, "*axes rows key"],
    keys: Float[Array, "*axes columns key"],
) -> Float[Array, "*axes rows columns"]:
    """The same weights for every set of rows and of keys."""
    for axis, sets in ((-1, keys), (-2, rows)):
        weights = jnp.concatenate([weights] * (sets.shape[-2] // weights.shape[axis]), axis=axis)
    return weights


def decayed_sums(
    weights: Float[Array, "*axes c c"],
    values: Float[Array, "*axes c channels"],
    log_decay: Float[Array, "*axes c channels"],
) -> Float[Array, "*axes c channels"]:
    """Weighted sums of the values before each token, each channel with a decay of its own.

    Args:
        weights: Of the value s for the token t, at [t, s]; only those with s < t are read.
        values: What is summed.
        log_decay: Finite logarithms of the decays.

    Returns:
        sum_(s < t) weights[t, s] value[s] a[s+1] ... a[t-1], for every channel.
    """
    found = []
    for mask, decay in zip(_levels(log_decay.shape[-2])[0], _to_middle(log_decay), strict=True):
        own = _masked(mask, weights)
        found.append(own @ values if decay is None else decay * (own @ (decay * values)))
    return sum(found)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _by_channel(rows: Array, keys: Array, log_decay: Array, weak: bool) -> Array:
    """`decayed_products` with a decay for each channel; `weak` if one level is enough."""
    return _by_channel_forward(rows, keys, log_decay, weak)[0]


def _by_channel_forward(
    rows: Array, keys: Array, log_decay: Array, weak: bool
) -> tuple[Array, tuple]:
    decays = _around_middle(log_decay) if weak else [(d, d) for d in _to_middle(log_decay)]
    size, found = log_decay.shape[-2], []
    for (mask, late, early), (after, before) in zip(_parts(size, weak), decays, strict=True):
        products = _products(_cut(rows, late, after, size), _cut(keys, early, before, size))
        products = _put(_masked_sets(mask, products), late, size)
        found.append(_turned(_put(_turned(products), early, size)))
    return sum(found), (rows, keys, decays, log_decay)


def _by_channel_backward(weak: bool, saved: tuple, gradient: Array) -> tuple[Array, Array, Array]:
    """Gradients; that of a decay from those of the rows after it and of the keys up to it.

    Every product of a row t > r with a key s < r decays by the token r. These are all products of
    the rows t > r, whose gradients are row d_row, less all of the keys s >= r.
    """
    rows, keys, decays, log_decay = saved
    size, d_rows, d_keys = log_decay.shape[-2], [], []
    for (mask, late, early), (after, before) in zip(_parts(size, weak), decays, strict=True):
        own = _turned(_cut(_turned(_cut(gradient, late, None, size)), early, None, size))
        own = _masked_sets(mask, own)
        d_row = own @ _cut(keys, early, before, size)
        d_key = _turned(own) @ _cut(rows, late, after, size)
        d_rows.append(_put(_scaled(d_row, after, late), late, size))
        d_keys.append(_put(_scaled(d_key, before, early), early, size))
    d_rows, d_keys = sum(d_rows), sum(d_keys)
    of_rows, of_keys = (_in_sets(x, size).sum(-3) for x in (rows * d_rows, keys * d_keys))
    return d_rows, d_keys, sums_after(of_rows - of_keys) - of_keys


_by_channel.defvjp(_by_channel_forward, _by_channel_backward)


@functools.cache
def _parts(size: int, weak: bool) -> list[tuple[np.ndarray, slice, slice]]:
    """What each level parts: a mask of pairs, and the rows and the keys that it is of.

    These are all, but at levels whose pairs lie in less than half of the square: those of the
    largest blocks, of which a chunk has one or two.
    """
    whole, found = slice(0, size), []
    for mask in np.tri(size, k=-1, dtype=bool)[None] if weak else _levels(size)[0]:
        parted = np.nonzero(mask)
        places = tuple(slice(int(i.min()), int(i.max()) + 1) for i in parted if len(i))
        if not places or 2 * mask[places].size > mask.size:
            places = whole, whole
        found.append((mask[places], *places))
    return found


def _masked_sets(
    mask: Bool[np.ndarray, "r c"], x: Float[Array, "*axes rows columns"]
) -> Float[Array, "*axes rows columns"]:
    """`_masked` by a mask of one set, in every set of rows and of columns."""
    times = [n // of for n, of in zip(x.shape[-2:], mask.shape, strict=True)]
    return _masked(np.tile(mask, times), x)


def _to_middle(
    log_decay: Float[Array, "*axes c decayed"],
) -> list[Float[Array, "*axes c decayed"] | None]:
    """Decay between each token and the middle of its block, at every level.

    It is None, for no decay, at the first: no token is between those of a block of two.
    """
    levels = _levels(log_decay.shape[-2])[1][1:]
    if not len(levels):
        return [None]
    # One product and one exponential for all levels.
    decays = jnp.exp(_summed(levels.reshape(-1, levels.shape[-1]), log_decay))
    return [None, *jnp.split(decays, len(levels), axis=-2)]


def _around_middle(log_decay: Array) -> list[tuple[Array, Array]]:
    """Decay from the middle of the chunk to before each token, and from behind it to the middle."""
    before = sums_before(log_decay)
    middle = before[..., log_decay.shape[-2] // 2, :][..., None, :]
    return [(jnp.exp(before - middle), jnp.exp(middle - before - log_decay))]


def _in_sets(x: Float[Array, "*axes sets key"], size: int) -> Float[Array, "*axes s c key"]:
    """Rows or keys with their sets apart."""
    return x.reshape(*x.shape[:-2], -1, size, x.shape[-1])


def _cut(
    x: Float[Array, "*axes sets key"], place: slice, factors: Array | None, size: int
) -> Float[Array, "*axes cut key"]:
    """Rows or keys of some tokens of every set, times their factors."""
    if place != slice(0, size):
        x = _in_sets(x, size)[..., place, :]
        x = x.reshape(*x.shape[:-3], -1, x.shape[-1])
    return _scaled(x, factors, place)


def _put(
    x: Float[Array, "*axes cut key"], place: slice, size: int
) -> Float[Array, "*axes sets key"]:
    """The inverse of `_cut`, with zeros at the other tokens."""
    if place == slice(0, size):
        return x
    x = _in_sets(x, place.stop - place.start)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(place.start, size - place.stop), (0, 0)])
    return x.reshape(*x.shape[:-3], -1, x.shape[-1])


def _scaled(
    x: Float[Array, "*axes cut key"], factors: Float[Array, "*axes c key"] | None, place: slice
) -> Float[Array, "*axes cut key"]:
    """What belongs to some tokens, times a factor of each and channel, the same in every set."""
    if factors is None:
        return x
    factors = factors[..., place, :]
    return (_in_sets(x, factors.shape[-2]) * factors[..., None, :, :]).reshape(x.shape)


def _turned(x: Float[Array, "*axes r c"]) -> Float[Array, "*axes c r"]:
    return jnp.swapaxes(x, -1, -2)


def _products(
    rows: Float[Array, "*axes rows key"], keys: Float[Array, "*axes columns key"]
) -> Float[Array, "*axes rows columns"]:
    return rows @ _turned(keys)


def _summed(
    mask: Bool[np.ndarray, "t c"], x: Float[Array, "*axes c channels"]
) -> Float[Array, "*axes t channels"]:
    """Sums over the tokens that a mask chooses, of which XLA makes less than of running sums."""
    ones = jnp.expand_dims(mask.astype(x.dtype), range(x.ndim - 2))
    return jnp.matmul(ones, x, precision="highest")


def sums_before(x: Float[Array, "*axes c channels"]) -> Float[Array, "*axes c channels"]:
    """Sum over the tokens before each one."""
    return _summed(np.tri(x.shape[-2], k=-1, dtype=bool), x)


def sums_after(x: Float[Array, "*axes c channels"]) -> Float[Array, "*axes c channels"]:
    """Sum over the tokens after each one."""
    return _summed(np.tri(x.shape[-2], k=-1, dtype=bool).T, x)
