"""Quantities, claims, and how they are combined."""

import dataclasses
import itertools

import numpy as np
import pytest

from mecheval_jax.statistics.moderated import Prior
from mecheval_jax.study.quantities import RESAMPLES, Quantity, mean, one, share

LIKE_ALL = Prior(1e-4, 20.0)
"""What other cells suggest where seeds lie close together."""


@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("spread", [0.05, 0.15])
def test_few_seeds_are_not_certain(runs, spread):
    """Catches claims about the mean that two or three seeds settle by agreeing by chance, and
    intervals that hold the truth too seldom."""
    draw = np.random.default_rng(runs)
    wrong, held, draws = 0, 0, 400
    for i in range(draws):
        true = np.clip(draw.normal(0.5, spread, size=runs), 0, 1)
        right = draw.binomial(320, true).tolist()
        ours = share(f"{runs} {spread} {i}", right, [320] * runs, 320)
        claim = ours.above(0.5)
        wrong += min(claim.if_true, claim.if_false) <= 0.005
        low, high = ours.interval()
        held += low <= 0.5 <= high
    assert wrong <= 0.01 * draws * 2  # of both sides 1 % at this level
    assert held >= 0.93 * draws


def test_runs_of_a_comparison():
    """Catches one run beside twelve that counts as thirteen where it is asked how few there are."""
    many, few = Quantity("many", 0.5, np.zeros(3), 12), Quantity("few", 0.4, np.zeros(3), 1)
    for compared in (many - few, few - many, (many - few) + many):
        assert compared.fewest == compared.above(0.0).fewest == 1
    assert (many - few).runs == (many - few).above(0.0).runs == 13
    assert many.above(0.0).fewest == 12


def test_no_tail_is_empty():
    """Catches a claim that is certain because replicates are cut off at 1, or rounded."""
    sure = share("sure", [320, 320], [320, 320], 320, Prior(0.5, 3.0))
    assert sure.matches(0.97).if_true > 1e-5
    # By hand: of the logit the variance is 0.5 * 3 / 4, at 0.95 that of the mean 0.0206^2, and the
    # tail of Student's law with 4 degrees beyond 0.05 / 0.0206 is 0.036.
    assert sure.below(0.95).if_true == pytest.approx(0.036, abs=0.004)
    assert one("exact", 0.5, 0.0).above(0.4).if_false == 0


def test_a_share_covers_the_truth():
    """Catches replicates that ignore the documents, or a share over the wrong number."""
    draw = np.random.default_rng(0)
    covered = 0
    for i in range(200):
        right = [int(draw.binomial(320, 0.9))]
        low, high = share(f"{i}", right, [320], 320).interval()
        covered += low <= 0.9 <= high
    assert 180 <= covered <= 198


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_the_prediction_interval_covers_one_more_run(runs):
    """Catches one for the mean, which holds far fewer, and one without the spread of seeds."""
    draw = np.random.default_rng(runs)
    spread = 0.0 if runs == 1 else 0.03  # of one run nothing is known of other seeds
    held = 0
    for i in range(300):
        true = np.clip(draw.normal(0.8, spread, size=runs + 1), 0, 1)
        *right, new = draw.binomial(320, true).tolist()
        one_run = share(f"{runs} {i}", right, [320] * runs, 320).one_run
        low, high = np.quantile(one_run, (0.025, 0.975))
        held += low <= new / 320 <= high
    assert held >= 0.85 * 300


def test_runs_are_resampled():
    """Catches an interval over documents alone, where seeds differ."""
    low, high = share("spread", [32, 288], [320, 320], 320).interval()
    assert low < 0.2 < 0.8 < high
    low, high = mean("spread", [0.0, 1.0], [0.01, 0.01]).interval()
    assert low < 0.1 < 0.9 < high


def test_few_runs_have_the_spread_of_student():
    """Catches an interval that is too narrow for few seeds, by far for two."""
    low, high = mean("spread", [0.0, 1.0], [0.0, 0.0]).interval(0.5)
    assert (low, high) == (pytest.approx(0, abs=0.05), pytest.approx(1, abs=0.05))  # 0.5 +- 0.5
    low, high = mean("three", [0.0, 0.0, 1.0], [0.0] * 3).interval()
    assert high - low == pytest.approx(2 * 4.303 / 3, rel=0.15)
    # Other cells say that seeds lie closer together.
    prior = Prior(0.01, 50.0)
    near = mean("near", [0.4, 0.6], [0.0, 0.0], prior).interval()
    assert near[1] - near[0] < 0.4
    # And what lies ten times as far apart is of another kind.
    far = mean("far", [0.0, 1.0], [0.0, 0.0], prior).interval()
    assert far[1] - far[0] > 2


def test_bounds():
    """Catches a test of the wrong side."""
    number = one("number", 0.5, 0.01)
    assert number.above(0.4).if_false < 1e-6 < 0.9 < number.above(0.4).if_true
    assert number.above(0.6).if_true < 1e-6 < 0.9 < number.above(0.6).if_false
    assert number.below(0.6).if_false < 1e-6
    assert number.near(0.5, 0.1).if_false < 1e-6
    assert number.near(0.8, 0.1).if_true < 1e-6
    assert 0.3 < number.above(0.5).if_false < 0.7


def test_a_number_of_one_run_with_a_skewed_interval():
    """Catches the wide side of an interval that is taken for the other one."""
    number = one("number", 1.35, 0.11, 0.44)
    assert number.above(0.8).if_false < 1e-3
    assert 0.02 < number.below(2.0).if_false < 0.2
    assert one("number", 1.35, 0.44, 0.11).above(0.8).if_false > 0.05


def test_the_best_of_several_rates_that_are_alike():
    """Catches a choice by the seeds that are judged, and one that counts for small numbers."""
    number = dataclasses.replace(share("a", [258, 256], [320, 320], 320, LIKE_ALL), chosen=3)
    once = dataclasses.replace(number, chosen=1)
    assert number.above(0.78).if_false == pytest.approx(3 * once.above(0.78).if_false)
    assert number.above(0.78).if_true == once.above(0.78).if_true
    assert number.above(0.1).if_false < 1e-3
    other = share("b", [200, 210], [320, 320], 320, LIKE_ALL)
    assert (other - number).chosen_against == 3 == (number - other).chosen
    below = (other - number).below(-0.12)
    assert below.if_false == pytest.approx(min(1, 3 * (other - once).below(-0.12).if_false))


def test_a_published_number():
    """Catches a number that agrees because the interval is of the mean, or is too wide."""
    number = share("a", [258, 256], [320, 320], 320, LIKE_ALL)
    assert number.matches(0.80625).if_false == 0
    assert number.matches(0.575).if_true < 1e-6
    # One run can agree, but what other seeds would give is not known from it.
    alone = share("c", [258], [320], 320)
    assert alone.matches(0.80625).if_false == 0
    assert (alone.matches(0.575).if_false, alone.matches(0.575).if_true) == (1, 1)
    wide = share("b", [32, 288], [320, 320], 320).matches(0.5)
    assert (wide.if_false, wide.if_true) == (1, 1)
    assert not number.matches(None).runs


def test_what_is_not_there_stays_unknown():
    """Catches a missing run that counts as 0."""
    nothing, number = Quantity("nothing"), one("number", 0.5, 0.01)
    unknown_bound = number.above(float("nan")), number.below(float("nan"))
    for claim in (
        (number - nothing).above(-5), nothing.near(0, 1), nothing.matches(0.5), *unknown_bound
    ):  # fmt: skip
        assert claim.runs == 0
        assert claim.if_false == claim.if_true == 1


def test_differences_are_of_independent_runs():
    """Catches two quantities with the same draws, whose difference has no spread."""
    difference = one("one", 0.5, 0.1) - one("other", 0.5, 0.1)
    assert difference.samples.std() == pytest.approx(0.1 * 2**0.5, rel=0.1)
    assert len(difference.samples) == RESAMPLES


def test_what_is_found_does_not_hang_on_a_name():
    """Catches p-values and intervals that random draws, which differ by name, move about."""
    shares = [
        share(name, [300, 305], [320, 320], 320, LIKE_ALL) for name in ("one", "two", "three")
    ]
    means = [mean(name, [0.9, 1.0], [0.01, 0.01], LIKE_ALL) for name in ("one", "two", "three")]
    for quantities, bound in ((shares, 0.93), (means, 0.94)):
        p_values = {quantity.above(bound).if_false for quantity in quantities}
        assert len(p_values) == 1
        assert len({quantity.interval() for quantity in quantities}) == 1
        assert 1e-3 < min(p_values) < 0.5
    apart = [
        (first - second).above(-0.04).if_false
        for first, second in itertools.permutations(shares, 2)
    ]
    assert max(apart) < 2 * min(apart)  # their orders are drawn


def test_published_numbers_are_combined_as_ours():
    """Catches ends of ranges that are combined, though they belong to different runs, and a number
    without its source."""
    ours, other = Quantity("ours", published=(0.4, 0.4)), Quantity("other", published=(0.1, 0.1))
    assert (ours - other).published == pytest.approx((0.3, 0.3))
    assert (ours + other).above(0).published_text == "0.500"
    assert other.above(0).published_text == "0.100"
    assert (ours - Quantity("unknown")).above(0).published_text == ""
    assert (ours + Quantity("range", published=(0.2, 0.4))).above(0).published_text == ""


@pytest.mark.parametrize(("bound", "sign"), [(0.95, 1), (0.05, -1)])
def test_an_accuracy_near_its_end_is_tested_at_the_bound(bound, sign):
    """Catches the spread of an accuracy that is near 0 or 1 by chance: with it a claim that is just
    false holds at 5 % in 8 of 100 tables."""
    draw, held = np.random.default_rng(6), 0
    # The logit at which accuracies of runs have a mean of 5 %, or of 95, by quadrature.
    logit = sign * 3.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    for _ in range(60):
        mean = weights @ (1 / (1 + np.exp(-(logit + 0.35 * nodes)))) / weights.sum()
        logit += 4 * (bound - mean)
    for number in range(400):
        accuracy = 1 / (1 + np.exp(-(logit + 0.35 * draw.normal(size=6))))
        right = [float(hits) for hits in draw.binomial(320, accuracy)]
        found = share(f"x{number}", right, [320.0] * 6, 320, Prior(0.125, 20))
        held += (found.above(bound) if sign > 0 else found.below(bound)).if_false < 0.05
    assert held <= 26  # 5 % of 400, and a standard error and a half
