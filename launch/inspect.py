"""Print a task's documents with their roles, their statistics, and the floors of the task.

python -m launch.inspect --config=configs/documents.py [--split=train] [--count=5] [--seed=0]
"""

from absl import flags

from mecheval_jax import command_line

CONFIG = command_line.define_config()
MOST_DOCUMENTS = 10_000
"""Most documents that are printed: all are drawn at once, and nobody reads more."""

SPLIT = flags.DEFINE_string("split", "train", "Split: train, dev or test.")
COUNT = flags.DEFINE_integer("count", 5, "Documents to print.", 1, MOST_DOCUMENTS)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the documents.", 0, 2**32 - 1)
flags.mark_flag_as_required("config")


def main():
    """Run the program."""
    from mecheval_jax.experiment import task_of
    from mecheval_jax.reporting.terminal import inspection

    inspection.show(task_of(CONFIG.value), SPLIT.value, COUNT.value, SEED.value)


if __name__ == "__main__":
    command_line.run(main)
