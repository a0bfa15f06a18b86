"""Choose an architecture for a task: train candidates, judge, measure costs, and give advice.

    python -m launch.choose --documents=docs/examples/orders.jsonl --budget=20m --workdir=DIR
    python -m launch.choose --config=configs/recall.py --workdir=DIR

Says first what the documents hold, what is planned and how long it takes, then trains as many
widths, learning rates and seeds of every architecture as the budget has time for. It ends with
``choice.csv``, a row for each architecture and width, ``advice.json``, and ``report.html``. The
same command resumes (docs/choosing.md). If the trainings of a shape failed, it ends with code 1
after the advice on the others.
"""

import sys

from absl import flags

from mecheval_jax import command_line

CONFIG = command_line.define_config()
DOCUMENTS = flags.DEFINE_string("documents", None, "File of one's own, in place of a config.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the choice.", required=True)
BUDGET = flags.DEFINE_string("budget", None, "Time it may take: 90s, 30m, 2h; any if not given.")
MIXERS = flags.DEFINE_multi_string("mixer", [], "An architecture; give it several times.")
WIDTHS = flags.DEFINE_list("widths", [], "Widths; the config's and half of it if not given.")
RATES = flags.DEFINE_list("learning_rates", [], "Rates; the config's and two around it.")
STEPS = flags.DEFINE_integer("steps", None, "Steps of a run; the config's if not given.")
SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each setting.")
LENGTH = flags.DEFINE_integer(
    "length", 0, "Tokens at which costs count; 0: a document's length.", 0, 2**24
)
CHEAPEST = flags.DEFINE_string("cheapest", "prefill", "Cost that decides: training, decode, ...")
CPU_DEVICES = command_line.define_cpu_devices()


def main():
    """Run the program."""
    from mecheval_jax.fields import numbers_of_texts
    from mecheval_jax.reporting.terminal import choice, inspection
    from mecheval_jax.selection import request, run
    from mecheval_jax.store.choice import ChoiceFolder
    from mecheval_jax.sweeps.run import report_failures

    asked = request.ChoiceRequest(
        experiment=request.experiment_of(
            CONFIG.value, DOCUMENTS.value, documents_config, STEPS.value
        ),
        mixers=tuple(MIXERS.value),
        widths=numbers_of_texts("--widths", WIDTHS.value, int),
        rates=numbers_of_texts("--learning_rates", RATES.value, float),
        seeds=SEEDS.value,
        budget=request.parse_budget(BUDGET.value),
        length=LENGTH.value,
        cheapest=CHEAPEST.value,
    )
    inspection.show(asked.experiment.task, count=1)
    made = run.choose_architecture(asked, WORKDIR.value, sys.argv[1:])
    choice.show_choice(ChoiceFolder(WORKDIR.value).read_choice(), made.advice)
    report_failures(made.outcome)


def documents_config():
    """The config of documents of one's own."""
    from configs import documents

    return documents.get_config()


if __name__ == "__main__":
    command_line.run(main, cpu_devices=CPU_DEVICES)
