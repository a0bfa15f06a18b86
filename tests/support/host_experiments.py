"""What the processes of `tests.support.host_runs` train."""

from tests.support import small

STEPS = 40

TASKS = {
    "recall": {"training.batch_size": 16},
    # A batch of which two devices get parts of different lengths, and eight get whole rows.
    "treecall": {
        "task": {"name": "treecall", "longest": 20},
        "model.max_length": 32,
        "training.batch_size": 32,
    },
}


def experiment_of(task, width=16):
    return small.experiment(
        small.ONE_LAYER | TASKS[task] | {"model.width": width},
        steps=STEPS,
        checkpoint_every=10,
        evaluate_every=20,
        steps_per_dispatch=5,
        learning_rate=1e-2,
    )
