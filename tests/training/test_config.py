"""How a model is trained: what cannot be, and what older versions did not have."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.store.run_folder import RunFolder
from tests.support import small

EXPERIMENT = small.experiment({"task.queries": 2, "model.layers": 1})


def test_settings_that_cannot_be():
    """Catches a mistake that is found only in the compiled step."""
    with pytest.raises(UserError, match="batch_size 8 does not divide into 3 micro-batches"):
        small.experiment(gradient_accumulation=3)
    with pytest.raises(UserError, match=r"'ful'.*full"):
        small.experiment(remat="ful")
    with pytest.raises(UserError, match=r"shuffle True needs a fixed set, .*training_batches"):
        small.experiment(shuffle=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta2": 0.99999999}, "training.beta2 .*0.99999999.* as float32"),
        ({"warmup_fraction": 0.00005}, "warmup_fraction 5e-05 has a denominator above 10,000"),
        ({"warmup_fraction": 0.50004}, "take 0.5001$"),
    ],
)
def test_numbers_that_would_be_others(change, message):
    """Catches a beta that is 1 in float32, whose first step is NaN, and another warm-up."""
    with pytest.raises(UserError, match=message):
        small.experiment(**change)
    small.experiment(beta2=0.9999999, warmup_fraction=1 / 3)


@pytest.mark.parametrize(
    ("milestones", "every", "steps"),
    [
        (0, 10, [100]),
        (1, 10, [50, 100]),
        (3, 10, [30, 50, 80, 100]),  # 25 and 75 are not saved, and the next ones are
        (20, 30, [30, 60, 90, 100]),  # as many as there are
        (4, 1000, [100]),
    ],
)
def test_milestones_are_saved_steps(milestones, every, steps):
    """Catches milestones that bunch, or lie where no checkpoint is."""
    training = small.experiment(steps=100, checkpoint_every=every, milestones=milestones).training
    saved = filter(training.is_saved, range(1, 101))
    assert list(filter(training.is_milestone, saved)) == steps


def test_configs_from_before_these_fields(tmp_path):
    """Catches a run of an older version that cannot be resumed."""
    folder = RunFolder(tmp_path / "run")
    folder.open(EXPERIMENT)
    values = EXPERIMENT.as_dict()
    for name in ("gradient_accumulation", "remat", "shuffle", "milestones"):
        del values["training"][name]
    assert Experiment.from_config(values) == EXPERIMENT
    folder.open(Experiment.from_config(values))
