"""Models whose weights were made for a mechanism, with its edges, on which methods are graded.

The weights are set by hand (`planted`) or by a compiler (`compiled`). The known edges are those
along which they carry the replaced key to the answer: the key's identity from the embedding, and
what is made of it. All other edges carry nothing that differs between the two runs at a token that
is read. That the weights do so is a test, for every kind: the circuit of the known edges gives the
whole answer, without any one of them nothing is left of it (in direct retrieval, where heads of its
own read each pair, nothing of that pair), and no other edge is missed where it alone is taken from
the whole model. In two hops two others are, in the few documents whose replacement is the asked
key.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from mecheval_jax.evaluation.patching.graph import EMBEDDING, LOGITS, Edge
from mecheval_jax.ground_truth import compiled, planted
from mecheval_jax.ground_truth.planted import Planted
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath, block_name, head_node, in_mixer


@dataclasses.dataclass(frozen=True)
class Known:
    """A kind of model and its known edges.

    Attributes:
        build: Function from a seed to a model.
        edges: Function from its config to the edges of its mechanism.
    """

    build: Callable[[int], Planted]
    edges: Callable[[ModelConfig], tuple[Edge, ...]]


def _mixer(layer: int) -> str:
    return SitePath(layer, "mixer_output").path


def _induction(config: ModelConfig) -> tuple[Edge, ...]:
    """Values copied to the next token, keys that find them there, and the answer."""
    return (
        Edge(EMBEDDING, _mixer(0), "v"),
        Edge(_mixer(0), _mixer(1), "k"),
        Edge(_mixer(1), LOGITS),
    )


def _direct(config: ModelConfig) -> tuple[Edge, ...]:
    """Heads that copy the key of one pair each, and the MLP that compares keys."""
    mlp = SitePath(0, "mlp_output").path
    keys = [head_node(0, 2 * pair) for pair in range(planted.TASK.pairs)]
    copied = [edge for head in keys for edge in (Edge(EMBEDDING, head, "v"), Edge(head, mlp))]
    return (*copied, Edge(mlp, LOGITS))


def _convolution(config: ModelConfig, layer: int) -> tuple[Edge, ...]:
    """The convolution that brings a key to its value, where it tells B the entry of the state."""
    convolution = in_mixer(layer, "conv_output")
    return (
        Edge(EMBEDDING, convolution),
        Edge(convolution, _mixer(layer), "B"),
        Edge(_mixer(layer), LOGITS),
    )


def _delta_rule(config: ModelConfig) -> tuple[Edge, ...]:
    """The keys, to which a convolution brings the token before a value, and the answer."""
    return (Edge(EMBEDDING, _mixer(0), "k"), Edge(_mixer(0), LOGITS))


def _mlp(layer: int) -> str:
    return SitePath(layer, "mlp_output").path


def _compiled_direct(config: ModelConfig) -> tuple[Edge, ...]:
    """The MLP that tells keys, the head that finds the place, the sum with 1, the head there."""
    return (
        Edge(EMBEDDING, _mlp(0)),
        Edge(_mlp(0), _mixer(1), "k"),
        Edge(_mixer(1), _mlp(1)),
        Edge(_mlp(1), _mixer(2), "q"),
        Edge(_mixer(2), LOGITS),
    )


def _compiled_hops(config: ModelConfig) -> tuple[Edge, ...]:
    """The MLP that tells keys, the head that copies them to the next token, the last look-up.

    The key of the last hop is replaced. That of the first one is asked, and stays.
    """
    return (
        Edge(EMBEDDING, _mlp(0)),
        Edge(_mlp(0), _mixer(1), "v"),
        Edge(_mixer(1), _mixer(3), "k"),
        Edge(_mixer(3), LOGITS),
    )


KNOWN = {
    "induction": Known(planted.induction, _induction),
    "induction beside MLPs": Known(
        functools.partial(planted.induction, feed_forward="mlp"), _induction
    ),
    "direct retrieval": Known(functools.partial(planted.direct_retrieval, layers=1), _direct),
    "convolution in layer 0": Known(planted.convolution, functools.partial(_convolution, layer=0)),
    "convolution in layer 1": Known(
        functools.partial(planted.convolution, layer=1), functools.partial(_convolution, layer=1)
    ),
    "convolution behind the value": Known(
        functools.partial(planted.convolution, d_conv=4, later=2),
        functools.partial(_convolution, layer=0),
    ),
    "delta rule": Known(planted.delta_rule, _delta_rule),
    "compiled induction": Known(
        functools.partial(compiled.program, compiled.INDUCTION), _induction
    ),
    "compiled direct retrieval": Known(
        functools.partial(compiled.program, compiled.DIRECT), _compiled_direct
    ),
    "compiled two hops": Known(functools.partial(compiled.program, compiled.HOPS), _compiled_hops),
}
"""Kinds of models, by name."""


def planted_subspace(seed: int) -> np.ndarray:
    """Directions [width, keys] in which layer 0 of a planted induction stores the token before.

    They are what its value and output kernels make of the embeddings of the keys.
    """
    _, params, task = planted.induction(seed)
    words = np.asarray(params["token_embedding"]["embedding"], np.float64)
    mixer = params[block_name(0)]["mixer"]
    kernels = [np.asarray(mixer[name]["kernel"], np.float64) for name in ("v_proj", "out_proj")]
    written = words[list(task.classes["k"])] @ kernels[0] @ kernels[1]
    return np.linalg.qr(written.T)[0]
