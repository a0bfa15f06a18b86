"""A dense layer whose output is several concatenated parts.

    y = W x + b,   y = [y_1, y_2, ...]

On one device one matrix product computes all parts. If the columns of W are spread over devices
(the mesh axis ``model``), cutting y would move activations between devices. Each part is then
computed from its own columns, so that slices of W are moved instead.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mesh_axes import MODEL, current_mesh, cuts_parameters, is_shared_out, spread
from mecheval_jax.ops.dense import product
from mecheval_jax.ops.precision import beside
from mecheval_jax.sites import Site


def apart(count: int, *joint: Site) -> bool:
    """Whether the parts of a projection are computed separately.

    Args:
        count: Number of heads or channels that are independent of one another.
        *joint: Sites of the concatenated parts; if one is in use, the parts stay together.
    """
    return is_shared_out(count) and not any(site.in_use() for site in joint)


def can_be_cut(mixer: nn.Module, devices: int) -> bool:
    """Whether a mixer can be cut into equal parts, of whole heads or of channels.

    A mixer whose number of heads is not a multiple of the devices along ``model`` is replicated
    along that axis, since heads are never cut. So are mixers that say ``CUT = False``: they work on
    the channels of the residual stream, of which every device has all, mix all channels at every
    token, or order them by something else before the head.

    Args:
        mixer: Mixer of a layer.
        devices: Number of devices along ``model``.
    """
    counts = [getattr(mixer, name, 0) for name in ("width", "heads", "key_heads")]
    return getattr(mixer, "CUT", True) and not any(count % devices for count in counts)


def is_cut(mixer: nn.Module) -> bool:
    """Whether the current mesh cuts a mixer, or a module without heads, over ``model``."""
    mesh = current_mesh()
    return mesh is not None and can_be_cut(mixer, mesh.shape[MODEL])


def slices(
    parameter: Float[Array, "*axes channels"], sizes: Sequence[int], layout: Sequence[str | None]
) -> list[Float[Array, "*axes _"]]:
    """Parts of a parameter's last axis, each laid out on the mesh.

    The parameter is gathered first, so that every device holds what its slices are cut from.

    Args:
        parameter: Parameter that is cut.
        sizes: Number of channels of each part.
        layout: Mesh axis along which each part is spread; None for a part that stays whole.
    """
    ends = np.cumsum(sizes)[:-1].tolist()
    parts = jnp.split(spread(parameter), ends, axis=-1)
    lead = (None,) * (parameter.ndim - 1)
    return [spread(spread(part), *lead, axis) for part, axis in zip(parts, layout, strict=True)]


def together(x: Float[Array, "*axes width"], *layers: nn.Dense) -> list[Float[Array, "*axes _"]]:
    """Outputs of dense layers that read the same input, by one matrix product.

    The parameters stay those of the layers. Where a mesh cuts parameters, each layer is computed
    from its own, and so it is while they are drawn.
    """
    if cuts_parameters() or layers[0].is_initializing():
        return [layer(x) for layer in layers]

    def joint(name: str) -> Array:
        return jnp.concatenate([layer.variables["params"][name] for layer in layers], axis=-1)

    y = product(x, joint("kernel"))
    if any(layer.use_bias for layer in layers):  # of all of them, then
        y = y + beside(joint("bias"), y)
    ends = np.cumsum([layer.features for layer in layers])[:-1].tolist()
    return jnp.split(y, ends, axis=-1)


class Projection(nn.Module):
    """A dense layer into parts, with the parameters of ``nn.Dense``.

    Attributes:
        width: Number of channels of the input.
        sizes: Number of channels of each part.
        use_bias: Whether there is a bias.
        kernel_init: Initializer of the weights.
        shared: Indices of the parts that every device along ``model`` needs whole.
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
        """All parts, concatenated."""
        y = product(x, self.kernel)
        return y + beside(self.bias, y) if self.use_bias else y

    def cut(self, y: Float[Array, "*axes outputs"]) -> list[Float[Array, "*axes _"]]:
        """All parts, from the concatenated ones."""
        return jnp.split(y, np.cumsum(self.sizes)[:-1].tolist(), axis=-1)

    def parts(self, x: Float[Array, "*axes width"]) -> list[Float[Array, "*axes _"]]:
        """All parts, each computed from its own columns."""
        columns = [None if i in self.shared else MODEL for i in range(len(self.sizes))]
        kernels = slices(self.kernel, self.sizes, columns)
        found = [x @ kernel for kernel in kernels]
        if self.use_bias:
            biases = slices(self.bias, self.sizes, columns)
            found = [y + beside(bias, y) for y, bias in zip(found, biases, strict=True)]
        return found
