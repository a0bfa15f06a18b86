"""Ablations: a site loses what it says of its document.

With x[i, p] the activation of document i at place p (see `positions`: a role, or a position
that all documents share), an ablation puts in

    zero        0
    mean        m[p] = mean over i of x[i, p]
    resample    x[j, p] of another document j, drawn for each i
    gaussian    m[p] + s[p] n,   s the standard deviation over i, n ~ N(0, 1) a number

A zero is an activation that the model has never seen; a mean keeps what all documents share;
a resampled activation is one that occurs (Chan et al. 2022), though its parts may not fit.
"""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Float, Int, Key
from mecheval_jax.errors import UserError
from mecheval_jax.interventions.capture import Activations, Interventions, at_sites
from mecheval_jax.interventions.patch import replace, swap
from mecheval_jax.interventions.positions import Positions, columns, gather, scatter
from mecheval_jax.tasks.base import ABSENT


def zero(like: Activations, sites: Iterable[str], positions: Positions = None) -> Interventions:
    """Put in zeros at `sites`, shaped as in `like`; see `interchange`."""
    values = {path: jnp.zeros_like(value) for path, value in at_sites(like, sites).items()}
    return replace(values, positions)


def mean(
    reference: Activations, sites: Iterable[str], positions: Positions = None
) -> Interventions:
    """Put in the mean over the documents of `reference`, place by place.

    Args:
        reference: activations of a run on the documents that are to be patched.
        sites: paths as in `reference`, or aliases.
        positions: where, and over what the mean goes: documents without a place are left out.

    Raises:
        UserError: a site that `reference` does not have.
    """
    return _from_moments(reference, sites, positions, lambda centre, spread, path: centre)


def gaussian(
    reference: Activations, sites: Iterable[str], key: Key, positions: Positions = None
) -> Interventions:
    """Put in noise with the mean and the standard deviation of `reference`, place by place.

    Arguments as in `mean`; `key` gives every site, document and place numbers of its own.
    """
    paths = list(at_sites(reference, sites))

    def draw(centre, spread, path):
        noise = jax.random.normal(jax.random.fold_in(key, paths.index(path)), centre.shape)
        return centre + spread * noise

    return _from_moments(reference, paths, positions, draw)


def resample(
    reference: Activations, sites: Iterable[str], key: Key, positions: Positions = None
) -> Interventions:
    """Put in the activations of another document, drawn with `key`, the same for all sites.

    Arguments as in `mean`. A document is given one that has all its places; where there is
    none but itself, it is left alone.

    Raises:
        UserError: a site that `reference` does not have, or a single document.
    """
    paths = list(at_sites(reference, sites))
    batch = len(reference[paths[0]])
    if batch < 2:
        raise UserError("one document: there is no other from which to resample")
    if positions is None or positions.dtype == bool:
        donors = _donors(key, jnp.ones((batch, 1), bool))
    else:
        donors = _donors(key, columns(positions) >= 0)
        positions = jnp.where((donors == jnp.arange(batch))[:, None], ABSENT, columns(positions))
    return swap(reference, paths, donors, positions)


def _donors(key: Key, present: Bool[Array, "batch places"]) -> Int[Array, " batch"]:
    """For each document another one with at least its places; itself if there is none."""
    fits = (present[None] | ~present[:, None]).all(axis=-1) & ~jnp.eye(len(present), dtype=bool)
    drawn = jax.random.categorical(key, jnp.where(fits, 0.0, -jnp.inf), axis=-1)
    return jnp.where(fits.any(axis=-1), drawn, jnp.arange(len(present)))


def _from_moments(
    reference: Activations,
    sites: Iterable[str],
    positions: Positions,
    make: Callable[[Float[Array, "..."], Float[Array, "..."], str], Float[Array, "..."]],
) -> Interventions:
    values = {}
    for path, activation in at_sites(reference, sites).items():
        x, present = gather(
            activation.astype(jnp.promote_types(activation.dtype, jnp.float32)), positions
        )
        weight = present.reshape(*present.shape, *(1,) * (x.ndim - 2)).astype(x.dtype)
        count = jnp.maximum(weight.sum(axis=0, keepdims=True), 1)
        centre = (weight * x).sum(axis=0, keepdims=True) / count
        spread = jnp.sqrt((weight * (x - centre) ** 2).sum(axis=0, keepdims=True) / count)
        centre, spread = (jnp.broadcast_to(h, x.shape) for h in (centre, spread))
        put = make(centre, spread, path).astype(activation.dtype)
        values[path] = scatter(put, positions, activation.shape[1])
    return replace(values, positions)
