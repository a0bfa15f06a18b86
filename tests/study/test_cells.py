"""Runs of the study's cells."""

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.results import INPUT, column_of
from tests.support.study_world import changed, world


@pytest.fixture(scope="module")
def true():
    return world()


def test_the_best_rate_is_chosen_on_dev_documents(true):
    """Catches the highest test accuracy over rates, which flatters, and all rates together."""
    rows = true[(true["task"] == "AR") & (true["mixer"] == "based")]
    worse = changed(rows, {}, learning_rate=1e-2, accuracy=1.0, dev_accuracy=0.0)
    cells = StudyCells(pd.concat([rows, worse]))
    assert cells.accuracy("based", 32).value == pytest.approx(0.93125)
    assert cells.accuracy("based", 32).runs == 2


def test_one_rate_contradicts_no_best_of_several(true):
    """Catches a cell at one learning rate that is too low for the best of the study's grid."""
    where = {"task": "AR", "width": 64, "layers": 2, "mixer": ("based", "mamba")}
    cells = StudyCells(changed(true, where, accuracy=0.3))
    one_rate = StudyCells(changed(true, where, accuracy=0.3, learning_rate=1e-3))

    def claims(cells):
        based, mamba = (cells.accuracy(mixer, 64) for mixer in ("based", "mamba"))
        attention = cells.accuracy("attention", 64)
        yield based.above(0.9)
        yield based.matches(0.9)
        yield (based - attention).above(-0.1)
        yield (attention - mamba).below(0.5)

    assert all(claim.if_true < 0.01 and not claim.note for claim in claims(cells))
    assert all(
        (one.if_true, one.if_false > 0.9, bool(one.note)) == (1, 1, 1) for one in claims(one_rate)
    )
    # What is too high at one rate is too high at the best; what is low there may be higher.
    based, mamba = (one_rate.accuracy(mixer, 64) for mixer in ("based", "mamba"))
    attention = one_rate.accuracy("attention", 64)
    for claim in (based.below(0.2), based.matches(0.1), (attention - mamba).above(0.8)):
        assert claim.if_true < 0.01
    assert (based - attention).above(-0.8).if_false < 0.01
    for claim in (based.below(0.4), based.near(0.3, 0.1), (attention - mamba).above(0.5)):
        assert (claim.if_false, bool(claim.note)) == (1, True)


def test_runs_that_cannot_be_compared(true):
    """Catches runs of another length, or on other documents, that are judged together."""
    mixed = changed(true, {"task": "AR", "width": 16}, regime="short")
    with pytest.raises(UserError, match="AR come from runs that cannot be compared"):
        StudyCells(mixed)


def test_runs_that_learn(true):
    """Catches runs at the floor, judged as not learned, or of the comparison of positions."""
    where = {"task": "AR", "mixer": "based", "option": "", "layers": 2, "positions": "none"}
    assert len(StudyCells(true).learned("based")) == 15
    assert {*StudyCells(true).learned("based", width=64)["width"]} == {64}
    where |= {"width": 64}
    for values in ({"verdict": "not_learned"}, {"accuracy_low": 0.06}, {"positions": "learned"}):
        assert len(StudyCells(changed(true, where, **values)).learned("based")) == 12


def test_runs_that_the_study_would_show(true):
    """Catches models that use the asked pair, left out since a heuristic answers more here; runs
    below the study's filter, and runs of which it is not known."""
    low = changed(true, {"task": "ATR L=5 S=20", "mixer": "h3"}, accuracy_low=0.6)
    for gap, runs in ((0.3, 15), (0.09, 0), (np.nan, 0)):
        assert len(StudyCells(low.assign(gap=gap)).learned("h3", "ATR L=5 S=20")) == runs
    where = {"task": "AR", "mixer": "h3"}
    for accuracy, runs in ((0.07, 15), (0.06, 0)):  # one that answers less than a guess
        of_recall = changed(changed(true, where, accuracy=accuracy), where, accuracy_low=0.01)
        assert len(StudyCells(of_recall.assign(gap=0.02)).learned("h3")) == runs


def test_models_are_compared_with_themselves(true):
    """Catches a fall that all models have, lost among models that lie far apart; a mean over other
    models; and a sum of two shares of one model that counts it twice."""
    rows = true[true["task"] == "ATR held-out"].copy()
    rows["accuracy"] = rows["dev_accuracy"] - 0.3
    column = column_of(INPUT, "value")
    for split, less in (("dev", 0.0), ("test", 0.1)):
        own = rows["split"] == split
        apart = np.linspace(0, 1, own.sum()) - less
        for end in ("", "_low", "_high"):
            rows.loc[own, column + end] += apart - rows.loc[own, column]
    rows[f"{column}_low"] = rows[column] - 0.01
    rows[f"{column}_high"] = rows[column] + 0.01
    cells = StudyCells(rows)
    seen = cells.learned("mamba", "ATR held-out", split="dev")
    change = cells.change(seen, "test", "value", "change")
    assert (change.value, change.runs) == (pytest.approx(0.1), len(seen))
    fall = cells.fall("mamba", 64, "ATR held-out")
    assert (fall.value, fall.runs) == (pytest.approx(0.3), 2)
    assert fall.published == (pytest.approx(161 / 320),) * 2
    for one in (change, fall):
        low, high = one.interval()
        assert high - low < 0.1
    both = cells.attribution(seen, "value+query")
    single = [cells.attribution(seen, role) for role in ("value", "query")]
    assert both.runs == len(seen)
    assert both.value == pytest.approx(sum(one.value for one in single))


def test_the_same_models_on_another_split(true):
    """Catches models of another rate or seed, and all of a mixer for those that were asked for."""
    cells = StudyCells(true)
    seen = cells.learned("mamba", "ATR held-out", split="dev")
    unseen = cells.on_split(seen.iloc[:3], "test")
    assert set(unseen["split"]) == {"test"}
    columns = ["width", "learning_rate", "seed"]
    assert sorted(unseen[columns].values.tolist()) == sorted(seen[columns].iloc[:3].values.tolist())


def test_floors_are_of_test_documents(true):
    """Catches the floor of other documents, which may be higher."""
    rows = changed(true, {"task": "ATR held-out", "split": "dev"}, floor=0.9)
    assert (
        StudyCells(rows).floor("ATR held-out")
        == true.query("task == 'ATR held-out'")["floor"].max()
    )


def test_published_numbers_stand_beside_ours(true):
    """Catches the number of another cell, and a range where one number is compared."""
    cells = StudyCells(true)
    assert cells.accuracy("mamba", 64).published == (258 / 320, 258 / 320)
    assert cells.accuracy("delta_net", 64).published is None
    runs = cells.learned("based")
    assert next(cells.each(runs, "value")).published == (0.999, 1.033)
    mamba = cells.attribution(cells.learned("mamba"), "query")
    assert mamba.published is None  # the study's median is no mean of runs that have all or nothing


def test_a_share_without_an_interval_decides_nothing(true):
    """Catches a number of one document that is taken for certain."""
    rows = true[(true["task"] == "AR") & (true["mixer"] == "based")].copy()
    unknown = rows["seed"] == 0
    column = column_of(INPUT, "value")
    rows.loc[unknown, [f"{column}_low", f"{column}_high"]] = np.nan
    cells = StudyCells(rows)
    runs = cells.learned("based")
    shares = list(cells.each(runs, "value"))
    known = (~runs["seed"].eq(0)).sum()
    assert [one.samples is None for one in shares] == runs["seed"].eq(0).tolist()
    assert cells.attribution(runs, "value").runs == known < len(shares)


def test_the_spread_of_seeds_is_that_of_all_cells(true):
    """Catches two seeds that agree by chance and are certain, where those of other cells do not,
    and a single run of which nothing is expected."""
    spread = true[true["task"] == "AR"].copy()
    moved = spread["accuracy"] + np.random.default_rng(0).normal(0, 0.15, len(spread))
    spread["accuracy"] = moved.clip(0.0, 1.0)
    cell = {"task": "AR", "mixer": "mamba", "width": 64, "layers": 2, "option": ""}
    alike = changed(spread, cell, accuracy=0.8)
    (low, high), runs = interval_of(alike), StudyCells(alike).accuracy("mamba", 64).runs
    assert runs == 2
    assert high - low > 0.05
    narrow = interval_of(changed(true, cell, accuracy=0.8))
    assert narrow[1] - narrow[0] < 0.05
    second = (alike[[*cell]] == pd.Series(cell)).all(axis=1) & (alike["seed"] == 1)
    alone = alike[~second]
    assert interval_of(alone)[1] - interval_of(alone)[0] > high - low


def interval_of(table):
    return StudyCells(table).accuracy("mamba", 64).interval()


def test_more_seeds_before_a_rate_that_is_better_by_chance(true):
    """Catches a single run that is taken for a cell because of the noise of its dev documents."""
    rows = true[(true["task"] == "AR") & (true["mixer"] == "based")].assign(dev_documents=320)
    one = (rows["seed"] == 0) & (rows["learning_rate"] == 1e-3)
    single = changed(rows[one], {}, learning_rate=1e-2)
    for gain, runs in ((0.03, 2), (0.1, 1)):
        better = single.assign(dev_accuracy=single["dev_accuracy"] + gain)
        cells = StudyCells(pd.concat([rows, better]))
        assert cells.accuracy("based", 16).runs == runs


def test_how_many_rates_the_best_was_chosen_of(true):
    """Catches a choice among rates with as many runs that counts as none, and one among others."""
    rows = true[(true["task"] == "AR") & (true["mixer"] == "based") & (true["option"] == "")]
    cell = rows[(rows["width"] == 16) & (rows["layers"] == 2) & (rows["positions"] == "none")]
    best = cell[cell["learning_rate"] == cell["learning_rate"].value_counts().idxmax()]
    others = rows.drop(cell.index)
    twice = [best, changed(best, {}, learning_rate=1e-2)]
    for parts, chosen in ((twice, 2), ([twice[0], twice[1].iloc[:1]], 1), ([best], 1)):
        found = StudyCells(pd.concat([others, *parts])).accuracy("based", 16)
        assert (found.runs, found.chosen) == (len(best), chosen)


def test_how_many_rates_the_best_fall_was_chosen_of(true):
    """Catches a fall whose dev documents have chosen the rate, and which counts as one of one."""
    cell = (true["task"] == "ATR held-out") & (true["mixer"] == "mamba") & (true["width"] == 64)
    best = true[
        cell & (true["learning_rate"] == true[cell]["learning_rate"].value_counts().idxmax())
    ]
    for parts, chosen in (([best], 1), ([best, changed(best, {}, learning_rate=0.5)], 2)):
        found = StudyCells(pd.concat([true[~cell], *parts])).fall("mamba", 64, "ATR held-out")
        assert (found.runs, found.chosen) == ((best["split"] == "test").sum(), chosen)


def test_falls_are_known_from_other_cells(true):
    """Catches a prior of falls without groups, and one of tasks on which nothing falls."""
    rows = true[true["task"] == "ATR held-out"]
    assert StudyCells(rows)._of_falls.degrees > 0
    assert StudyCells(true[true["task"] == "AR"])._of_falls.degrees == 0


def test_more_seeds_before_a_single_one_that_is_better_by_its_seed(true):
    """Catches one lucky run that stands for a cell where seeds lie far apart."""
    rows = true[(true["task"] == "AR") & (true["option"] == "")].copy()
    rows["accuracy"] = rows["seed"].map({0: 0.8, 1: 0.2})
    rows["dev_accuracy"] = rows["accuracy"]
    one = (rows["mixer"] == "based") & (rows["seed"] == 0) & (rows["learning_rate"] == 1e-3)
    single = changed(rows[one], {}, learning_rate=1e-2, dev_accuracy=0.9)
    assert StudyCells(pd.concat([rows, single])).accuracy("based", 16).runs == 2


def test_a_rate_that_is_ahead_may_be_better(true):
    """Catches a low accuracy that counts as certain, though a run at another rate was higher."""
    rows = true[(true["task"] == "AR") & (true["option"] == "")].copy()
    rows["accuracy"] = rows["seed"].map({0: 0.8, 1: 0.2})
    rows = rows.assign(dev_accuracy=rows["accuracy"], dev_documents=320)
    cell = (rows["mixer"] == "base_conv") & (rows["width"] == 64) & (rows["layers"] == 2)
    cell &= rows["positions"] == "none"
    rows.loc[cell, ["accuracy", "dev_accuracy"]] = 0.05
    rows = rows[~(cell & (rows["learning_rate"] == 1e-4))]
    single = changed(rows[cell[rows.index] & (rows["seed"] == 0)], {}, learning_rate=1e-2)
    for dev, may_rise in ((0.2, True), (0.06, False)):
        both = pd.concat([rows, single.assign(dev_accuracy=dev)])
        accuracy = StudyCells(both).accuracy("base_conv", 64)
        assert (accuracy.runs, accuracy.may_rise) == (2, may_rise)


def test_rare_betas_stand_apart(true):
    """Catches runs with another beta2 among the study's own."""
    assert StudyCells(changed(true, {"seed": 1}, beta2=0.95)).accuracy("mamba", 64).runs == 1
