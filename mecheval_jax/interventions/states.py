"""Surgery on a recurrent state that is a matrix, one association at a time.

A state S [..., key, value] is a sum of associations k v^T, and its answer to a query q is S^T q.
At one position of each document

    write      S <- S + k v^T                        answers more v to k
    replace    S <- S + k (v - S^T k)^T / |k|^2      answers v to k
    erase      S <- S - k (S^T k)^T / |k|^2          answers nothing to k

Answers to queries orthogonal to k stay the same. To undo the write of a pair, `write` it with -v.
Later tokens start from the new state. Keys and values are the factors of the mixer's ``write``,
after feature maps, rotary positions and normalisation; in Mamba they are B and dt x. Decays by
channel and delta rules turn a key in the state after it was written: what an earlier token has left
there is changed by `evaluation.memory.surgery`. Mamba-3 turns its keys with the tokens, and its
state does not turn: a key counts at the angle that its token has, the running sum of the site
``turn``, and a write holds the keys of two tokens.

S is read from the given activations. If other interventions act before this one, these must be
captured under them (``capture(..., interventions=...)``).
"""

import jax.numpy as jnp

from mecheval_jax.array_types import ARRAYS, Array, Float
from mecheval_jax.errors import UserError, expect
from mecheval_jax.interventions.capture import Activations, Interventions, at_sites
from mecheval_jax.interventions.patch import shift
from mecheval_jax.interventions.positions import Columns, columns, gather, positions_mask
from mecheval_jax.site_path import SitePath
from mecheval_jax.sites import is_state


def write_association(
    activations: Activations,
    site: str,
    key: Float[Array, "..."],
    value: Float[Array, "..."],
    positions: Columns,
) -> Interventions:
    """Add an association to the state after one token.

    Args:
        activations: Activations of the run that will be patched, with the mixer's other sites.
        site: Path of a state, ``block_i/mixer/state``, or an alias.
        key: Key of the association: [key], [heads, key] or [batch, (heads,) key].
        value: Value of the association, with axes likewise.
        positions: One token of each document; a negative position leaves the document alone.
            A second association changes states that follow from the first, and so needs a
            second capture.

    Raises:
        UserError: If the state is no matrix of keys and values, a vector has another size, or
            a document has several positions.
    """
    path, state = _matrix_state(activations, site)
    key, value = _vectors(key, value, path, state.shape)
    return _shift(path, state, key[..., :, None] * value[..., None, :], positions)


def replace_association(
    activations: Activations,
    site: str,
    key: Float[Array, "..."],
    value: Float[Array, "..."],
    positions: Columns,
) -> Interventions:
    """Make the state after one token answer `value` to `key`; see `write_association`."""
    path, state = _matrix_state(activations, site)
    key, value = _vectors(key, value, path, state.shape)
    positions = _one_each(positions)
    before = gather(state, positions)[0][:, 0]
    answer = jnp.einsum("...kv,...k->...v", before, key)
    square = (key * key).sum(axis=-1, keepdims=True)
    unit = jnp.where(square > 0, key / jnp.where(square > 0, square, 1), 0)
    return _shift(path, state, unit[..., :, None] * (value - answer)[..., None, :], positions)


def erase_association(
    activations: Activations, site: str, key: Float[Array, "..."], positions: Columns
) -> Interventions:
    """Make the state after one token answer zeros to `key`; see `write_association`."""
    path, state = _matrix_state(activations, site)
    nothing = jnp.zeros(state.shape[-1], state.dtype)
    return replace_association(activations, path, key, nothing, positions)


def _matrix_state(activations: Activations, site: str) -> tuple[str, Float[Array, "..."]]:
    """Path and activation of a state, after a check that it is a matrix of keys and values."""
    ((path, state),) = at_sites(activations, [site]).items()
    paths = [SitePath.parse(path).beside(name).path for name in ("write", "k", "v")]
    write, k, v = map(activations.get, paths)
    if is_state(path):
        # With several writes per token the third axis is the write within the token.
        lead = 2 - state.ndim
        if write is not None and write.shape[:2] + write.shape[lead:] == state.shape:
            return path, state
        if k is not None and v is not None and state.shape == (*k.shape, v.shape[-1]):
            return path, state
    raise UserError(
        f"{path} is no state that sums keys times values: these activations must hold "
        f"{paths[0]} of its shape, or {paths[1]} and {paths[2]} of its keys and values"
    )


def _vectors(
    key: Float[Array, "..."], value: Float[Array, "..."], path: str, shape: tuple[int, ...]
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch ..."]]:
    """Key and value broadcast to [batch, (heads,) channels], after a check of their shapes."""

    def broadcast(name: str, vector: Array, size: int) -> Array:
        expect(f"the {name}", vector, ARRAYS, "an array of its channels")
        whole = (shape[0], *shape[2:-2], size)
        if not 0 < vector.ndim <= len(whole) or vector.shape != whole[-vector.ndim :]:
            raise UserError(
                f"{path}: the {name} is {list(vector.shape)}, it must be {list(whole)} or the last "
                "of these axes"
            )
        return jnp.broadcast_to(vector, whole)

    return broadcast("key", key, shape[-2]), broadcast("value", value, shape[-1])


def _one_each(positions: Columns) -> Columns:
    """The positions, after a check that each document has one only."""
    chosen = columns(positions).shape[1]
    if positions.dtype == bool or chosen != 1:
        raise UserError(
            f"{chosen} columns of positions: an association is written after one token of each "
            "document, so write one, capture again under it, and write the next"
        )
    return positions


def _shift(
    path: str, state: Float[Array, "..."], change: Float[Array, "..."], positions: Columns
) -> Interventions:
    """Add `change` to the state at the positions."""
    here = positions_mask(_one_each(positions), state.shape)
    return shift(
        {path: jnp.where(here, change[:, None], jnp.zeros_like(state)).astype(state.dtype)}
    )
