"""Entries of the delta family in the code of their authors."""

import numpy as np
import pytest

from mecheval_jax.interop import from_reference_mixer
from mecheval_jax.interop.delta_tables import DELTA_FAMILY
from mecheval_jax.mixers import mixer_of
from tests.support import golden_files

CASES = [
    case
    for case, (name, config) in golden_files.MIXERS.items()
    if type(mixer_of(name, config)) in DELTA_FAMILY
]


# Catches a mixer of the family that no golden file is read for, and the two maps of low rank, which
# have one shape, in each other's place.
@pytest.mark.parametrize("case", CASES)
def test_maps_of_low_rank(case):
    name, config = golden_files.MIXERS[case]
    state, _ = golden_files.load(f"mixer__{case}")
    params = from_reference_mixer(name, state, config)
    if "f_proj.0.weight" in state:
        for theirs, ours in (("f_proj.0", "decay_down"), ("g_proj.0", "gate_down")):
            np.testing.assert_array_equal(params[ours]["kernel"], state[f"{theirs}.weight"].T)
    elif name == "rwkv7":  # whose maps of low rank multiply from the right
        np.testing.assert_array_equal(params["w1"], state["w1"])
    else:
        np.testing.assert_array_equal(params["g_proj"]["kernel"], state["g_proj.weight"].T)


def test_every_mixer_has_a_case():
    """Catches a table that nothing reads."""
    read = {type(mixer_of(*golden_files.MIXERS[case])) for case in CASES}
    assert read == set(DELTA_FAMILY)
