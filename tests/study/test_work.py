"""What of the study is requested, and what is left of it."""

import pytest

from configs.study import config_of
from mecheval_jax.errors import UserError
from mecheval_jax.study.plans import StudyFolder, experiments_at
from mecheval_jax.study.results import table_of
from mecheval_jax.study.timing import Clock
from mecheval_jax.study.work import StudyRequest, work_of


@pytest.mark.parametrize("nothing_is_left", [True, False])
def test_a_group_that_is_not_there(tmp_path, nothing_is_left):
    """Catches the name of no group that passes for one where tables have all members, and a message
    without what could be named."""
    only = ("ar_rates",)
    (part,) = experiments_at("laptop", False, config_of, Clock(1), only)
    known = part.wanted if nothing_is_left else part.wanted[1:]
    rows = table_of([{"config_hash": name, "split": "test"} for name in known])
    request = StudyRequest(only=only, groups=("nonsense", "000"), interventions="none")
    message = r"unknown group 'nonsense'.*valid are 000_\w+_width_64$"
    if nothing_is_left:
        message = "^--groups=nonsense,000: no group of ar_rates_laptop is left to run"
    with pytest.raises(UserError, match=message):
        work_of(part, StudyFolder(tmp_path / "work"), rows, request)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": "lap"}, "'lap'.*'laptop'"),
        ({"only": ("ar_two",)}, "unknown experiment 'ar_two'"),
        ({"budget": -1.0}, "--budget is -1"),
        ({"groups": ("000_mamba",)}, "--groups=000_mamba: groups of one experiment, to be"),
        ({"interventions": "some"}, "'some'"),
        ({"only": ("ar_rates", "ar_rates"), "groups": ("000",)}, "--only names ar_rates twice"),
    ],
)
def test_mistakes(values, message):
    """Catches a mistake that is noticed after hours."""
    with pytest.raises(UserError, match=message):
        StudyRequest(**values)
