"""BaseConv: its equation, the explicit filter of the reference, and kernels that cannot be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interop import from_reference_mixer
from mecheval_jax.mixers import (
    BaseConv,
    mixer_of,
)
from tests.support import golden_files, references
from tests.support.golden_files import relative_error
from tests.support.mixer_cases import assert_gives, dense, in_float64


def taps_of(params):
    """Taps of the long filter: given, or a network's of the position."""
    if "taps" in params["filter"]:
        return params["filter"]["taps"]
    hidden = np.maximum(dense(params["filter"]["features"], params["filter"]["fc1"]), 0)
    return dense(hidden, params["filter"]["fc2"])


# Catches an identity path that is lost or twice there, and a gate that is convolved.
@pytest.mark.parametrize("case", ["base_conv_3", "base_conv_implicit", "base_conv_explicit"])
def test_against_its_twin(case):
    _, params, x = in_float64(case)
    if "conv" in params:
        taps, bias = params["conv"]["weight"], params["conv"]["bias"]
        convolved = references.short_convolution(x, taps, bias)
    else:
        convolved = references.long_convolution(x, taps_of(params)) + x
    assert_gives(case, convolved * dense(x, params["projection"]) + x)


# Catches an explicit long filter that is not the reference's. Its array holds a mistake: the
# circular convolution of length 2L reads taps L..2L-1 as taps of the future. Ours is causal; the
# wrap is added here, and only here.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_explicit_long_convolution_but_for_the_wrap(dtype, tolerance):
    state, arrays = golden_files.load("mixer__base_conv_explicit_long_d16")
    config = {"width": 16, "max_length": 64, "kernel": "explicit"}
    mixer = mixer_of("base_conv", config)
    with jax.enable_x64(dtype == "float64"):
        cast = lambda array: jnp.asarray(array, dtype)
        params = jax.tree.map(cast, from_reference_mixer("base_conv", state, config))

        def with_the_wrap(x):
            length = x.shape[1]
            lag = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
            taps = params["filter"]["taps"][: 2 * length]
            future = jnp.where(lag[..., None] < 0, taps[lag % (2 * length)], 0)
            gate = x @ params["projection"]["kernel"] + params["projection"]["bias"][None, None]
            leak = jnp.einsum("lsd,bsd->bld", future, x)
            return mixer.apply({"params": params}, x) + leak * gate

        @jax.jit
        def output_and_gradient(x):
            y, pull_back = jax.vjp(with_the_wrap, x)
            return y, pull_back(2 * y)[0]

        y, gradient = output_and_gradient(cast(arrays["x_L16"]))
        assert relative_error(y, arrays["y64_L16"]) < tolerance
        assert relative_error(gradient, arrays["gx64_L16"]) < tolerance
        alone = mixer.apply({"params": params}, cast(arrays["x_L16"]))
        assert relative_error(alone, arrays["y64_L16"]) > 0.1


# Catches a reshape that fails with a message about arrays where the config is at fault.
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BaseConv(16, 8, kernel="long"), r"'long'.*implicit or explicit"),
        (lambda: BaseConv(16, 8, kernel=0), r"kernel 0"),
    ],
)
def test_shapes_that_do_not_divide(build, message):
    with pytest.raises(UserError, match=message):
        build()
