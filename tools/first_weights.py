r"""Begin a run of Mamba from first weights that are drawn and named as the study's program does.

    python -m tools.first_weights --workdir=DIR \
        --config=configs/study/ar_laptop.py:mixer=mamba,width=64,learning_rate=1e-2

The weights are drawn by numpy, entry by entry of a state dict with the study's names and shapes,
by the laws of arXiv 2505.15105 and of mamba_ssm, which it builds on; `interop.from_reference`
converts them, and they become the checkpoint of step 0 in DIR. `launch.train` with the same flags
goes on from there. So a run differs from ours in nothing but who drew its first weights.
"""

import contextlib
import math
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from mecheval_jax import command_line

if TYPE_CHECKING:
    from mecheval_jax.experiment import Experiment
    from mecheval_jax.models.language_model import ModelConfig

SPREAD = 0.02
"""Standard deviation of embeddings."""

STEPS = (1e-3, 1e-1)
"""Least and greatest step size of a fresh scan."""


def main():
    """Run the program."""
    from mecheval_jax.experiment import Experiment

    given = flags.FLAGS
    begin(Experiment.from_config(given[command_line.CONFIG].value), pathlib.Path(given.workdir))


def begin(experiment: "Experiment", workdir: pathlib.Path) -> None:
    """Make the folder of a run with a checkpoint of its first weights.

    Args:
        experiment: Experiment of the run, of Mamba.
        workdir: Folder of the run.

    Raises:
        UserError: If the mixer is another, or the folder has a run that has begun.
    """
    from mecheval_jax.errors import UserError
    from mecheval_jax.interop import from_reference
    from mecheval_jax.store.run_folder import RunFolder
    from mecheval_jax.training.checkpoints import Checkpoints
    from mecheval_jax.training.state import hyperparameters_of, new_state, saved_part

    if experiment.model.mixer != "mamba":
        raise UserError(f"model.mixer {experiment.model.mixer} is not mamba, of which the laws are")
    draw = np.random.default_rng(experiment.training.seed)
    params = from_reference(state_dict(experiment.model, draw), experiment.model)
    state = new_state(experiment.model, hyperparameters_of(experiment.training))
    folder = RunFolder(workdir)
    with folder.lock("training"):
        folder.open(experiment)
        kept = Checkpoints.of_training(folder.checkpoints, experiment.training)
        with contextlib.closing(kept) as checkpoints:
            if checkpoints.steps():
                raise UserError(f"{workdir} has a run that has begun: choose another --workdir")
            checkpoints.save(0, saved_part(state.replace(params=params)))


def state_dict(model: "ModelConfig", draw: np.random.Generator) -> dict[str, np.ndarray]:
    """First weights of a model of Mamba by the study's names, in float32.

    Args:
        model: Config of the model.
        draw: Generator of random numbers.
    """
    width, inner = model.width, 2 * model.width
    state, taps = 16, model.mixer_options.get("d_conv", 4)
    rank = math.ceil(width / 16)

    def dense(rows: int, columns: int, scale: float = 1.0) -> np.ndarray:
        return draw.uniform(-1, 1, (rows, columns)) * scale / math.sqrt(columns)

    tokens = draw.normal(0, SPREAD, (model.vocabulary_size, width))
    found = {
        "backbone.embeddings.word_embeddings.weight": tokens,
        "backbone.ln_f.weight": np.ones(width),
        "backbone.ln_f.bias": np.zeros(width),
        "lm_head.weight": tokens,
    }
    for i in range(model.layers):
        # mamba_ssm draws log-uniform step sizes, and keeps what softplus makes them of.
        step = np.exp(draw.uniform(*np.log(STEPS), inner))
        mixer = {
            "A_log": np.tile(np.log(np.arange(1, state + 1)), (inner, 1)),
            "D": np.ones(inner),
            "in_proj.weight": dense(2 * inner, width),
            "conv1d.weight": draw.uniform(-1, 1, (inner, 1, taps)) / math.sqrt(taps),
            "conv1d.bias": draw.uniform(-1, 1, inner) / math.sqrt(taps),
            "x_proj.weight": dense(rank + 2 * state, inner),
            "dt_proj.weight": draw.uniform(-1, 1, (inner, rank)) * rank**-0.5,
            "dt_proj.bias": step + np.log(-np.expm1(-step)),
            "out_proj.weight": dense(width, inner, model.layers**-0.5),
        }
        layer = f"backbone.layers.{i}"
        found |= {f"{layer}.sequence_mixer.{name}": value for name, value in mixer.items()}
        found[f"{layer}.norm.weight"] = np.ones(width)
    return {name: value.astype(np.float32) for name, value in found.items()}


if __name__ == "__main__":
    command_line.define_config()
    flags.DEFINE_string("workdir", None, "Folder of the run, a new one.")
    flags.mark_flags_as_required(["config", "workdir"])
    command_line.run(main)
