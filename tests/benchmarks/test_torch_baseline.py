"""The baseline does the work that ours does: the same patched runs, and steps that learn."""

import jax
import numpy as np
import pytest

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.grid import compile_grid, default_sites
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig

pytest.importorskip("torch", reason="torch is not installed: pip install torch")
baseline = pytest.importorskip("mecheval_jax.benchmarks.torch_baseline")

TASK = AssociativeRecall(pairs=2, key_vocabulary=4, value_vocabulary=4)
MODEL = ModelConfig("attention", 2, 16, TASK.vocabulary_size, 16, positions="learned")


# Catches a hook at another place than our site, and a run that is not patched.
def test_interchanges_are_ours():
    params = jax.tree.map(lambda leaf: 3 * leaf, initialize(MODEL, jax.random.key(0)))
    evaluation = EvaluationConfig(roles=("key", "value"), directions=("restore",))
    batch, sites = TASK.sample(jax.random.key(0), 3, "test"), default_sites(MODEL)
    _, ours = compile_grid(MODEL, TASK, evaluation, sites)(params, batch)
    theirs = baseline.interchange(baseline.load(MODEL, params), TASK, batch, evaluation, sites)()
    for site in sites:
        ours_here = np.asarray(ours[site]["probability"]).reshape(2, 2, 3)
        np.testing.assert_allclose(theirs[site], ours_here, atol=1e-5)


# Catches steps that do not change the parameters.
def test_steps_learn():
    training = TrainingConfig(steps=30, batch_size=8, learning_rate=1e-2)
    model = baseline.load(MODEL, initialize(MODEL, jax.random.key(0)))
    (batch,) = baseline.draw(TASK, training, 1)

    def loss():
        tokens, asked, targets = map(
            baseline.tensor,
            (batch.tokens[:, : TASK.read_length], batch.query_positions, batch.targets),
        )
        logits = model(tokens, asked).flatten(0, 1)
        return baseline.functional.cross_entropy(logits, targets.flatten()).item()

    before = loss()
    baseline.training_steps(model, TASK, training, [batch], compiled=False)(30)
    assert loss() < before / 2
