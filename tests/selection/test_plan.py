"""What fits a budget, what is given up first, and what is said where nothing fits."""

import dataclasses
import itertools
import re

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.selection import plan as plans
from mecheval_jax.selection.plan import Size, Timing
from mecheval_jax.selection.request import ChoiceRequest, parse_budget
from tests.support import small

REQUEST = ChoiceRequest(
    small.experiment(steps=850), mixers=("attention", "based"), widths=(16, 8), budget=1e6
)
OF_WIDTH = {"attention": Timing(0.01, 2.0), "based": Timing(0.02, 3.0)}
TIMINGS = {16: OF_WIDTH, 8: OF_WIDTH}


def test_without_a_budget_all_of_it_is_planned():
    """Catches something that is given up for no reason."""
    plan = plans.fit(REQUEST, TIMINGS, None)
    assert plan.size == Size((16, 8), REQUEST.rates, 3)
    assert plan.given_up == ()


def test_the_time_of_a_plan():
    """Catches seeds that cost nothing, and devices that stand idle without being counted."""
    # 9 runs of 850 steps and 150 more, at 0.01 and 0.02 s, and 10 programs of 2 and 3 s.
    one = plans.seconds_of(Size((16,), (1e-3, 3e-3, 1e-2), 3), 850, TIMINGS)
    assert one == pytest.approx(10 * 5 + 9 * 1000 * 0.03 * plans.SLACK)
    two = plans.seconds_of(Size((16,), (1e-3, 3e-3, 1e-2), 3), 850, TIMINGS, devices=2)
    assert two == pytest.approx(10 * 5 + 5 * 1000 * 0.03 * plans.SLACK * plans.SHARED)
    alone = plans.seconds_of(Size((16,), (1e-3,), 1), 850, TIMINGS, devices=2)
    assert alone == pytest.approx(10 * 5 + 1000 * 0.03 * plans.SLACK)


def test_each_width_takes_its_own_time():
    """Catches a reduced plan charged the time of the greatest width, of which it trains nothing."""
    timings = {16: {"based": Timing(0.01, 1.0)}, 64: {"based": Timing(1.0, 10.0)}}
    small, large = (
        plans.seconds_of(Size((width,), (1e-3,), 1), 850, timings) for width in (16, 64)
    )
    assert small == pytest.approx(10 + 1000 * 0.01 * plans.SLACK)
    assert plans.seconds_of(Size((16, 64), (1e-3,), 1), 850, timings) == small + large
    asked = ChoiceRequest(
        REQUEST.experiment, ("based",), (16, 64), (1e-3,), 1, budget=large / plans.TRAINING_SHARE
    )
    assert plans.fit(asked, timings, asked.budget).size.widths == (16,)
    tiny = dataclasses.replace(asked, budget=small)
    with pytest.raises(
        UserError, match=r"of 1 architecture of width 16 in 850 steps: --budget=60s is enough"
    ):
        plans.fit(tiny, timings, tiny.budget)


def test_a_width_that_was_not_measured_is_given_up():
    """Catches a plan with a width of which not every architecture was measured in time."""
    part = {16: OF_WIDTH, 8: {"attention": OF_WIDTH["attention"]}}
    for timings in ({16: OF_WIDTH}, part):
        found = plans.fit(REQUEST, timings, 1e6)
        assert (found.size.widths, found.given_up) == ((16,), ("width 8",))


def test_no_width_is_measured_that_cannot_fit():
    """Catches a budget that goes into measuring a second width for which there is no time."""
    one = plans.seconds_of(Size((16,), REQUEST.rates[:2], 3), 850, TIMINGS)
    for budget, wider in ((1.01 * one, True), (0.99 * one, False)):
        asked = dataclasses.replace(REQUEST, budget=budget / plans.TRAINING_SHARE)
        assert plans.may_be_wider(asked, {16: OF_WIDTH}, asked.budget) == wider


def test_a_just_sufficient_budget_is_not_spent_on_measuring_a_width_more():
    """Catches a budget that was said to be enough, and is refused since it measured what it had
    no time for."""
    asked = dataclasses.replace(REQUEST, rates=REQUEST.rates[:1], seeds=1)
    least, measuring = plans.seconds_of(plans.sizes_of(asked)[-1], 850, TIMINGS), 30.0
    for measured_times, wider in ((1.1, False), (1.9, False), (2.1, True)):
        budget = (least + measured_times * measuring) / plans.TRAINING_SHARE
        asked = dataclasses.replace(asked, budget=budget)
        left = budget - measuring
        assert plans.may_be_wider(asked, {16: OF_WIDTH}, left) == wider
        assert plans.fit(asked, {16: OF_WIDTH}, left - wider * measuring).size.widths == (16,)


def test_less_time_gives_up_more():
    """Catches a plan that does not fit, and one that could have been larger."""
    sizes, spent = plans.sizes_of(REQUEST), 100.0

    def fit(budget):
        return plans.fit(dataclasses.replace(REQUEST, budget=budget), TIMINGS, budget - spent)

    for size, smaller in itertools.pairwise(sizes):
        # Training ends at a share of the whole budget, of which measuring has taken a part.
        enough = (spent + plans.seconds_of(size, 850, TIMINGS)) / plans.TRAINING_SHARE
        assert fit(enough * 1.001).size == size
        assert fit(enough * 0.999).size == smaller
    least = fit(enough * 0.999)
    assert least.size == Size((16,), REQUEST.rates[:1], 1)
    assert least.given_up == ("width 8", "learning rate 0.0003, 0.003", "2 of 3 seeds")


def test_a_small_request_has_few_rungs():
    """Catches rungs with more than was asked for, and the same one twice."""
    asked = ChoiceRequest(
        REQUEST.experiment, mixers=("based",), widths=(16,), rates=(1e-3,), seeds=2
    )
    assert plans.sizes_of(asked) == [Size((16,), (1e-3,), 2), Size((16,), (1e-3,), 1)]


def test_many_seeds_are_given_up_one_by_one():
    """Catches a plan of 3 seeds where there is time for 19 of 20."""
    sizes = plans.sizes_of(dataclasses.replace(REQUEST, seeds=20))
    assert [size.seeds for size in sizes[:18]] == [*range(20, 3, -1), 3]
    assert {(size.widths, size.rates) for size in sizes[:17]} == {(REQUEST.widths, REQUEST.rates)}


def test_a_budget_that_is_too_small():
    """Catches an architecture left out in silence, and a message without what would fit."""
    asked = ChoiceRequest(REQUEST.experiment, mixers=("attention", "based"), budget=60.0)
    with pytest.raises(UserError) as raised:
        plans.fit(asked, TIMINGS, 55.0)
    message = str(raised.value)
    assert "of 2 architectures of width 16 in 850 steps" in message
    # 5 s are over; 20 and 30 s of compiling and 12 and 24 s of training, in three quarters of it.
    assert message.startswith("--budget=60s is too small for one model of each of 2 architectures")
    assert "steps: --budget=3m is enough, by times of this machine as busy as it was; " in message
    assert "; what would fit: --mixer=attention" in message
    small = dataclasses.replace(asked, budget=5.0)
    with pytest.raises(UserError, match="not one of them would fit: fewer steps"):
        plans.fit(small, TIMINGS, 5.0)


def test_a_refusal_names_documents_that_are_far_longer(monkeypatch):
    """Catches a newcomer sent to fewer steps by one line of the file."""
    monkeypatch.setattr(plans, "without_the_longest", lambda _: "; line 301")
    for left in (55.0, 4.0, -5.0):
        with pytest.raises(UserError, match=r"; line 301$"):
            plans.fit(dataclasses.replace(REQUEST, budget=5.0), TIMINGS, left)


def test_architectures_that_were_not_measured_in_time():
    """Catches a plan of some architectures that passes for one of all, and a message that says
    nothing would fit because this budget has been spent."""
    asked = ChoiceRequest(REQUEST.experiment, mixers=("attention", "based", "mamba"), budget=60.0)
    with pytest.raises(UserError) as raised:
        plans.fit(asked, TIMINGS, -5.0)
    assert str(raised.value) == (
        "--budget=60s is too small: half of it went into measuring a training step of width 16 "
        "of attention; based, and not of mamba: --budget=6m is enough if these take no longer, by "
        "times of this machine as busy as it was; what would fit: --mixer=attention"
    )


@pytest.mark.parametrize("spent", [5.0, 40.0, 400.0])
@pytest.mark.parametrize("slower", [1.0, 1.05])
def test_a_budget_that_is_said_to_be_enough_is(spent, slower):
    """Catches a second refusal of the budget that the first one named, and for a machine that is a
    little slower than before."""
    small = dataclasses.replace(REQUEST, budget=60.0)
    with pytest.raises(UserError) as raised:
        plans.fit(small, TIMINGS, 60.0 - spent)
    budget = parse_budget(re.search(r"--budget=(\w+) is enough", str(raised.value))[1])
    again = dataclasses.replace(REQUEST, budget=budget)
    timings = {
        width: {name: Timing(slower * x.step, slower * x.compile) for name, x in of.items()}
        for width, of in TIMINGS.items()
    }
    assert plans.fit(again, timings, budget - slower * spent)


def test_runs_of_a_plan():
    """Catches seeds that share documents, the config's documents left out, a shape in two groups,
    and the second width first.

    And an architecture that takes long before one that takes less.
    """
    asked = dataclasses.replace(
        REQUEST,
        experiment=small.experiment(steps=850, data_seed=7),
        mixers=("based", "attention"),
    )
    sweep = plans.sweep_of(asked, Size((16, 8), (1e-3, 3e-3), 2), TIMINGS)
    assert [group.name for group in sweep.groups] == [
        "000_attention_width_16",
        "001_based_width_16",
        "002_attention_width_8",
        "003_based_width_8",
    ]
    assert all(len(group.members) == 4 for group in sweep.groups)
    trainings = [one.training for one in sweep.groups[1].experiments]
    assert [(t.learning_rate, t.seed, t.data_seed) for t in trainings] == [
        (1e-3, 0, 7),
        (1e-3, 1, 8),
        (3e-3, 0, 7),
        (3e-3, 1, 8),
    ]
