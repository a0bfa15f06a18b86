"""Intervals: Wilson's, and the paired bootstrap of a ratio of means."""

import numpy as np
import pytest

from mecheval_jax.evaluation.patching.effects import effects
from mecheval_jax.statistics.bootstrap import (
    Bootstrap,
    accuracy_interval,
    bootstrap_weights,
    share_interval,
)
from mecheval_jax.statistics.intervals import wilson
from tests.support.fabricated import fabricated_grid

SITE = "block_1/block_input"


def effects_of(clean, corrupted, restored, resamples=400, **options):
    cells = {(SITE, "value"): restored}
    grid = fabricated_grid(clean, corrupted, cells, resamples=resamples, **options)
    return effects(grid)


def attribution(found, role="value", direction="restore"):
    return found.attribution("key", direction, SITE, role)


def test_weights_are_resampled_documents():
    """Catches weights that do not sum to 1, that are not counts, or that are one-sided."""
    weights = bootstrap_weights([20], 3000, seed=3)
    assert weights.shape == (3000, 20)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    counts = weights * 20
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    # A multinomial count of 20 draws from 20: mean 1, variance 19/20.
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.1)
    assert counts.var() == pytest.approx(19 / 20, abs=0.02)


def test_weights_depend_on_the_seed_alone():
    """Catches resamples from global random state: no table could be reproduced."""
    first, again, other = (bootstrap_weights([10], 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_weights_of_several_runs_resample_runs_first():
    """Catches documents of all runs drawn from one pot: a run is then never left out."""
    weights = bootstrap_weights([30, 10, 20], 4000, seed=5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    of_run = np.add.reduceat(weights, [0, 30, 40], axis=1) * 3
    np.testing.assert_allclose(of_run, of_run.round(), atol=1e-9)  # times that a run is drawn
    assert (of_run == 0).mean() == pytest.approx((2 / 3) ** 3, abs=0.02)
    # Documents of one run that is drawn once: multinomial of its own size.
    once = weights[of_run[:, 1] == 1, 30:40] * 3 * 10
    assert once.var() == pytest.approx(9 / 10, abs=0.05)


def test_interval_of_a_mean_is_that_of_theory():
    """Catches a spread that is too wide or too narrow by a factor of documents."""
    values = np.random.default_rng(0).uniform(size=400)
    scores = effects_of(values, 0 * values, values, resamples=4000)
    low, high = scores.bootstrap.mean(values, np.ones(400, bool)).interval(0.95)
    error = values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def population(draw, documents):
    """Probabilities whose documents differ much more than their runs do.

    Every document has a strength; means are 0.5 (clean), 0.05 (corrupted), and the
    patched run restores 0.6 of the gap on average.
    """
    strength = draw.uniform(size=documents)
    share = draw.uniform(0.4, 0.8, size=documents)
    clean, corrupted = strength, 0.1 * strength
    return clean, corrupted, corrupted + share * (clean - corrupted)


def test_the_interval_of_a_ratio_covers_the_truth():
    """Catches unpaired resampling (it always covers), and too few or too small samples."""
    draw, truth, covered, widths = np.random.default_rng(7), 0.6, [], []
    for repeat in range(300):
        scores = effects_of(*population(draw, 60), seed=repeat)
        low, high = attribution(scores).interval(0.95)
        covered.append(low <= truth <= high)
        widths.append(high - low)
    # 300 repeats: 0.95 with a standard error of 0.013.
    assert 0.90 <= np.mean(covered) <= 0.985
    # The delta method for these documents: 1.96 x 2 x 0.133 / sqrt(60), unpaired 0.35.
    assert np.mean(widths) == pytest.approx(0.068, abs=0.015)


def sparse(draw, documents):
    """Documents of which a fifth is not restored at all, and a tenth has no gap to speak of."""
    clean = np.where(draw.uniform(size=documents) < 0.9, 0.95, 0.05)
    corrupted = np.minimum(np.where(draw.uniform(size=documents) < 0.1, 0.5, 0.02), clean)
    return clean, corrupted, np.where(draw.uniform(size=documents) < 0.8, clean, corrupted)


@pytest.mark.parametrize(
    ("draw_from", "documents", "truth"), [(population, 320, 0.6), (sparse, 320, 0.8)]
)
def test_coverage_of_1000_draws(draw_from, documents, truth):
    """Catches an interval that is not what it says: 93 to 97 % of 1,000 cover the truth."""
    draw, covered = np.random.default_rng(11), 0
    # One set of resampled documents will do: those of the population are new in every draw.
    bootstrap, everyone = Bootstrap([documents], 600, seed=0), np.ones(documents, bool)
    for _ in range(1000):
        clean, corrupted, restored = draw_from(draw, documents)
        estimate = bootstrap.ratio(restored - corrupted, clean - corrupted, everyone)
        low, high = estimate.interval(0.95)
        covered += low <= truth <= high
    assert 930 <= covered <= 970


@pytest.mark.parametrize("runs", [10, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("of_runs", "of_documents", "of_both"),
    [(0.0, 0.3, 0.1), (0.2, 0.0, 0.1), (0.1, 0.4, 0.1), (0.1, 0.4, 0.4)],
    ids=["documents vary", "seeds vary", "both vary", "and their meetings"],
)
def test_coverage_over_runs_on_the_same_documents(runs, of_runs, of_documents, of_both):
    """Catches runs drawn first and then documents, as if each had its own: that covers half."""
    draw, documents = np.random.default_rng(2), 64
    bootstrap = Bootstrap([documents] * runs, 300, seed=0, sets=[0] * runs)
    everyone, covered = np.ones(runs * documents, bool), np.zeros(1000)
    for i in range(len(covered)):
        share = 0.5 + draw.normal(0, 1, runs)[:, None] * of_runs
        share = share + draw.normal(0, 1, documents)[None] * of_documents
        share = share + draw.normal(0, 1, (runs, documents)) * of_both
        gap = np.tile(draw.uniform(0.5, 1, documents), (runs, 1))
        estimate = bootstrap.ratio((gap * share).ravel(), gap.ravel(), everyone)
        low, high = estimate.interval(0.95)
        covered[i] = low <= 0.5 <= high
    assert 0.93 <= covered.mean() <= 0.97


def test_coverage_over_runs_on_their_own_documents():
    """Catches intervals over documents alone, which are blind to what differs between seeds."""
    draw, runs, documents = np.random.default_rng(2), 12, 40
    bootstrap, everyone = Bootstrap([documents] * runs, 400, seed=0), np.ones(480, bool)
    alone = Bootstrap([480], 400, seed=0)
    covered = np.zeros((2, 2))
    for spread in (0, 1):
        for _ in range(500):
            shares = np.repeat(draw.normal(0.5, 0.2 * spread, runs), documents)
            gap = draw.uniform(0.5, 1, 480)
            effect = gap * (shares + draw.normal(0, 0.1, 480))
            for i, resampled in enumerate((bootstrap, alone)):
                low, high = resampled.ratio(effect, gap, everyone).interval(0.95)
                covered[spread, i] += low <= 0.5 <= high
    (documents_vary, _), (both_vary, by_documents) = covered / 500
    assert 0.925 <= documents_vary <= 0.975
    assert 0.925 <= both_vary <= 0.975
    assert by_documents < 0.5


def test_crossed_weights_are_products():
    """Catches runs and documents that are not drawn independently of each other."""
    weights = bootstrap_weights([6, 6, 6], 2000, seed=1, crossed=True).reshape(2000, 3, 6)
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1)
    of_run, of_document = weights.sum(axis=2), weights.sum(axis=1)
    np.testing.assert_allclose(weights, of_run[:, :, None] * of_document[:, None], atol=1e-12)
    assert np.corrcoef(of_run[:, 0], of_document[:, 0])[0, 1] == pytest.approx(0, abs=0.1)


def test_what_few_shared_documents_have_is_known_as_from_them_alone():
    """Catches documents without a position counted where its spread over documents is measured,
    and a document counted once for every run."""
    draw, runs, few, documents = np.random.default_rng(0), 3, 4, 320
    own, ones = (
        draw.normal(size=(1, few)) + 0.1 * draw.normal(size=(runs, few)),
        np.ones(runs * few),
    )
    alone = Bootstrap([few] * runs, 400, seed=0, sets=[0] * runs).ratio(own.ravel(), ones, ones > 0)
    present = np.zeros((runs, documents), bool)
    present[:, :few] = True
    values = np.zeros((runs, documents))
    values[:, :few] = own
    among = Bootstrap([documents] * runs, 400, seed=0, sets=[0] * runs).mean(
        values.ravel(), present.ravel()
    )
    assert among.value == pytest.approx(alone.value)
    assert among.documents == alone.documents == few
    assert among.degrees == pytest.approx(alone.degrees)
    assert among.spread == pytest.approx(alone.spread)


# Significance.


def test_higher_confidence_is_wider():
    """Catches an interval that does not ask for its confidence."""
    estimate = attribution(effects_of(*population(np.random.default_rng(0), 60)))
    (low, high), (lower, higher) = estimate.interval(0.5), estimate.interval(0.99)
    assert lower < low < estimate.value < high < higher


@pytest.mark.parametrize(("restored", "value"), [("clean", 1.0), ("corrupted", 0.0)])
def test_resampling_is_paired(restored, value):
    """Catches clean, corrupted and patched runs resampled apart: a certain ratio gets a width."""
    clean, corrupted, _ = population(np.random.default_rng(1), 40)
    runs = {"clean": clean, "corrupted": corrupted}
    estimate = attribution(effects_of(clean, corrupted, runs[restored]))
    assert estimate.value == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose(estimate.interval(0.95), value, atol=1e-12)


def test_the_value_is_that_of_the_documents_themselves():
    """Catches the mean of the bootstrap reported in place of the estimate."""
    clean, corrupted, restored = population(np.random.default_rng(2), 11)
    scores = effects_of(clean, corrupted, restored, resamples=50)
    expected = (restored.mean() - corrupted.mean()) / (clean.mean() - corrupted.mean())
    assert attribution(scores).value == pytest.approx(expected, abs=1e-12)


def test_resamples_without_any_document_are_left_out():
    """Catches a role that few documents have turning the whole interval into NaN, and the interval
    of one document, which has no spread, taken for a certain one."""
    documents = 6
    present = np.ones((4, documents), bool)
    clean = np.linspace(0.5, 1, documents)
    for count in (2, 1):
        present[1, count:] = False  # `value` exists in the first documents only
        scores = effects_of(clean, 0 * clean, 0.5 * clean, present=present)
        estimate = attribution(scores)
        assert np.isnan(estimate.samples).any()
        assert estimate.documents == count
        assert estimate.value == pytest.approx(0.5)
        expected = 0.5 if count == 2 else np.nan
        np.testing.assert_allclose(estimate.interval(0.95), expected, atol=1e-12)


@pytest.mark.parametrize("runs", [(0,), (0, 4), (0, 0)])
def test_runs_without_documents(runs):
    """Catches a run of which no document can be judged, and a division by their number."""
    boot = Bootstrap(runs, 50, 0)
    estimate = boot.mean(np.ones(sum(runs)), np.ones(sum(runs), bool))
    assert estimate.documents == sum(runs)
    assert len(estimate.samples) == 50
    assert np.isnan(estimate.value) == (sum(runs) == 0)
    np.testing.assert_allclose(estimate.interval(0.95), 1.0 if sum(runs) else np.nan)


def test_a_mean_is_over_the_documents_of_the_role_in_every_resample():
    """Catches sums divided by all resampled documents, which absent ones then pull down."""
    present = np.arange(12) % 3 > 0
    values = np.where(present, 0.7, 100.0)
    scores = effects_of(values, values, values)
    estimate = scores.bootstrap.mean(values, present)
    assert (estimate.value, estimate.documents) == (pytest.approx(0.7), 8)
    np.testing.assert_allclose(estimate.samples, 0.7, atol=1e-12)


def test_answers_to_one_document_are_no_independent_trials():
    """Catches Wilson's interval on 80 answers that are 20 documents' alike."""
    boot = Bootstrap([20], 2000, 0)
    right = np.repeat([4.0, 0.0], [14, 6])
    (low, high), samples = accuracy_interval(right, np.full(20, 4.0), 0.95, boot)
    once, _ = accuracy_interval(right / 4, np.ones(20), 0.95, boot)
    assert once == wilson(14.0, 20)
    assert high - low > 0.9 * (once[1] - once[0])
    assert high - low > 1.5 * (wilson(56.0, 80)[1] - wilson(56.0, 80)[0])
    assert samples.std() == pytest.approx(np.sqrt(0.7 * 0.3 / 20), rel=0.1)
    # Where all are right documents count, and replicates are not all alike.
    interval, samples = accuracy_interval(np.full(20, 4.0), np.full(20, 4.0), 0.95, boot)
    assert interval == wilson(20.0, 20)
    assert samples.mean() == pytest.approx(20.5 / 21, abs=0.005)
    # One number of answers to each document does as well as another, and none is no document.
    asked = np.where(np.arange(20) < 14, 4.0, 0.0)
    assert accuracy_interval(asked, asked, 0.95, boot)[0] == wilson(14.0, 14)
    # Those without an answer neither widen an interval nor shorten it, and of one nothing is known.
    fewer, of_fewer = Bootstrap([14], 2000, 0), np.where(np.arange(20) % 2, asked, 0)
    (low, high), _ = accuracy_interval(of_fewer, asked, 0.95, boot)
    least, most = accuracy_interval(of_fewer[:14], asked[:14], 0.95, fewer)[0]
    assert (low, high) == pytest.approx((least, most), abs=0.03)
    alone = np.where(np.arange(20) == 3, 4.0, 0.0)
    assert accuracy_interval(alone / 2, alone, 0.95, boot)[0] == (0.0, 1.0)


@pytest.mark.parametrize(("documents", "least"), [(3, 0.92), (5, 0.92), (20, 0.92)])
def test_intervals_of_few_documents_cover(documents, least):
    """Catches normal quantiles, and replicates that lie too near to the mean of few documents."""
    draw, everyone = np.random.default_rng(documents), np.ones(documents, bool)
    bootstrap = Bootstrap([documents], 400, seed=1)
    covered = 0
    for values in draw.normal(0, 1, (300, documents)):
        low, high = bootstrap.mean(values, everyone).interval(0.95)
        covered += low <= 0 <= high
    assert covered / 300 >= least


def test_a_number_without_replicates_has_no_interval():
    """Catches a warning, and ends, of a ratio whose every replicate divides by 0."""
    boot, nothing = Bootstrap([5], 50, seed=1), np.zeros(5)
    assert np.isnan(boot.ratio(np.ones(5), nothing, np.ones(5, bool)).interval(0.95)).all()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("runs", [2, 3, 10])
def test_accuracies_of_several_runs_cover(runs, shared):
    """Catches percentiles of two or three resampled runs, and shared documents taken for many."""
    draw, documents = np.random.default_rng(runs), 40
    bootstrap = Bootstrap([documents] * runs, 400, seed=1, sets=[0] * runs if shared else None)
    covered, by_answers = 0, 0
    for _ in range(300):
        # Logits of runs and of documents about 0, of which the mean share is 1/2.
        of_run = draw.normal(0, 0.5, (runs, 1))
        of_document = draw.normal(0, 1.5, (1 if shared else runs, documents))
        chance = 1 / (1 + np.exp(-of_run - of_document))
        right = (draw.uniform(size=(runs, documents)) < chance).astype(float)
        counts, asked = right.sum(axis=1), np.full(runs, float(documents))
        (low, high), samples = share_interval(counts, asked, 0.95, bootstrap)
        covered += low <= 0.5 <= high
        assert low <= np.median(samples) <= high
        everything = right.ravel()
        (low, high), _ = accuracy_interval(everything, np.ones_like(everything), 0.95, bootstrap)
        by_answers += low <= 0.5 <= high
    assert covered / 300 >= 0.92
    assert by_answers / 300 >= 0.92


def test_several_runs_that_are_all_right():
    """Catches an interval without a width where no answer is wrong."""
    bootstrap = Bootstrap([20, 20], 400, seed=1)
    (low, high), samples = share_interval(np.full(2, 20.0), np.full(2, 20.0), 0.95, bootstrap)
    assert 0.9 < low < 1 == high
    assert samples.std() > 0.001
    # No shorter than Wilson's of all answers or, on shared documents, of one run's.
    asked = np.full(3, 320.0)
    for shared, worth in ((False, 960), (True, 320)):
        bootstrap = Bootstrap([320] * 3, 400, seed=1, sets=[0] * 3 if shared else None)
        (low, _), _ = share_interval(asked, asked, 0.95, bootstrap)
        assert low <= wilson(worth, worth)[0] + 1e-3


@pytest.mark.parametrize("sizes", [(3, 3), (5, 1), (1, 1, 4)])
@pytest.mark.parametrize("of_run", [0.02, 1.0])
def test_documents_that_only_some_runs_share_cover(sizes, of_run):
    """Catches several seeds on each of several sets of documents taken for independent runs."""
    draw, documents, runs = np.random.default_rng(0), 60, sum(sizes)
    sets = np.repeat(np.arange(len(sizes)), sizes)
    bootstrap = Bootstrap([documents] * runs, 200, seed=1, sets=sets.tolist())
    covered = 0
    for _ in range(200):
        easy = draw.normal(1, 1, (len(sizes), documents))
        values = (
            easy[sets] + draw.normal(0, of_run, (runs, 1)) + draw.normal(0, 0.02, easy[sets].shape)
        )
        low, high = bootstrap.mean(values.ravel(), np.ones(values.size, bool)).interval(0.95)
        covered += low <= 1 <= high
    assert covered / 200 >= 0.88


def test_a_document_counts_once_in_its_set():
    """Catches a document that several runs share counted for each of them."""
    values, sets = np.arange(20.0), [0, 1, 0, 1]
    mean = Bootstrap([5] * 4, 50, seed=1, sets=sets).mean(values, values % 5 < 3)
    assert mean.documents == 6
    alike = Bootstrap([5] * 4, 50, seed=1, sets=[0] * 4)
    same = Bootstrap([5] * 4, 50, seed=1, sets=[2] * 4)
    assert alike.crossed
    assert same.crossed
    everywhere = np.ones(20, bool)
    assert same.mean(values, everywhere).interval(0.9) == alike.mean(values, everywhere).interval(
        0.9
    )


@pytest.mark.parametrize("runs", [[40, 40], [40, 40, 40]])
def test_documents_of_one_run_alone_cover(runs):
    """Catches an interval without width where one run alone has documents with the role."""
    draw, covered = np.random.default_rng(0), 0
    for seed in range(300):
        values, present = draw.normal(0.5, 1.0, sum(runs)), np.arange(sum(runs)) < 25
        estimate = Bootstrap(runs, 500, seed).mean(values, present)
        low, high = estimate.interval(0.95)
        covered += low <= 0.5 <= high
        assert estimate.degrees == 24
    assert covered / 300 == pytest.approx(0.95, abs=0.035)


def test_runs_without_the_role_are_no_runs():
    """Catches degrees of freedom of runs that say nothing of how far runs lie apart."""
    values = np.random.default_rng(0).normal(0.5, 1.0, 90)
    two = Bootstrap([30, 30], 500, 0).mean(values[:60], np.ones(60, bool))
    three = Bootstrap([30, 30, 30], 500, 0).mean(values, np.arange(90) < 60)
    assert three.degrees == two.degrees == 1.0
    assert three.spread == pytest.approx(two.spread)
