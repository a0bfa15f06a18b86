"""Hyena: its equation."""

import numpy as np
import pytest

from tests.support import references
from tests.support.mixer_cases import WIDTH, assert_gives, dense, in_float64


# Catches thirds in another order, a filter without its window or its shared frequency, and a skip
# where it is switched off.
@pytest.mark.parametrize("case", ["hyena", "hyena_skip"])
def test_against_its_twin(case):
    mixer, params, x = in_float64(case)
    u = dense(x, params["in_proj"])
    if mixer.kernel:
        u = references.short_convolution(u, *(params["short_conv"][n] for n in ("weight", "bias")))
    x1, x2, v = np.split(u, 3, axis=-1)
    network = params["filter"]
    h = network["features"]
    for layer in ("fc1", "fc2", "fc3"):
        h = np.sin(network["frequency"] * dense(h, network[layer]))
    rates = np.linspace(np.log(100) / 1.5, np.log(100) / 0.3, WIDTH)
    window = np.exp(-np.linspace(0, 1, mixer.max_length)[:, None] * rates)
    gated = x1 * v
    convolved = references.long_convolution(gated, dense(h, network["fc4"]) * window)
    if mixer.skip:
        convolved = convolved + params["D"] * gated
    assert_gives(case, dense(x2 * convolved, params["out_proj"]))
