"""The matrices of every mixer give back what the mixer read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.representations import mixing_matrices
from tests.support import mixer_cases
from tests.support.mixing import DOCUMENTS, LAYERS, LENGTH, MIXERS, measured, model


def read_by(layer, activations):
    """What the mixer itself read, as its sites have it."""
    mixer, block = MIXERS[layer], f"block_{layer}/"
    at = {p.removeprefix(block): np.asarray(x) for p, x in activations.items() if block in p}
    sites = {path.removeprefix("mixer/"): value for path, value in at.items()}
    params = jax.tree.map(np.asarray, model()[1][f"block_{layer}"]["mixer"])
    if mixer == "hyena":
        x1, x2, v = np.split(sites["conv_output"], 3, axis=-1)
        return x2 * (sites["filter_output"] + params["D"] * x1 * v)
    if mixer == "s4d":
        return sites["filter_output"] + params["D"] * at["mixer_input"]
    if mixer == "base_conv":
        return at["mixer_output"]
    if mixer == "h3":
        return np.swapaxes(sites["head_output"], 2, 3)
    inner = "ssm_output" if "mamba" in mixer else "average" if mixer == "rwkv4" else "head_output"
    return sites[inner]


# Catches, in any mixer, a decay that starts a token early or late, a missing scale, skip or bias,
# heads and channels in another order, and a matrix that is not causal.
@pytest.mark.parametrize("layer", range(len(LAYERS)), ids=list(LAYERS))
def test_the_matrices_give_what_the_mixer_read(layer):
    found, reads, activations = measured()
    expected = read_by(layer, activations).reshape(DOCUMENTS, LENGTH, -1)
    scale = np.abs(expected).max()
    got = reads[layer].reshape(DOCUMENTS, LENGTH, -1)
    np.testing.assert_allclose(got, expected, atol=1e-4 * scale)
    matrices = np.asarray(found[layer].matrices)
    assert not np.triu(matrices, 1).any()
    below = np.abs(np.tril(matrices, -1)).max()
    assert below > 1e-3 * np.abs(matrices).max(), "nothing is read of other tokens"


# Catches a first token without weight that makes matrices NaN though the mixer's outputs are none.
@pytest.mark.parametrize(("case", "site"), [("mlstm", "input_gate"), ("rwkv4", "k")])
def test_a_first_token_without_weight(case, site):
    mixer, variables, x = mixer_cases.example(case)
    sites = mixer_cases.capture(case, x)
    shut = sites | {site: sites[site].at[:, 0].set(-jnp.inf)}
    bound = mixer.bind(variables)
    matrices = [mixing_matrices.matrices_of(bound, found, x).matrices for found in (sites, shut)]
    assert np.isfinite(np.asarray(matrices[1])).all()
    assert (np.asarray(matrices[1]) != np.asarray(matrices[0])).any()


# Catches a state transition that is applied in another order, or to the token's own write.
@pytest.mark.parametrize("delta", [False, True])
def test_transported_writes_against_their_twin(delta):
    draw = np.random.default_rng(0)
    write, query, key = draw.normal(size=(3, 2, 5, 2, 3))
    decay = draw.uniform(0.3, 1, (2, 5, 2, 3))
    erase = -np.einsum("blhi,blhj->blhij", write, key * decay)
    expected = np.zeros((2, 2, 5, 5))
    for b, h, s in np.ndindex(2, 2, 5):
        state = write[b, s, h]
        for t in range(s, 5):
            if t > s:
                move = np.eye(3) - delta * np.outer(write[b, t, h], key[b, t, h])
                state = move @ np.diag(decay[b, t, h]) @ state
            expected[b, h, t, s] = query[b, t, h] @ state
    arrays = [jnp.asarray(a, jnp.float32) for a in (write, decay, query, erase)]
    got = mixing_matrices.unrolled_recurrence(*arrays[:3], arrays[3] if delta else None)
    np.testing.assert_allclose(got, expected, atol=1e-5)
