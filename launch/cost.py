r"""Measure costs over lengths of context: operations, memory, time, energy, size of the state.

    python -m launch.cost --config=configs/recall.py:width=64 \
        --mixers=attention,mamba,gated_delta_net --workdir=DIR

Measures a training step, the reading of a document and the generation of tokens at every length,
and finds the length from which on a model is cheaper than attention or, where that is not among
them, than the first. Writes ``cost.csv``,
``crossovers.csv``, ``machine.json`` and the figure ``cost.png``. Programs that need more memory
than there is, or a recurrent form that a mixer lacks, are listed with the reason. The machine
should have nothing else to do.
"""

from absl import flags

from mecheval_jax import command_line

CONFIG = command_line.define_config()
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the tables.", required=True)
MIXERS = flags.DEFINE_list(
    "mixers", [], "Architectures to compare, hybrids in quotes; the config's if not given."
)
LENGTHS = flags.DEFINE_list("lengths", None, "Lengths of context; 128 to 32,768 if not given.")
PROGRAMS = flags.DEFINE_list(
    "programs", None, "Programs: training, prefill, decode; all if not given."
)
BATCH = flags.DEFINE_integer("batch", None, "Documents that decode reads at once.")
TOKENS = flags.DEFINE_integer("tokens", None, "Tokens of a call of training or prefill.")
REPEATS = flags.DEFINE_integer("repeats", None, "Calls that are timed.")
SECONDS = flags.DEFINE_float("seconds", None, "Seconds after which no further call is begun.")
flags.mark_flag_as_required("config")


def main():
    """Run the program."""
    from mecheval_jax import costs
    from mecheval_jax.experiment import Experiment
    from mecheval_jax.reporting.terminal.costs import show_costs

    options = costs.options(command_line.given(LENGTHS, PROGRAMS, BATCH, TOKENS, REPEATS, SECONDS))
    experiment = Experiment.from_config(CONFIG.value)
    show_costs(*costs.measure(experiment.model, MIXERS.value, WORKDIR.value, options))


if __name__ == "__main__":
    command_line.run(main)
