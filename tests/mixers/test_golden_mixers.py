"""Each mixer gives the reference's numbers: catches any wrong equation, layout or constant."""

import jax
import jax.numpy as jnp
import numpy as np
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

        # RWKV-7 has a second input from its layer 1 on, the values of layer 0.
        inputs = [
            cast(arrays[f"{name}_L16"]) for name in ("x", "v_first") if f"{name}_L16" in arrays
        ]

        def output(x, *first):
            if first:
                return mixer.apply({"params": params}, x, None, *first, method="mix")[0]
            return mixer.apply({"params": params}, x)

        @jax.jit
        def output_and_gradients(*inputs):
            y, pull_back = jax.vjp(output, *inputs)
            return y, pull_back(2 * y)  # of the sum of squares

        y, gradients = output_and_gradients(*inputs)
        assert y.dtype == dtype
        assert relative_error(y, arrays["y64_L16"]) < tolerance
        for gradient, name in zip(gradients, ("gx", "gv_first"), strict=False):
            assert relative_error(gradient, arrays[f"{name}64_L16"]) < tolerance


def turned(x):
    """Angles as points of the circle."""
    return np.exp(1j * np.asarray(x))


def flipped(x):
    """Matrices [..., value, key] as ours are, [..., key, value]."""
    return np.swapaxes(x, -1, -2)


def exact(m):
    """The factor by which mLSTM's stabiliser divides C and n."""
    return np.exp(np.asarray(m, np.float64))[..., None, None]


MAMBA3 = {
    "angle": lambda ours: turned(ours["angle"]),
    "H": lambda ours: flipped(ours["ssm"]),
    "k": lambda ours: np.asarray(ours["k"]),
    "v": lambda ours: ours["x"],
}
MATRIX = {"": lambda ours: ours["matrix"]}
PARTS = {
    "mamba3": MAMBA3,
    **dict.fromkeys(("kda", "gated_delta_net_2", "gated_delta_product", "comba"), MATRIX),
    "rwkv7": {"": lambda ours: flipped(ours["matrix"])},
    "hgrn2": MATRIX,
    "gated_slot_attention": {
        "K": lambda ours: flipped(ours[..., :16]),
        "V": lambda ours: ours[..., 16:],
    },
    "mesa_net": {
        "G": lambda ours: ours["sums"][..., :16],
        "H": lambda ours: ours["sums"][..., 16:],
    },
    "mlstm": {
        "C": lambda ours: ours["matrix"][..., :-1] * exact(ours["m"]),
        "n": lambda ours: ours["matrix"][..., -1:] * exact(ours["m"]),
    },
}
"""For mixers whose states are golden too: the parts of the file from our state."""

STATES = [case for case, (name, _) in golden_files.MIXERS.items() if name in PARTS]


@pytest.mark.parametrize("case", STATES)
def test_state(case):
    """Catches a recurrent form whose outputs are right but whose state is another one."""
    name, config = golden_files.MIXERS[case]
    mixer, (state, arrays) = mixer_of(name, config), golden_files.load(f"mixer__{case}")
    params = {"params": from_reference_mixer(name, state, config)}
    # RWKV-7 from its layer 1 on also reads the values of layer 0.
    inputs = [arrays[f"{name}_L16"] for name in ("x", "v_first") if f"{name}_L16" in arrays]
    method = "step_from" if name == "rwkv7" else "step"
    step = jax.jit(lambda state, *at_t: mixer.apply(params, state, *at_t, method=method))
    ours = mixer.apply(params, 2, 16, method="initial_state")
    for t in range(16):
        ours, y_t, *first = step(ours, *(jnp.asarray(h[:, t]) for h in inputs))
    assert relative_error(y_t, arrays["y64_L16"][:, 15]) < 2e-5
    if "v_first64_L16" in arrays:  # of layer 0, which hands its values on
        assert relative_error(first[0], arrays["v_first64_L16"][:, 15]) < 2e-5
    for part, of_ours in PARTS[name].items():
        theirs = arrays["state64_L16" + (f"/{part}" if part else "")]
        if part == "angle":
            theirs = turned(theirs)
        elif name == "mlstm":
            theirs = theirs * exact(arrays["state64_L16/m"][..., 0, 0])
        found = of_ours(ours).reshape(theirs.shape)
        assert np.abs(found - theirs).max() < 2e-5 * np.abs(theirs).max(), part


def test_gradient_of_the_lower_bound():
    """Catches a bound of HGRN2 that is used but not learned, or as another function of logits."""
    name, config = golden_files.MIXERS["hgrn2_layer1_d32_h2"]
    state, arrays = golden_files.load("mixer__hgrn2_layer1_d32_h2")
    bound = arrays["lower_bound_L16"].astype(np.float64)
    slope = arrays["glower_bound64_L16"] * bound * (1 - bound)  # of a softmax of two logits
    with jax.enable_x64(True):
        cast = lambda array: jnp.asarray(array, jnp.float64)
        params = jax.tree.map(cast, from_reference_mixer(name, state, config))
        apply = mixer_of(name, config).apply
        square = lambda params: (apply({"params": params}, cast(arrays["x_L16"])) ** 2).sum()
        found = jax.jit(jax.grad(square))(params)["lower_bounds"]["logits"]
    assert relative_error(found, np.stack([-slope, slope])) < 1e-6  # logits are from a float32
