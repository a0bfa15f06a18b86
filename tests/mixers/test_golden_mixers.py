"""Each mixer gives the reference's numbers: catches any wrong equation, layout or constant."""

import jax
import jax.numpy as jnp
import pytest

from mecheval_jax.interop import from_reference_mixer
from mecheval_jax.mixers import mixer_of
from tests.support import golden_files
from tests.support.golden_files import relative_error


@pytest.mark.parametrize("case", golden_files.MIXERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_output_and_gradient(case, dtype, tolerance):
    name, config = golden_files.MIXERS[case]
    mixer = mixer_of(name, config)
    state, arrays = golden_files.load(f"mixer__{case}")
    with jax.enable_x64(dtype == "float64"):
        cast = lambda array: jnp.asarray(array, dtype)
        params = jax.tree.map(cast, from_reference_mixer(name, state, config))

        @jax.jit
        def output_and_gradient(x):
            y, pull_back = jax.vjp(lambda x: mixer.apply({"params": params}, x), x)
            return y, pull_back(2 * y)[0]  # of the sum of squares

        y, gradient = output_and_gradient(cast(arrays["x_L16"]))
        assert y.dtype == dtype
        assert relative_error(y, arrays["y64_L16"]) < tolerance
        assert relative_error(gradient, arrays["gx64_L16"]) < tolerance
