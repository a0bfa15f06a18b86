"""One device and eight give the same losses, and no device gathers another's activations.

Eight virtual CPU devices exist only in a process that asks for them before JAX starts, so
the comparison runs in one of its own, which this file is too.
"""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from mecheval_jax.errors import UserError
from mecheval_jax.partitioning.mesh import check_batch, make_mesh
from mecheval_jax.partitioning.rules import shardings

ROOT = pathlib.Path(__file__).parent.parent
MIXERS = ("attention", "base_conv", "based", "hyena", "mamba")
STEPS = 20


def compare(mixer: str) -> dict:
    """Losses on one and eight devices, and what the eight-device program is made of."""
    from mecheval_jax.models.language_model import ModelConfig
    from mecheval_jax.ops.long_convolution import long_convolution
    from mecheval_jax.partitioning.mesh import documents_sharding
    from mecheval_jax.tasks.associative_recall import AssociativeRecall
    from mecheval_jax.training.config import TrainingConfig
    from mecheval_jax.training.state import create_state
    from mecheval_jax.training.step import compile_steps

    task = AssociativeRecall(pairs=3, key_vocabulary=16, value_vocabulary=16)
    model = ModelConfig(mixer, 2, 16, task.vocabulary_size, 32)
    training = TrainingConfig(STEPS, batch_size=16, learning_rate=1e-2, steps_per_dispatch=STEPS)
    losses, text = [], ""
    for mesh in (make_mesh(jax.devices()[:1]), make_mesh()):
        state = create_state(model, training, mesh)
        placed = {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state.params)}
        with jax.set_mesh(mesh):
            program = compile_steps(state, model, task, training, mesh)
            text = program.lower(state, STEPS).compile().as_text()
            _, metrics = program(state, STEPS)
        losses.append(metrics["loss"].tolist())
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.ones((16, 300, 4)), documents_sharding(mesh))
        fft = jax.jit(lambda x, taps: long_convolution(x, taps, "fft"))
        fft_text = fft.lower(x, jnp.ones((300, 4))).compile().as_text()
    return {
        "losses": losses,
        "devices": sorted(placed),
        "gathers": text.count("all-gather"),
        "reduces": text.count("all-reduce"),
        "fft": fft_text.count("fft("),
        "fft_gathers": fft_text.count("all-gather"),
    }


@pytest.fixture(scope="module")
def results():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": str(ROOT),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compile sooner; partitioning is not affected
    }
    result = subprocess.run(
        [sys.executable, "-m", "tests.test_sharding"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("mixer", MIXERS)
def test_losses_agree(mixer, results):
    """Catches a batch, a gradient or a random number that depends on the number of devices."""
    one, eight = (jnp.array(losses) for losses in results[mixer]["losses"])
    assert one.shape == (STEPS,)
    assert float(jnp.abs(one - eight).max()) < 1e-5
    assert float(jnp.abs(one[0] - one[-1])) > 1e-3  # something was trained


@pytest.mark.parametrize("mixer", MIXERS)
def test_no_activation_is_gathered(mixer, results):
    """Catches an operation whose operand XLA copies to every device: FFTs are one."""
    assert results[mixer]["gathers"] == 0
    assert results[mixer]["reduces"] > 0  # the gradients' sum: the batch is spread
    assert results[mixer]["fft"] > 0
    assert results[mixer]["fft_gathers"] == 0


@pytest.mark.parametrize("mixer", MIXERS)
def test_parameters_live_on_all_devices(mixer, results):
    """Catches a state that is born on the first device."""
    assert results[mixer]["devices"] == [8]


def test_batch_that_does_not_divide(results):
    """Catches a cryptic error from deep inside XLA."""
    assert "12 does not divide over 8 devices" in results["refusal"]


def test_rules_place_by_path():
    """Catches rules applied in the wrong order, or to the wrong leaf."""
    mesh = make_mesh(jax.devices()[:1])
    tree = {"mixer": {"kernel": jnp.ones(2)}, "norm": {"scale": jnp.ones(2)}}
    rules = (("mixer/kernel", PartitionSpec("data")), (".*", PartitionSpec()))
    placed = shardings(tree, mesh, rules)
    assert placed["mixer"]["kernel"].spec == PartitionSpec("data")
    assert placed["norm"]["scale"].spec == PartitionSpec()
    with pytest.raises(ValueError, match="norm/scale"):
        shardings(tree, mesh, rules[:1])


def refusal() -> str:
    """What a batch that does not divide over the devices is told."""
    try:
        check_batch(12, make_mesh())
    except UserError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    print(json.dumps({mixer: compare(mixer) for mixer in MIXERS} | {"refusal": refusal()}))
