"""Accuracies of runs on the same documents: intervals cover, whatever varies."""

import dataclasses

import numpy as np
import pytest

from mecheval_jax.statistics.crossed import (
    Answers,
    combined,
    difference,
    order_as,
    share_above,
    variance_of,
)
from mecheval_jax.statistics.intervals import wilson

VARIES = {
    "documents": (0.0, 2.0),
    "seeds": (1.0, 0.0),
    "both": (0.7, 1.5),
}
"""Spread of runs and of documents, in logits of a right answer."""


def answered(draw, skill, ease):
    """Answers of runs of some skill to documents of some ease, one each."""
    chance = 1 / (1 + np.exp(-(skill[:, None] + ease[None])))
    correct = (draw.uniform(size=chance.shape) < chance).astype(float)
    names = np.broadcast_to(np.arange(len(ease)), correct.shape)
    return Answers(correct, np.ones_like(correct), names)


def mean_accuracy(skill, runs, documents):
    """Of all runs and documents, where skill and ease are normal."""
    draw = np.random.default_rng(1)
    skills = skill + runs * draw.normal(size=400)[:, None]
    return float((1 / (1 + np.exp(-(skills + documents * draw.normal(size=400)[None])))).mean())


@pytest.mark.parametrize("runs", [10, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("varies", VARIES)
def test_a_difference_is_covered(varies, runs):
    """Catches runs resampled as if each had its own documents, and documents of two groups that
    are not resampled together: 93 to 97 % of 1,000 cover the truth."""
    draw, (of_runs, of_documents) = np.random.default_rng(4), VARIES[varies]
    skills = (1.0, 0.3)
    truth = np.subtract(*(mean_accuracy(skill, of_runs, of_documents) for skill in skills))
    covered, widths = 0, {True: [], False: []}
    for _ in range(1000):
        ease = of_documents * draw.normal(size=64)
        first, second = (
            answered(draw, skill + of_runs * draw.normal(size=runs), ease) for skill in skills
        )
        value, (low, high), shared = difference(first, second, 0.95)
        assert shared
        assert low < value < high
        covered += low <= truth <= high
        widths[True].append(high - low)
        elsewhere = Answers(second.correct, second.asked, second.names + 1)
        _, (low, high), shared = difference(first, elsewhere, 0.95)
        assert not shared
        widths[False].append(high - low)
    assert 930 <= covered <= 975  # conservative where two answers agree by chance alone
    if varies == "documents":  # what makes them easy for both falls away
        assert np.mean(widths[True]) < 0.9 * np.mean(widths[False])


@pytest.mark.parametrize("runs", [2, 3])
def test_intervals_over_few_runs_do_not_explode(runs):
    """Catches degrees of freedom below 1, with which one interval in thirty is wider than 1."""
    draw, half = np.random.default_rng(11), []
    for _ in range(200):
        ease = draw.normal(size=320)
        first, second = (answered(draw, 1.0 + 0.1 * draw.normal(size=runs), ease) for _ in range(2))
        _, (low, high), _ = difference(first, second, 0.95)
        half.append((high - low) / 2)
    assert np.quantile(half, 0.98) < 0.6
    # By hand: parts of 3 and 2 with 4 and 1 degrees, of which all but 0.5 was counted twice.
    assert combined([(3.0, 4.0), (2.0, 1.0)], 4.5) == (0.5, 1.0)
    assert combined([(3.0, 4.0), (2.0, 1.0)]) == (5.0, pytest.approx(25 / (9 / 4 + 4)))


def test_runs_that_err_in_the_same_documents_may_differ():
    """Catches an interval without width, as if two models that answered 320 documents alike were
    known to be equal: at most 7 % of 2,000 miss a difference of a quarter of a point."""
    correct = np.ones((1, 320))
    correct[:, :5] = 0
    same = Answers(correct, np.ones_like(correct), np.arange(320)[None])
    assert difference(same, same, 0.95)[1] == pytest.approx((-1.96 / 320, 1.96 / 320), rel=0.01)
    draw, covered = np.random.default_rng(12), 0
    for _ in range(2000):
        kind = draw.choice(4, size=320, p=(0.95, 0.04, 0.00635, 0.00365))
        right = [np.isin(kind, ones)[None].astype(float) for ones in ((0, 2), (0, 3))]
        pair = [Answers(one, np.ones_like(one), np.arange(320)[None]) for one in right]
        low, high = difference(*pair, 0.95)[1]
        covered += low <= 0.0027 <= high
    assert covered >= 1860


def test_a_difference_of_runs_on_several_sets_is_covered():
    """Catches runs that share a set of documents with some others taken for independent ones."""
    draw, truth = np.random.default_rng(8), 0.0
    covered = 0
    for _ in range(400):
        sides = []
        for side in range(2):
            sets = [answered(draw, np.full(3, 0.5), 2.0 * draw.normal(size=64)) for _ in range(2)]
            names = [one.names + 64 * (2 * side + i) for i, one in enumerate(sets)]
            parts = ([one.correct for one in sets], [one.asked for one in sets], names)
            sides.append(Answers(*map(np.concatenate, parts)))
        _, (low, high), shared = difference(*sides, 0.95)
        assert not shared
        covered += low <= truth <= high
    assert covered >= 0.92 * 400  # 94 %; 84 % if all were independent


@pytest.mark.parametrize("varies", ["documents", "seeds"])
def test_a_share_of_successes_is_covered(varies):
    """Catches Wilson's interval on runs that succeed or fail together, by their documents."""
    draw, (of_runs, of_documents) = np.random.default_rng(5), VARIES[varies]
    found = []
    for _ in range(150):
        ease = of_documents * draw.normal(size=64)
        runs = answered(draw, 0.5 + of_runs * draw.normal(size=10), ease)
        found.append(share_above(runs, 0.6, 0.95))
    truth = np.mean([value for value, _ in found])
    covered = np.mean([low <= truth <= high for _, (low, high) in found])
    alone = np.mean([wilson(10 * v, 10)[0] <= truth <= wilson(10 * v, 10)[1] for v, _ in found])
    assert covered >= 0.89  # 93 % of 1,500, with a standard error of 2 %
    assert covered >= alone
    if varies == "documents":
        assert alone < 0.8


def test_runs_on_their_own_documents_are_independent():
    """Catches documents that are taken for shared, and so intervals that are too wide."""
    draw = np.random.default_rng(6)
    runs = answered(draw, np.full(8, 1.0), np.zeros(50))
    own = Answers(runs.correct, runs.asked, runs.names + 100 * np.arange(8)[:, None])
    value, interval = share_above(own, 0.7, 0.95)
    assert interval == pytest.approx(wilson(8 * value, 8))
    low, high = share_above(runs, 0.7, 0.95)[1]
    assert high - low >= interval[1] - interval[0]


def test_the_order_of_documents_does_not_matter():
    """Catches the same documents, drawn in another order, taken for others."""
    draw = np.random.default_rng(7)
    first, second = (answered(draw, np.full(4, skill), draw.normal(size=50)) for skill in (1, 0.5))
    orders = np.array([draw.permutation(50) for _ in range(4)])
    fields = second.correct, second.asked, second.names
    mixed = Answers(*(np.take_along_axis(values, orders, axis=1) for values in fields))
    assert mixed.is_on(first.names[0])
    assert difference(first, mixed, 0.95) == difference(first, second, 0.95)
    assert share_above(mixed, 0.6, 0.95) == share_above(second, 0.6, 0.95)


def test_documents_in_the_order_of_others():
    """Catches an order applied the wrong way round, and other documents that are reordered."""
    first, names = np.array([5, 9, 2, 9]), np.array([9, 2, 5, 9])
    np.testing.assert_array_equal(names[order_as(names, first)], first)
    np.testing.assert_array_equal(order_as(first, first), np.arange(4))
    for others in (np.array([9, 2, 5, 5]), np.array([9, 2, 5])):
        np.testing.assert_array_equal(order_as(others, first), np.arange(len(others)))


def test_where_all_are_right_an_interval_has_a_width():
    """Catches certainty from answers that are all alike."""
    right = Answers(np.ones((3, 40)), np.ones((3, 40)), np.zeros((3, 40), int))
    value, (low, high), _ = difference(right, right, 0.95)
    assert value == 0
    assert -0.15 < low < -0.05
    assert 0.05 < high < 0.15
    # One wrong answer does not make it shorter.
    nearly = right.correct.copy()
    nearly[0, 0] = 0
    value, ends, _ = difference(dataclasses.replace(right, correct=nearly), right, 0.95)
    assert value == pytest.approx(-1 / 120)
    assert ends[0] < low
    assert ends[1] > 0.04


def test_a_single_document():
    """Catches a division by no degrees of freedom, when all is trained."""
    one = Answers(np.array([[1.0], [0.0]]), np.ones((2, 1)), np.zeros((2, 1), int))
    value, (low, high), _ = difference(one, one.where(np.array([0])), 0.95)
    assert value == -0.5
    assert low <= value <= high


def test_variance_of_one_run_is_that_of_its_documents():
    """Catches a division by no degrees of freedom."""
    values = np.random.default_rng(0).normal(size=(1, 30)) / 30
    for crossed in (True, False):
        variance, degrees = variance_of([values - values.mean()], crossed)
        assert variance == pytest.approx(values.var(ddof=1) * 30)
        assert degrees == pytest.approx(29)
