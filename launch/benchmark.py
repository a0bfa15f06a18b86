"""Measure the numbers in docs/benchmarks.md, each against a baseline in the same run.

    python -m launch.benchmark [--only=step,grid,length,recurrence,sites,...] [--output=DIR]
    python -m launch.benchmark --suite=device --output=DIR
    python -m launch.benchmark --output=DIR --compare=DIR2

``step``: the training step of the study's AR; ``relatives``: steps of mixers beside the first of
their family; ``grid``: the interchange grid over 320 documents; ``gradients``: attribution of all
sites by gradients, beside the grid of all sites; ``circuits``: circuits with ports; ``probes``: a
thousand linear probes against a loop; ``length``: time and memory of a training step over lengths;
``convolution``: FFT against Toeplitz product; ``recurrence``: backends of the recurrences;
``sites``: models with sites against models without; ``sampling``: documents per
second; ``sweep``: 16 runs as one program against 16 programs; ``strategies``: strategies that
compute the members of a sweep (``JAX_NUM_CPU_DEVICES=2`` for two devices); ``imports``: time to
import the package. Rates come with the machine's own rate of float32 matrix products, measured in
the same run. ``--against=torch`` measures the step and the grid in turn with those of PyTorch,
eager and compiled, which must be installed. ``--suite=device`` measures an accelerator: training
steps of every architecture (``step_64``, ``step_256``, ``step_1024``), ``backends`` of the
recurrences, ``ensembles``, ``precision``, ``grid`` and the drawing of ``documents``. ``--output``
writes ``benchmarks.csv``, and ``--compare`` prints and draws the ratios to another folder's, with
their spread. The machine should have nothing else to do.
"""

from absl import flags

from mecheval_jax import command_line

STEPS = flags.DEFINE_integer("steps", 200, "Steps timed by the part step.", lower_bound=1)
SUITE = flags.DEFINE_enum(
    "suite", "all", ["all", "device"], "Benchmarks of any machine, or those of an accelerator."
)
AGAINST = flags.DEFINE_enum(
    "against", "none", ["none", "torch"], "Baseline of the step and the grid, measured in turn."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "Folder of the results; parts that it holds are not measured again."
)
COMPARE = flags.DEFINE_string(
    "compare", None, "Folder of earlier results; shows ratios of those in --output to them."
)
ONLY = flags.DEFINE_list("only", None, "Parts to measure; all if not given.")


def main():
    """Run the program."""
    from mecheval_jax import benchmarks
    from mecheval_jax.errors import UserError

    if AGAINST.value != "none" and SUITE.value != "all":
        raise UserError(f"--suite={SUITE.value} and --against={AGAINST.value} are two measurements")
    suite = "against_torch" if AGAINST.value == "torch" else SUITE.value
    measures_step = suite == "all" and "step" in (ONLY.value or ["step"])
    if flags.FLAGS["steps"].present and not measures_step:
        raise UserError(f"--steps is {STEPS.value}: it is of the part step, which is not measured")
    benchmarks.measure(ONLY.value, STEPS.value, suite, OUTPUT.value, COMPARE.value)


if __name__ == "__main__":
    command_line.run(main)
