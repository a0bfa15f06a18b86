"""The benchmark of the training step: what it counts, and that it takes the steps there are."""

from mecheval_jax.benchmarks import training as module
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig

TASK = AssociativeRecall(pairs=2, key_vocabulary=8, value_vocabulary=8)
MODEL = ModelConfig("attention", 1, 16, TASK.vocabulary_size, 16, feed_forward="none")


# Catches queries and outputs of the last layer counted at every token, and keys that are not.
def test_operations_are_counted():
    tokens, batch = TASK.read_length, 4
    matrices = 2 * 16 * 16 * (1 + tokens)  # q and the output at the query, k and v everywhere
    expected = 6 * batch * (matrices + 16 * TASK.vocabulary_size)
    assert module._flops(MODEL, TASK, batch) == expected


# Catches a step that takes other arguments, and a program that stops at its own last step.
def test_whole_step():
    training = TrainingConfig(steps=2, batch_size=4, steps_per_dispatch=2)
    assert 0 < module.whole_step(MODEL, TASK, training, 2) < 60


# Catches a loss or a batch with other fields than the benchmark replaces.
def test_every_model_has_a_row(rows):
    stand_ins = {"whole_step": lambda *_: 1e-3, "matrix_rate": lambda: 1e9}
    lines = rows(module, module.training_steps, 3, **stand_ins)
    assert [line.split()[0] for line in lines[2:6]] == ["attention", "based", "mamba", "attention"]
    assert all(line.split()[-3:] == ["2.0", "2.0", "2.0"] for line in lines[2:6])
