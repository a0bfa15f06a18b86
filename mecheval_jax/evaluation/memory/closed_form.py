"""The effect of one write on a later reading, in closed form and by surgery.

Without the write k u^T of token s, what the state gives at token t changes by

    - (q[t] . T[t] ... T[s+1] k[s]) u[s]

the decay product, times q . k, times the value (`representations.mixing_matrices`). Surgery sets
the site ``write`` to 0 at s and runs the layer again. Both agree where the reading is linear in the
state; the two share no code, so that agreement checks the state's sites, its transitions and the
matrices.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.evaluation.memory.removal import MemoryPlace
from mecheval_jax.evaluation.representations.effective_attention import effective_attention
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import capture, handed_on, observe_block
from mecheval_jax.interventions.patch import pin
from mecheval_jax.mixers.mamba import Mamba
from mecheval_jax.mixers.mamba2 import Mamba2
from mecheval_jax.mixers.matrix_state import MatrixStateMixer
from mecheval_jax.mixers.rwkv7 import RWKV7
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.geometry import geometry

LINEAR = (MatrixStateMixer, Mamba, Mamba2, RWKV7)
"""Mixers whose reading is linear in their state; others divide by a sum or solve a system."""

FEW = 8
"""Number of documents that are compared."""


def closed_form_error(subject: Subject, batch: Batch, place: MemoryPlace) -> float | None:
    """Greatest difference between closed form and surgery, as a share of the greatest change.

    Args:
        subject: Model and task.
        batch: Documents, from which the pair of query 0 is removed.
        place: Layer, and token of the pair.

    Returns:
        The share; None if the mixer's reading is not linear, a token has several writes, or no
        document has a token this far behind its pair.
    """
    layer = SitePath.parse(place.site).layer or 0
    mixer = subject.config.build_mixer(layer)
    if not isinstance(mixer, LINEAR) or getattr(mixer, "steps", 1) > 1:
        return None
    present = np.asarray(geometry(subject.task, batch).position(place.offset)) >= 0
    if not present.any():
        return None
    few = np.flatnonzero(present)[:FEW]
    batch = jax.tree.map(lambda leaf: leaf[few], batch)
    found = geometry(subject.task, batch)
    at, query = found.position(place.offset), batch.query_positions[:, 0]
    documents = jnp.arange(len(at))

    @jax.jit
    def error(params: PyTree) -> Array:
        activations = capture(subject.model, params, batch)
        held = pin(activations, handed_on(subject.config, layer))
        taken = place.removal(activations, at[:, None], found.question) | held
        residual = activations[SitePath(layer, "block_input").path]
        after = observe_block(subject.model, params, layer, residual, taken)
        read = place.output(activations)
        change = (after[read] - activations[read])[documents, query]
        # [documents, streams, channels]: one entry of the matrix times the value.
        mixing = effective_attention(subject.config, params, activations, layer)
        weight = mixing.matrices[documents, :, query, at]
        expected = -weight[..., None] * mixing.values[documents, at]
        return jnp.abs(change.reshape(expected.shape) - expected).max() / jnp.abs(change).max()

    return float(error(subject.params))
