"""Types of arrays, and the names of their axes.

Annotations spell axes out, ``Float[Array, "batch length width"]``; the tests check them at
run time with beartype. Single letters appear only inside einsum strings.

==========  ======  =====================================================
axis        letter  meaning
==========  ======  =====================================================
batch       b       documents
length      l, s    token positions (s: source, the position that is read)
width       d       channels of the residual stream
inner       d       channels inside a mixer
heads       h       heads of a mixer
key         k       channels of a query or key
value       v       channels of a value
state       n       size of a recurrent state per channel
kernel      --      taps of a short convolution, the last on the current token
features    f       features of a feature map or of a position
vocabulary  v       tokens of the vocabulary
queries     q       queries about one document
documents   --      documents of an evaluation
==========  ======  =====================================================

Tokens, positions and lengths are int32; activations and parameters float32
unless a caller asks for float64 (``jax.enable_x64``).
"""

import jax
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int, PRNGKeyArray, PyTree, Shaped, UInt32

__all__ = [
    "ARRAYS",
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

ARRAYS = (jax.Array, np.ndarray)
"""Classes of what functions take for an array; a list of numbers is none."""

Key = PRNGKeyArray
"""A typed random key (``jax.random.key``)."""

Scalar = Float[Array, ""]
"""One floating-point number on the device."""
