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


def test_configs_from_before_these_fields(tmp_path):
    """Catches a run of an older version that cannot be resumed."""
    folder = RunFolder(tmp_path / "run")
    folder.open(EXPERIMENT)
    values = EXPERIMENT.as_dict()
    for name in ("gradient_accumulation", "remat", "shuffle"):
        del values["training"][name]
    assert Experiment.from_config(values) == EXPERIMENT
    folder.open(Experiment.from_config(values))
