"""S4D: its recurrence token by token, its kernels beside the reference's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import S4D
from mecheval_jax.mixers.s4d import S4DKernel
from tests.support import golden_files
from tests.support.golden_files import relative_error
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    assert_gives,
    dense,
    discretized,
    in_float64,
    sigmoid,
)


# Catches a kernel without its conjugate half, a state that is read before its token is written,
# and halves of the output projection that are exchanged.
@pytest.mark.parametrize("case", ["s4d", "s4d_zoh"])
def test_against_its_twin(case):
    mixer, params, x = in_float64(case)
    A_bar, C_bar = discretized(params["kernel"], mixer.discretization)
    state, y = np.zeros((BATCH, *A_bar.shape), complex), np.zeros(x.shape)
    for t in range(LENGTH):
        state = A_bar * state + x[:, t, :, None]
        y[:, t] = 2 * (C_bar * state).real.sum(axis=-1) + params["D"] * x[:, t]
    y = y * (1 + scipy.special.erf(y / np.sqrt(2))) / 2
    y, gate = np.split(dense(y, params["out_proj"]), 2, axis=-1)
    assert_gives(case, y * sigmoid(gate))


# Catches a wrong discretisation, a kernel without its conjugate half, powers off by one.
@pytest.mark.parametrize("case", ["bilinear_n8", "bilinear_n64", "zoh_n8", "zoh_n64"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_s4d_kernels(case, dtype, tolerance):
    state, arrays = golden_files.load(f"s4d_kernel__{case}")
    state["kernel.C"] = state["kernel.C"][0]
    discretization, size = case.split("_n")
    kernel = S4DKernel(6, int(size), discretization)
    with jax.enable_x64(dtype == "float64"):
        params = {name.removeprefix("kernel."): jnp.asarray(a, dtype) for name, a in state.items()}
        taps = jax.jit(lambda params: kernel.apply({"params": params}, 37))(params)
        assert taps.dtype == dtype
        assert relative_error(taps.T, arrays["K64_L37"]) < tolerance


# Catches a reshape that fails with a message about arrays where the config is at fault.
def test_shapes_that_do_not_divide():
    with pytest.raises(UserError, match="7 is odd"):
        S4D(16, d_state=7)
