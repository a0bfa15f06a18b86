"""Ticks and limits of axes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mecheval_jax.reporting.figures import scales


def test_a_narrow_axis_has_more_ticks_than_powers_of_ten():
    """Catches an axis of 30 to 700 whose only number is 100."""
    for limits, ticks in (((30, 700), 4), ((30, 3000), 2), ((101, 120), 2), ((10, 100), 2)):
        axes = Figure().subplots()
        axes.set(xscale="log", xlim=limits)
        scales.few_decades(axes.xaxis)
        shown = [at for at in axes.get_xticks() if limits[0] <= at <= limits[1]]
        assert len(shown) >= ticks, limits


@pytest.mark.parametrize("ends", [(19_450, 19_510), (1.42e-3, 2.84e-3), (2.1, 4.9)])
def test_ticks_of_almost_equal_numbers_keep_apart(ends):
    """Catches labels that lie on one another where all costs are about the same."""
    axes = Figure().subplots()
    axes.set(xscale="log", xlim=ends)
    scales.few_decades(axes.xaxis)
    shown = [at for at in axes.get_xticks() if ends[0] <= at <= ends[1]]
    assert 2 <= len(shown) <= 4


@pytest.mark.parametrize("ends", [(0.97, 1.04), (0.6, 1.9), (0.02, 60), (1e-5, 1e6)])
def test_ratios_have_a_scale(ends):
    """Catches ratios that are nearly 1, or far apart, on an axis with one number or thirty."""
    axes = Figure().subplots()
    axes.set(xscale="log", xlim=ends)
    scales.ratio_axis(axes.xaxis)
    shown = [at for at in axes.get_xticks() if ends[0] <= at <= ends[1]]
    assert 2 <= len(shown) <= 11


def test_limits_hold_values_and_the_ends_of_intervals():
    """Catches an interval that is cut off, and one that leaves the values no room."""
    least = (-0.1, 1.35)
    assert scales.limits([0.2, np.nan], [[0.1, 0.3]], least) == (least, 0)
    (low, high), outside = scales.limits([-1.5, 1.0], [[-1.9, -1.2], [0.9, np.nan]], least)
    assert (low < -1.9, high, outside) == (True, 1.35, 0)
    (low, high), outside = scales.limits([1.0, 2.0], [[-40.0, 60.0], [1.9, 2.2]], least)
    assert (low, outside) == (-0.1, 2)
    assert 2.2 < high < 3
    assert scales.limits([], [], least) == (least, 0)


def test_ticks_stand_apart():
    """Catches 48 and 50 on one another, and a tick that is lost with its number."""
    axes = Figure(figsize=(6.4, 4)).subplots()
    places = [1, 2, 4, 8, 16, 32, 48, 50]
    axes.plot(places, places)
    axes.set_xscale("log")
    scales.spaced_ticks(axes, places, [str(one) for one in places])
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(n) for n in places[:-1]]
    assert axes.get_xticks(minor=True) == [50]
