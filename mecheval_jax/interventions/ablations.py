"""Ablations: a site loses the information about its document.

Let x[i, p] be the activation of document i at place p (see `positions`: a role, or a position
that all documents share). It is replaced by

    zero        0
    mean        m[p] = mean over i of x[i, p]
    resample    x[j, p] of another document j, drawn for each i
    gaussian    m[p] + s[p] n,   s the standard deviation over i, n ~ N(0, 1) a number

A zero is an activation that the model may never have seen. A mean keeps what all documents
share. A resampled activation does occur (causal scrubbing, Chan et al. 2022), but it may not fit
the rest of its document.
"""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Float, Int, Key
from mecheval_jax.errors import UserError, expect
from mecheval_jax.interventions.capture import Activations, Interventions, at_sites
from mecheval_jax.interventions.patch import replace, swap
from mecheval_jax.interventions.positions import (
    Positions,
    check_positions,
    columns,
    gather,
    scatter,
)
from mecheval_jax.ops.precision import widened


def zero(like: Activations, sites: Iterable[str], positions: Positions = None) -> Interventions:
    """Replace activations by zeros.

    Args:
        like: Activations of the shapes that the model's have.
        sites: Paths as in `like`, or aliases.
        positions: Positions that are ablated (see `positions`); all if None.

    Raises:
        UserError: If `like` lacks a site.
    """
    values = {path: jnp.zeros_like(value) for path, value in at_sites(like, sites).items()}
    return replace(values, positions)


def mean(
    reference: Activations, sites: Iterable[str], positions: Positions = None
) -> Interventions:
    """Replace activations by their mean over documents, place by place.

    Args:
        reference: Activations of a run on the documents that will be patched.
        sites: Paths as in `reference`, or aliases.
        positions: Places of the means and of the patch. Documents that lack a place do not
            count in its mean. All positions if None, padding included: of documents of several
            lengths give ``locate(batch, inside(batch))``.

    Raises:
        UserError: If `reference` lacks a site.
    """
    return _from_moments(reference, sites, positions, lambda centre, spread, path: centre)


def gaussian(
    reference: Activations, sites: Iterable[str], key: Key, positions: Positions = None
) -> Interventions:
    """Replace activations by noise with their mean and standard deviation, place by place.

    Arguments as in `mean`; `key` is the key of the noise, which is independent between sites,
    documents and places.
    """
    paths = list(at_sites(reference, sites))
    _check_key(key)

    def draw(
        centre: Float[Array, "..."], spread: Float[Array, "..."], path: str
    ) -> Float[Array, "..."]:
        noise = jax.random.normal(jax.random.fold_in(key, paths.index(path)), centre.shape)
        return centre + spread * noise

    return _from_moments(reference, paths, positions, draw)


def resample(
    reference: Activations, sites: Iterable[str], key: Key, positions: Positions = None
) -> Interventions:
    """Replace activations by those of another document, drawn with `key`, one for all sites.

    Arguments as in `mean`. The other document has all places that this one has; if there is no
    such document, this one is left alone.

    Raises:
        UserError: If `reference` lacks a site, or has only one document.
    """
    paths = list(at_sites(reference, sites))
    _check_key(key)
    batch = len(reference[paths[0]])
    if batch < 2:
        raise UserError("one document: there is no other from which to resample")
    if positions is None:
        return swap(reference, paths, _donors(key, jnp.ones((batch, 1), bool)))
    is_mask = check_positions(positions).dtype == bool
    donors = _donors(key, positions if is_mask else columns(positions) >= 0)
    found = swap(reference, paths, donors, positions)
    # Those that are left alone may be donors, so that they keep their places until here.
    alone = donors == jnp.arange(batch)
    for entry in found.values():
        entry["mask"] &= ~alone.reshape(-1, *(1,) * (entry["mask"].ndim - 1))
    return found


def _check_key(key: Key) -> None:
    takes = "a random key, jax.random.key(0)"
    expect("the key", key, jax.Array, takes)
    old_style = key.dtype == jnp.uint32 and key.shape == (2,)  # of jax.random.PRNGKey
    if not old_style and not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise UserError(f"the key is {key.dtype}{list(key.shape)}: give {takes}")


def _donors(key: Key, present: Bool[Array, "batch places"]) -> Int[Array, " batch"]:
    """Draw for each document another one with at least its places; itself if there is none."""
    # Number of places that one document has and the other lacks.
    lacking = present.astype(jnp.float32) @ (~present).T.astype(jnp.float32)
    fits = (lacking == 0) & ~jnp.eye(len(present), dtype=bool)
    drawn = jax.random.categorical(key, jnp.where(fits, 0.0, -jnp.inf), axis=-1)
    return jnp.where(fits.any(axis=-1), drawn, jnp.arange(len(present)))


def _from_moments(
    reference: Activations,
    sites: Iterable[str],
    positions: Positions,
    make: Callable[[Float[Array, "..."], Float[Array, "..."], str], Float[Array, "..."]],
) -> Interventions:
    """Replace activations by `make(mean, standard deviation, path)`."""
    values = {}
    for path, activation in at_sites(reference, sites).items():
        x, present = gather(widened(activation), positions)
        here = present.reshape(*present.shape, *(1,) * (x.ndim - 2))
        x, weight = jnp.where(here, x, 0), here.astype(x.dtype)  # x may be infinite elsewhere
        count = jnp.maximum(weight.sum(axis=0, keepdims=True), 1)
        centre = x.sum(axis=0, keepdims=True) / count
        spread = jnp.sqrt((weight * (x - centre) ** 2).sum(axis=0, keepdims=True) / count)
        centre, spread = (jnp.broadcast_to(h, x.shape) for h in (centre, spread))
        put = make(centre, spread, path).astype(activation.dtype)
        values[path] = scatter(put, positions, activation.shape[1])
    return replace(values, positions)
