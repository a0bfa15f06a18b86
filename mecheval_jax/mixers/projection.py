"""A dense layer whose outputs are several parts side by side.

    y = W x + b,   y = [y_1, y_2, ...]

On one device one matrix product computes them all. Where columns are spread over devices (the mesh
axis ``model``), a slice of y would have to be sent from device to device; then each part is
computed from its own columns, and what is sent is a slice of W.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mesh_axes import MODEL, is_shared_out, spread
from mecheval_jax.sites import Site


def apart(count: int, *joint: Site) -> bool:
    """Whether parts are computed by themselves.

    Args:
        count: of heads or channels, each of which needs nothing of the others.
        joint: sites of joined parts; one that is in use keeps them joined.
    """
    return is_shared_out(count) and not any(site.in_use() for site in joint)


def slices(
    parameter: Float[Array, "*axes channels"], sizes: Sequence[int], layout: Sequence[str | None]
) -> list[Float[Array, "*axes _"]]:
    """Parts of a parameter's last axis, each cut along an axis of the mesh or whole.

    The parameter is gathered first: then a device has all that its slices are made of.
    """
    ends = np.cumsum(sizes)[:-1].tolist()
    parts = jnp.split(spread(parameter), ends, axis=-1)
    lead = (None,) * (parameter.ndim - 1)
    return [spread(spread(part), *lead, axis) for part, axis in zip(parts, layout, strict=True)]


class Projection(nn.Module):
    """A dense layer into parts; its parameters are those of ``nn.Dense``.

    Attributes:
        width: channels of the input.
        sizes: channels of every part.
        use_bias: whether there is a bias.
        kernel_init: initializer of the weights.
        shared: indices of parts that every device along ``model`` needs whole.
    """

    width: int
    sizes: Sequence[int]
    use_bias: bool
    kernel_init: Callable
    shared: Sequence[int] = ()

    def setup(self):
        outputs = sum(self.sizes)
        self.kernel = self.param("kernel", self.kernel_init, (self.width, outputs))
        if self.use_bias:
            self.bias = self.param("bias", nn.initializers.zeros, (outputs,))

    def __call__(self, x: Float[Array, "*axes width"]) -> Float[Array, "*axes outputs"]:
        """All parts, joined."""
        y = x @ self.kernel
        return y + self.bias[(None,) * (x.ndim - 1)] if self.use_bias else y

    def parts(self, x: Float[Array, "*axes width"]) -> list[Float[Array, "*axes _"]]:
        """Every part from its own columns."""
        columns = [None if i in self.shared else MODEL for i in range(len(self.sizes))]
        kernels = slices(self.kernel, self.sizes, columns)
        found = [x @ kernel for kernel in kernels]
        if self.use_bias:
            biases = slices(self.bias, self.sizes, columns)
            lead = (None,) * (x.ndim - 1)
            found = [y + bias[lead] for y, bias in zip(found, biases, strict=True)]
        return found
