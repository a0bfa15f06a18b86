"""Programs of a run: one for all its steps."""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.training.state import Policy
from tests.support import small


def test_first_step_only_gathers_moments_and_rates_share_a_program():
    """Catches a first step with a rate above 0, and a program compiled per learning rate."""
    programs = small.programs(small.experiment(small.ONE_LAYER))
    start = programs.create()
    run = programs.steps(Policy.RAISE)  # compiled once and for all
    first, _ = run(jax.tree.map(jnp.copy, start), np.int32(0), np.int32(1))
    small.assert_same_bits(first.params, start.params)
    assert int(first.step) == 1
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(first.opt_state.mu))

    ends = []
    for rate in (1e-3, 3e-2):
        of_start = start.hyperparameters.learning_rate
        rate = jax.device_put(jnp.float32(rate), of_start.sharding)
        changed = start.hyperparameters.replace(learning_rate=rate)
        state = jax.tree.map(jnp.copy, start.replace(hyperparameters=changed))
        state, _ = run(state, np.int32(0), np.int32(5))
        ends.append(np.asarray(state.params["token_embedding"]["embedding"]))
    assert not np.array_equal(*ends)
