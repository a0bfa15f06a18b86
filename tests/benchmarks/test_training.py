"""The benchmark of the training step: what it counts, and that it takes the steps there are."""

from mecheval_jax.benchmarks import training as module
from mecheval_jax.benchmarks.measured import Measured
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
    found = module.whole_step("attention", MODEL, TASK, training, 2)
    assert len(found.values) == 3
    assert 0 < found.median < 60


# Catches a loss or a batch with other fields than the benchmark replaces.
def test_every_model_has_a_row(rows):
    def step(what, *_):
        return Measured(what, "alone", (1e-3,))

    table = rows(module, module.training_steps, 3, whole_step=step, matrix_rate=lambda: 1e9)
    names = [f"{mixer}, width {width}" for mixer, width in module.STEPS]
    assert list(table) == names
    gradients = {"gradient", "with all logits", "with the whole last layer"}
    assert all(
        row.keys() == {"step", "share of the matrix rate", *gradients} for row in table.values()
    )


# Catches a mixer that is left out, and a ratio the wrong way round.
def test_relatives_are_measured_beside_the_first(rows):
    spent = {"gated_delta_net": (2.0, 4.0), "rwkv7": (1.0, 4.0)}

    def in_turn(runs, rounds, per):
        del rounds, per
        return {name: spent.get(name, (1.0, 1.0)) for name in runs}

    found = rows(
        module,
        module.steps_of_relatives,
        in_turn=in_turn,
        ModelConfig=ModelConfig,
        steps_on_one_device=lambda model, *_: model.mixer,
    )
    assert found["rwkv7"] == {"step": 2.5, "to gated_delta_net": 0.75}
    assert found["gated_delta_net"] == {"step": 3.0}
    assert set(found) == {name for key, of in module.RELATIVES.items() for name in (key, *of)}
