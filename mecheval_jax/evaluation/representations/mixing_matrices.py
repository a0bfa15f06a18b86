"""Mixing matrices: how much each token contributes to what a mixer reads at another token.

With everything else that a mixer computes held fixed (its queries, decays, gates, filters), its
output is linear in the values v of the tokens s, and the coefficients are a matrix:

    o[t] = sum_{s <= t} M[t, s] v[s] (+ a constant)

one for each head, or one for each channel if channels are mixed separately. In attention M is the
pattern. In a recurrence S[t] = T[t] S[t-1] + w[t] v[t], o[t] = q[t] . S[t], it is

    M[t, s] = q[t] . T[t] T[t-1] ... T[s+1] w[s]

(Ali et al. 2024 for Mamba, Dao and Gu 2024 for its dual form), with T = diag(a), or in the
delta family T = diag(a) + E with the site ``erase``. In a convolution it is the Toeplitz matrix of
the filter between the gates. What v and o are:

==================  ================================  =======================================
mixer               v                                 o
==================  ================================  =======================================
attention, Based    ``v``                             ``head_output``
GLA, RetNet, delta  ``v``; Gated DeltaNet-2: w v      ``head_output``
mLSTM, slots, mesa  ``v``                             ``head_output``
RWKV-7              ``v``                             ``head_output``
H3                  ``v``                             ``head_output``
Mamba family        ``x``                             ``ssm_output``
RWKV-4              ``v``                             ``average``
S4D                 the mixer's input                 ``filter_output`` plus D x
Hyena               third part of ``conv_output``     what its output projection reads
BaseConv            the mixer's input                 ``mixer_output``, its own input included
==================  ================================  =======================================

The short convolutions before the values of Mamba, Hyena and the delta nets are not part of M: a
value v[s] may hold tokens shortly before s.
"""

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.errors import UserError
from mecheval_jax.mixers.base_conv import BaseConv
from mecheval_jax.mixers.based import EPSILON, Based
from mecheval_jax.mixers.delta_product import GatedDeltaProduct
from mecheval_jax.mixers.gated_slot_attention import GatedSlotAttention
from mecheval_jax.mixers.h3 import H3
from mecheval_jax.mixers.hyena import Hyena
from mecheval_jax.mixers.log_linear_mamba2 import LogLinearMamba2
from mecheval_jax.mixers.mamba import Mamba
from mecheval_jax.mixers.mamba2 import Mamba2
from mecheval_jax.mixers.mamba3 import Mamba3
from mecheval_jax.mixers.matrix_state import MatrixStateMixer
from mecheval_jax.mixers.mesa_net import MesaNet
from mecheval_jax.mixers.mlstm import EPSILON as STABILITY
from mecheval_jax.mixers.mlstm import MLSTM
from mecheval_jax.mixers.rwkv import RWKV4
from mecheval_jax.mixers.rwkv7 import RWKV7
from mecheval_jax.mixers.s4d import S4D
from mecheval_jax.mixers.softmax_attention import SoftmaxAttention
from mecheval_jax.ops.log_linear_attention import weights_of_pairs
from mecheval_jax.ops.long_convolution import toeplitz
from mecheval_jax.ops.stabilizer import bounded_below, log_maximum
from mecheval_jax.ops.trapezoid import weight_of_write

Sites = dict[str, Array]
"""Activations at the sites inside a mixer, by name."""


@flax.struct.dataclass
class MixingMatrices:
    """The matrices of one mixer on some documents.

    Attributes:
        matrices: Matrices M, one for each stream: a head, or a channel.
        values: Values v; in a channel's stream one number for each token.
        constant: Part of the output that comes from no token; None if there is none.
        streams: ``head`` or ``channel``.
        summed: Number of neighbouring streams that share one state and are summed when it is read:
            the steps of a head, one after the other.
    """

    matrices: Float[Array, "documents streams destination source"]
    values: Float[Array, "documents source streams channels"]
    constant: Float[Array, "documents destination streams channels"] | None = None
    streams: str = flax.struct.field(pytree_node=False, default="head")
    summed: int = flax.struct.field(pytree_node=False, default=1)

    def read(self) -> Float[Array, "documents destination streams channels"]:
        """The product of the matrices and the values: o."""
        read = jnp.einsum("bhts,bshc->bthc", self.matrices, self.values)
        if self.summed > 1:
            read = read.reshape(*read.shape[:2], -1, self.summed, read.shape[3]).sum(axis=3)
        return read if self.constant is None else read + self.constant


def unrolled_recurrence(
    write: Float[Array, "batch length streams state"],
    decay: Float[Array, "batch length streams decayed"],
    query: Float[Array, "batch length streams state"],
    erase: Float[Array, "batch length streams state state"] | None = None,
) -> Float[Array, "batch streams length length"]:
    """The matrices of a recurrence, from the write of each token carried on and read separately.

    Args:
        write: Vector w that a token adds to the state for a value of 1.
        decay: Decay a; its last axis is that of the state, or 1.
        query: Vector q that reads the state.
        erase: Matrix E of T = diag(a) + E; None for T = diag(a).
    """
    here = jnp.eye(write.shape[1], dtype=write.dtype)

    def advance(held: Array, at_t: tuple[Array, ...]) -> tuple[Array, Array]:
        decay_t, write_t, query_t, here_t, *erase_t = at_t
        kept = decay_t[:, :, None] * held
        for matrix in erase_t:
            kept = kept + jnp.einsum("bhij,bhsj->bhsi", matrix, held)
        held = kept + here_t[None, None, :, None] * write_t[:, :, None]
        return held, jnp.einsum("bhk,bhsk->bhs", query_t, held)

    batch, length, streams, state = write.shape
    start = jnp.zeros((batch, streams, length, state), write.dtype)
    decay, write, query = (jnp.moveaxis(part, 1, 0) for part in (decay, write, query))
    by_time = (decay, write, query, here)
    by_time += () if erase is None else (jnp.moveaxis(erase, 1, 0),)
    return jnp.moveaxis(jax.lax.scan(advance, start, by_time)[1], 0, 2)


def _convolution(taps: Float[Array, "length width"]) -> Float[Array, "1 width length length"]:
    """The matrix of a causal convolution for each channel, the same for all documents."""
    return jnp.moveaxis(toeplitz(taps), -1, 0)[None]


def _diagonal(weights: Float[Array, " streams"], length: int) -> Float[Array, "1 streams t t"]:
    """A multiple of the identity for each stream, for the skip D x."""
    return (weights[:, None, None] * jnp.eye(length, dtype=weights.dtype)[None])[None]


def _at_destination(x: Float[Array, "batch length width"]) -> Float[Array, "batch width length 1"]:
    return jnp.swapaxes(x, 1, 2)[..., None]


def _at_source(x: Float[Array, "batch length width"]) -> Float[Array, "batch width 1 length"]:
    return jnp.swapaxes(x, 1, 2)[:, :, None]


@functools.singledispatch
def matrices_of(mixer: Any, sites: Sites, x: Array | None) -> MixingMatrices:
    """The matrices of a mixer that is linear in its values, subclasses included.

    Args:
        mixer: Mixer with its parameters.
        sites: Activations at the sites inside the mixer.
        x: Input of the mixer; None if it was not captured.

    Raises:
        UserError: If the mixer is not linear in its values, such as an LSTM.
    """
    valid = ", ".join(kind.__name__ for kind in matrices_of.registry if kind is not object)
    raise UserError(
        f"{type(mixer).__name__} has no effective attention: it is not linear in the values of "
        f"its tokens; those of {valid} are"
    )


def has_matrices(mixer: Any) -> bool:
    """Whether `matrices_of` knows a mixer, by its class."""
    return matrices_of.dispatch(type(mixer)) is not matrices_of.dispatch(object)


@matrices_of.register
def _of_attention(mixer: SoftmaxAttention, sites: Sites, x: Array) -> MixingMatrices:
    """The attention pattern itself."""
    pattern = jnp.swapaxes(sites["pattern"], 1, 2)
    v = jnp.repeat(sites["v"], pattern.shape[1] // sites["v"].shape[2], axis=2)
    return MixingMatrices(pattern, v)


@matrices_of.register
def _of_based(mixer: Based, sites: Sites, x: Array) -> MixingMatrices:
    """Products of the feature maps, divided by their sum."""
    weights = jnp.einsum("bthf,bshf->bhts", sites["query_features"], sites["key_features"])
    total = jnp.swapaxes(sites["normalizer"], 1, 2) + EPSILON
    return MixingMatrices(jnp.tril(weights) / total, sites["v"])


@matrices_of.register
def _of_matrix_state(mixer: MatrixStateMixer, sites: Sites, x: Array) -> MixingMatrices:
    """GLA, RetNet and the delta family, which write beta v or, by channel, w v."""
    index = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
    q, k = mixer.prepare(sites["q"], sites["k"], index)
    v = sites["v"] * sites["write_gate"] if "write_gate" in sites else sites["v"]
    write = k * sites["beta"][..., None] if "beta" in sites else k
    decay = sites["decay"][..., 0] if "decay" in sites else jnp.ones_like(k[..., :1])
    return MixingMatrices(unrolled_recurrence(write, decay, q, sites.get("erase")), v)


@matrices_of.register
def _of_delta_product(mixer: GatedDeltaProduct, sites: Sites, x: Array) -> MixingMatrices:
    """A matrix for each head and step: the steps of all tokens in turn, read after each token."""
    n, (batch, length) = mixer.steps, x.shape[:2]

    def in_turn(h: Array) -> Array:
        return h.reshape(batch, length * n, *h.shape[3:])

    index = jnp.broadcast_to(jnp.arange(length), (batch, length))
    q, k = mixer.prepare(sites["q"], sites["k"], index)
    q, decay = jnp.repeat(q, n, axis=1), jnp.repeat(sites["decay"][..., 0], n, axis=1)
    first = (jnp.arange(length * n) % n == 0)[None, :, None, None]
    matrices = unrolled_recurrence(
        in_turn(k * sites["beta"][..., None]),
        jnp.where(first, decay, 1),
        q,
        in_turn(sites["erase"]),
    )
    after_last = matrices[:, :, n - 1 :: n].reshape(batch, -1, length, length, n)
    by_step = jnp.moveaxis(after_last, 4, 2).reshape(batch, -1, length, length)
    values = jnp.swapaxes(sites["v"], 2, 3).reshape(batch, length, -1, sites["v"].shape[-1])
    return MixingMatrices(by_step, values, summed=n)


@matrices_of.register
def _of_mamba(mixer: Mamba, sites: Sites, x: Array) -> MixingMatrices:
    """A recurrence for each channel, with its own step size."""
    channels = sites["x"]
    write = sites["dt"][..., None] * sites["B"][:, :, None]
    query = jnp.broadcast_to(sites["C"][:, :, None], write.shape)
    matrices = unrolled_recurrence(write, jnp.swapaxes(sites["decay"], 2, 3), query)
    matrices = matrices + _diagonal(mixer.D, channels.shape[1])
    return MixingMatrices(matrices, channels[..., None], streams="channel")


@matrices_of.register
def _of_mamba2(mixer: Mamba2, sites: Sites, x: Array) -> MixingMatrices:
    """A recurrence for each head; B and C are shared by the heads of a group."""
    heads = sites["dt"].shape[-1]
    B, C = (jnp.repeat(h, heads // h.shape[2], axis=2) for h in (sites["B"], sites["C"]))
    matrices = unrolled_recurrence(sites["dt"][..., None] * B, sites["decay"][..., 0], C)
    return MixingMatrices(matrices + _diagonal(mixer.D, x.shape[1]), sites["x"])


@matrices_of.register
def _of_mamba3(mixer: Mamba3, sites: Sites, x: Array) -> MixingMatrices:
    """A recurrence for each head; with several ranks, for each channel of each rank."""
    now = sites["trapezoid"] * sites["dt"]
    weight = weight_of_write(now, sites["dt"] - now)
    ranks, length = mixer.ranks, x.shape[1]
    # One stream for every pair of ranks, with the rank that reads as the first index.
    q, k = (mixer.turned_by(sites[n], jnp.cumsum(sites["turn"], axis=1)) for n in "qk")
    q = jnp.repeat(q, ranks, axis=3).reshape(*x.shape[:2], -1, mixer.d_state)
    k = jnp.tile(k, (1, 1, 1, ranks, 1)).reshape(q.shape)
    weight, now, decay = (
        jnp.repeat(h, ranks**2, axis=2)[..., None] for h in (weight, now, sites["decay"][..., 0, 0])
    )
    matrices = unrolled_recurrence(weight * k, decay, q)
    twice = jnp.swapaxes(((weight - now) * q * k).sum(axis=-1), 1, 2)  # absent at the token itself
    matrices = matrices - twice[..., None] * jnp.eye(length)[None, None]
    if ranks == 1:
        return MixingMatrices(matrices + _diagonal(mixer.D, length), sites["x"])
    matrices = matrices.reshape(x.shape[0], mixer.heads, ranks, ranks, length, length)
    matrices = jnp.einsum("bhrqts,hqp->bhrpts", matrices, mixer.mimo.x)
    skip = mixer.D[:, None, None] * mixer.mimo.x
    matrices = matrices.reshape(x.shape[0], -1, length, length) + _diagonal(skip.ravel(), length)
    values = jnp.repeat(sites["x"][..., None, :], ranks, axis=3).reshape(*x.shape[:2], -1)
    return MixingMatrices(matrices, values[..., None], streams="channel")


@matrices_of.register
def _of_slots(mixer: GatedSlotAttention, sites: Sites, x: Array) -> MixingMatrices:
    """A recurrence whose keys are the slots' forgetting, read by the attention over the slots."""
    keep = sites["decay"][..., 0]
    return MixingMatrices(
        unrolled_recurrence(1 - keep, keep, sites["pattern_of_slots"]), sites["v"]
    )


@matrices_of.register
def _of_mesa_net(mixer: MesaNet, sites: Sites, x: Array) -> MixingMatrices:
    """A recurrence that is read by the solution of each token's linear system."""
    write = sites["beta"][..., None] * sites["k"]
    matrices = unrolled_recurrence(write, sites["decay"][..., 0], sites["solution"])
    return MixingMatrices(matrices, sites["v"])


@matrices_of.register
def _of_mlstm(mixer: MLSTM, sites: Sites, x: Array) -> MixingMatrices:
    """A recurrence divided by its normaliser, which is its reading of values that are all 1."""
    i = bounded_below(sites["input_gate"])
    m = log_maximum(bounded_below(jax.nn.log_sigmoid(sites["forget_gate"])), i)
    write = jnp.exp(i - m)[..., None] * sites["k"] * sites["k"].shape[-1] ** -0.5
    matrices = unrolled_recurrence(write, sites["decay"][..., 0], sites["q"])
    smallest = jnp.swapaxes(jnp.exp(-m), 1, 2)
    scale = jnp.maximum(jnp.abs(matrices.sum(axis=-1)), smallest) + STABILITY
    return MixingMatrices(matrices / scale[..., None], sites["v"])


@matrices_of.register
def _of_log_linear_mamba2(mixer: LogLinearMamba2, sites: Sites, x: Array) -> MixingMatrices:
    """A recurrence for each head, whose entries are weighted by the level of their pair."""
    dt, length = sites["dt"], x.shape[1]
    decay = jnp.exp(-jnp.exp(mixer.A_log)[None, None] * dt)[..., None]
    write = dt[..., None] * sites["B"][:, :, None]
    query = jnp.broadcast_to(sites["C"][:, :, None], write.shape)
    weights = weights_of_pairs(jnp.moveaxis(sites["weights"], 2, 1), length)
    matrices = unrolled_recurrence(write, decay, query) * weights
    return MixingMatrices(matrices + _diagonal(mixer.D, length), sites["x"])


@matrices_of.register
def _of_rwkv4(mixer: RWKV4, sites: Sites, x: Array) -> MixingMatrices:
    """Softmax of k[s] + (t - 1 - s) w over earlier tokens, and k[t] + u for the token itself."""
    index, k = jnp.arange(x.shape[1]), bounded_below(sites["k"])
    w, u = -jnp.exp(mixer.time_decay), mixer.time_first
    lag = (index[:, None] - index[None, :])[None]
    bonus = jnp.where(lag == 0, u[:, None, None], (lag - 1) * w[:, None, None])
    exponents = jnp.where(lag[None] >= 0, _at_source(k) + bonus[None], -jnp.inf)
    return MixingMatrices(jax.nn.softmax(exponents), sites["v"][..., None], streams="channel")


@matrices_of.register
def _of_rwkv7(mixer: RWKV7, sites: Sites, x: Array) -> MixingMatrices:
    """A recurrence for each head; a token's bonus for itself is added after the norm."""
    del mixer, x
    matrices = unrolled_recurrence(sites["k"], sites["decay"][..., 0], sites["r"], sites["erase"])
    return MixingMatrices(matrices, sites["v"])


@matrices_of.register
def _of_s4d(mixer: S4D, sites: Sites, x: Array) -> MixingMatrices:
    """The kernel, and the skip D."""
    matrices = _convolution(mixer.kernel(x.shape[1])) + _diagonal(mixer.D, x.shape[1])
    in_all_documents = jnp.broadcast_to(matrices, (x.shape[0], *matrices.shape[1:]))
    return MixingMatrices(in_all_documents, x[..., None], streams="channel")


@matrices_of.register
def _of_h3(mixer: H3, sites: Sites, x: Array) -> MixingMatrices:
    """In each head the kernel, and D, times the product of the query and the shifted key."""
    size = sites["v"].shape[2]
    q = sites["q"].reshape(*x.shape[:2], -1, size)
    products = jnp.einsum("bthi,bsih->bhts", q, sites["shift_output"])
    kernel = _convolution(mixer.kernel(x.shape[1])) + _diagonal(mixer.D, x.shape[1])
    return MixingMatrices(kernel * products, jnp.swapaxes(sites["v"], 2, 3))


@matrices_of.register
def _of_hyena(mixer: Hyena, sites: Sites, x: Array) -> MixingMatrices:
    """The filter between the gates x1 and x2."""
    matrices = _convolution(mixer.filter(x.shape[1]))
    if mixer.skip:
        matrices = matrices + _diagonal(mixer.D, x.shape[1])
    matrices = _at_destination(sites["gate"]) * matrices * _at_source(sites["input_gate"])
    v = jnp.split(sites["conv_output"], 3, axis=-1)[2]
    return MixingMatrices(matrices, v[..., None], streams="channel")


@matrices_of.register
def _of_base_conv(mixer: BaseConv, sites: Sites, x: Array) -> MixingMatrices:
    """The filter times the gate, and the input itself; the bias of a short convolution is constant.

    With the activation silu(c) = sigmoid(c) c on the output of the convolution, sigmoid(c) is a
    further gate.
    """
    length, identity = x.shape[1], jnp.ones(x.shape[2], x.dtype)
    gate, bias = sites["gate"], jnp.zeros(x.shape[2], x.dtype)
    if mixer.activation:
        gate = jax.nn.silu(gate) * jax.nn.sigmoid(sites["conv_output"])
    if isinstance(mixer.kernel, str):
        filtered = _convolution(mixer.filter(length)) + _diagonal(identity, length)
    else:
        bias = bias if mixer.conv.bias is None else mixer.conv.bias
        taps = mixer.conv.weight[::-1][:length]  # the last tap is the current token's
        filtered = _convolution(jnp.pad(taps, ((0, length - taps.shape[0]), (0, 0))))
    matrices = _at_destination(gate) * filtered + _diagonal(identity, length)
    constant = (gate * bias[None, None])[..., None]
    return MixingMatrices(matrices, x[..., None], constant, streams="channel")
