"""How XLA compiles training steps."""

import jax
import numpy as np
import pytest

from mecheval_jax.training.compiler_options import OPTIONS, compiler_options


# Catches an option that this version of XLA does not know, and one that changes what is computed.
@pytest.mark.parametrize("name", OPTIONS["cpu"])
def test_options_change_no_sum_of_one_order(name):
    def program(x):
        return jax.lax.fori_loop(0, 3, lambda i, y: y * 0.5 + x, x)

    x = np.linspace(-1, 1, 64, dtype=np.float32)
    option = {name: OPTIONS["cpu"][name]}
    found = jax.jit(program, compiler_options=option)(x)
    np.testing.assert_allclose(found, jax.jit(program)(x), rtol=1e-6)


# Catches options of a CPU that are given to another compiler, which refuses them, and a table that
# its readers change.
def test_only_platforms_with_options_have_them():
    assert compiler_options("tpu") is None
    compiler_options("cpu").clear()
    assert compiler_options("cpu") == OPTIONS["cpu"] != {}
