"""Knockout of edges between tokens, and of whole heads, in attention.

An edge from a source to a destination is cut by a score of minus infinity: its weight becomes 0,
and the other weights of the destination sum to 1 again (Geva et al. 2023). If all edges to a
destination are cut, its head output is 0. A head is cut by setting its output to 0.
"""

from collections.abc import Iterable, Mapping, Sequence

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool
from mecheval_jax.errors import UserError, several
from mecheval_jax.interventions.capture import Activations, Interventions, at_sites
from mecheval_jax.interventions.positions import Positions, positions_mask
from mecheval_jax.site_path import SitePath


def knockout_edges(
    like: Activations,
    sites: Iterable[str],
    sources: Positions = None,
    destinations: Positions = None,
    heads: Sequence[int] | None = None,
) -> Interventions:
    """Cut the edges from each of `sources` to each of `destinations`.

    Args:
        like: Activations of the shapes that the model's have.
        sites: Paths of attention scores, ``block_i/mixer/scores``, or aliases.
        sources: Positions that are no longer read; all if None.
        destinations: Positions that no longer read the sources; all if None.
        heads: Indices of the heads in which edges are cut; all if None.

    Raises:
        UserError: If a site does not hold attention scores, or a head does not exist.
    """
    found = {}
    for path, scores in at_sites(like, sites).items():
        if SitePath.parse(path).name != "scores":
            raise UserError(f"{path} holds no scores of attention; {_there_are('scores', like)}")
        mask = _heads_mask(path, heads, scores.shape[2])
        if destinations is not None:
            mask = mask & positions_mask(destinations, scores.shape)
        if sources is not None:
            mask = mask & jnp.moveaxis(positions_mask(sources, scores.shape), 1, 3)
        cut = jnp.full_like(scores, -jnp.inf)
        found[path] = {"value": cut, "mask": jnp.broadcast_to(mask, scores.shape)}
    return found


def knockout_heads(
    like: Activations, sites: Iterable[str], heads: Sequence[int], positions: Positions = None
) -> Interventions:
    """Replace the outputs of some heads by zeros.

    Args:
        like: Activations of the shapes that the model's have, queries included.
        sites: Paths of outputs by head, ``block_i/mixer/head_output``, or aliases.
        heads: Indices of the heads.
        positions: Positions at which the heads are cut; all if None.

    Raises:
        UserError: If a site is not [batch, length, heads, channels], or a head does not exist.
    """
    found, shapes = {}, {path: leaf.shape for path, leaf in like.items()}
    for path, read in at_sites(like, sites).items():
        if not is_by_head(path, shapes):
            queries = SitePath.parse(path).beside("q").path
            raise UserError(
                f"{path} is not [batch, length, heads, channels] with queries "
                f"{queries} by head; {_there_are('head_output', like)}"
            )
        mask = _heads_mask(path, heads, read.shape[2])
        if positions is not None:
            mask = mask & positions_mask(positions, read.shape)
        mask = jnp.broadcast_to(mask, (*read.shape[:3], 1))
        found[path] = {"value": jnp.zeros_like(read), "mask": mask}
    return found


def is_by_head(path: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a site holds the outputs of heads, [batch, length, heads, channels].

    Then the queries beside it have the same heads. H3 has outputs by head too, but heads are their
    last axis, and its queries have none.

    Args:
        path: Path of the site.
        shapes: Shapes of the activations at all sites.
    """
    site, read = SitePath.parse(path), shapes.get(path, ())
    queries = (shapes.get(site.beside(name).path, ()) for name in ("q", "r"))  # `r` in RWKV-7
    by_head = any(len(query) >= 3 and query[:3] == read[:3] for query in queries)
    return site.name == "head_output" and by_head


def _heads_mask(path: str, heads: Sequence[int] | None, count: int) -> Bool[Array, "1 1 heads 1"]:
    """True in the chosen heads of `count`, after a check that they exist."""
    chosen = range(count) if heads is None else several(heads)
    for head in chosen:
        if head not in range(count):
            raise UserError(f"{path} has no head {head}: valid are 0 to {count - 1}")
    return jnp.array([head in chosen for head in range(count)])[None, None, :, None]


def _there_are(name: str, like: Activations) -> str:
    """The part of a message that lists the sites of a name."""
    found = [path for path in like if SitePath.parse(path).name == name]
    return f"there are {', '.join(found)}" if found else "these activations have none"
