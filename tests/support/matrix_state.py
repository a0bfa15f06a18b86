"""Projections, norm and gate of the mixers of `mixers.matrix_state`, in NumPy."""

from tests.support import references
from tests.support.mixer_cases import BATCH, LENGTH, dense, rms_norm, silu


def by_head(h, heads):
    """Channels of each head."""
    return h.reshape(BATCH, LENGTH, heads, -1)


def projections(mixer, params, x):
    """q, k and v by head, in the delta nets after their convolution and silu."""
    parts = []
    for name in "qkv":
        h = dense(x, params[f"{name}_proj"])
        if mixer.kernel:
            h = silu(references.short_convolution(h, params[f"{name}_conv"]["weight"]))
        parts.append(by_head(h, mixer.heads))
    return parts


def out(mixer, params, x, heads, gate=None):
    """Output projection of the norm of what the heads read, gated by x: a silu if not given."""
    y = (rms_norm(heads) * params["o_norm"]["scale"]).reshape(BATCH, LENGTH, -1)
    if gate is None:
        gate = silu(dense(x, params["g_proj"])) if mixer.gated else 1
    return dense(y * gate, params["o_proj"])
