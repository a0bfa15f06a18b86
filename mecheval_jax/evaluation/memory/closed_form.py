"""The effect of one association on the answer, in closed form and by surgery.

At the last token before the question the value of one pair is taken out of a state
(`memory.surgery`). Then what the state gives at that token and those of the question, t, changes by

    - (q[t] . T[t] ... T[s+1] k[s]) v[s]

the product of the transitions since token s, the pair's, times q . k, times the value: minus one
entry of the mixing matrix times the value (`representations.mixing_matrices`). Given this change at
the layer's reading, the layers above and the head must give the logits that they give after the
surgery. All mixers with such a state are linear in their values, though some divide by a sum of
keys or solve a system of them. State and matrices share no code, so that agreement checks both.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.evaluation.memory.removal import MemoryPlace
from mecheval_jax.evaluation.memory.surgery import Surgery, last_before
from mecheval_jax.evaluation.representations.effective_attention import effective_attention
from mecheval_jax.evaluation.representations.mixing_matrices import has_matrices
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import capture, run
from mecheval_jax.interventions.patch import shift
from mecheval_jax.interventions.positions import positions_mask
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.base import Batch, at_position
from mecheval_jax.tasks.geometry import geometry

FEW = 8
"""Number of documents that are compared."""


def closed_form_error(
    subject: Subject, batch: Batch, place: MemoryPlace
) -> tuple[float, int] | None:
    """Greatest difference of the logits of closed form and surgery, as a share of their change.

    Both are computed in float32, whichever the type of the model's activations.

    Args:
        subject: Model and task.
        batch: Documents, of which the pair of query 0 is erased.
        place: Layer, and token of the pair.

    Returns:
        The share of the greatest change, and the number of documents; None if nothing changes, if
        no document has a token this far behind its pair and before the last one, or of a mixer of
        the user's own, whose mixing matrices nobody knows.
    """
    subject = dataclasses.replace(subject, model=LanguageModel(subject.config.in_float32))
    mixer = subject.config.build_mixer(place.layer)
    if not has_matrices(mixer):
        return None
    found = geometry(subject.task, batch)
    at, last = found.position(place.offset), last_before(found)
    few = np.flatnonzero((at >= 0) & (at < last))[:FEW]
    if not few.size:
        return None
    batch, found = jax.tree.map(lambda leaf: leaf[few], (batch, found))
    at, layer = found.position(place.offset), place.layer
    query = batch.query_positions[:, :1]
    read_from = found.question | at_position(last_before(found), batch.tokens.shape[1])

    @jax.jit
    def logits(params: PyTree) -> tuple[Array, Array, Array]:
        activations = capture(subject.model, params, batch)
        surgery = Surgery(subject.model, params, batch, place, found, activations)
        erased = surgery.leading_to(surgery.state_without(at))
        # What the values of the pair's write alone give to each token that reads the state.
        mixing = effective_attention(subject.config, params, activations, layer)
        own = positions_mask(surgery.tokens(at), mixing.values.shape)
        values = jnp.where(own, mixing.values, 0)
        given = mixing.replace(values=values, constant=None).read()
        read = place.output(activations)
        given = jnp.where(read_from[..., None, None], given, 0)
        without = shift({read: -given.reshape(activations[read].shape)})
        runs = ({}, erased, without)
        whole, *changed = (run(subject.model, params, batch, each, query) for each in runs)
        return whole, changed[0], changed[1]

    whole, surgery, closed = map(np.asarray, logits(subject.params))
    change = np.abs(surgery - whole).max()
    return (float(np.abs(closed - surgery).max() / change), len(few)) if change else None
