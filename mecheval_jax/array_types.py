"""The names of array axes, in one place.

Axes are spelled out in annotations, ``Float[Array, "batch length width"]``, and
checked in the tests by beartype. Single letters appear only inside einsum
strings.

==========  ======  =====================================================
axis        letter  meaning
==========  ======  =====================================================
batch       b       documents
length      l, s    token positions (s: the position that is read from)
width       d       channels of the residual stream
inner       d       channels inside a mixer (expanded or projected width)
heads       h       heads of a mixer
key         k       channels of a query or key
value       v       channels of a value
state       n       size of a recurrent state per channel
kernel      --      taps of a short convolution, the last on the current token
features    f       size of a feature map, of position features
vocabulary  v       tokens of the vocabulary
queries     q       questions asked of one document
documents   --      evaluation documents (a batch that is analysed, not trained on)
==========  ======  =====================================================

Tokens, positions and lengths are int32; activations and parameters float32
unless a caller asks for float64 (``jax.enable_x64``).
"""

from jaxtyping import Array, Bool, Complex, Float, Int, PRNGKeyArray, PyTree, Shaped, UInt32

__all__ = [
    "Array",
    "Bool",
    "Complex",
    "Float",
    "Int",
    "Key",
    "PyTree",
    "Scalar",
    "Shaped",
    "UInt32",
]

Key = PRNGKeyArray
"""A typed random key (``jax.random.key``)."""

Scalar = Float[Array, ""]
"""One floating-point number on the device."""
