"""Estimates of how long members take."""

import pytest

from mecheval_jax.study.timing import ACCELERATOR, Clock, stated
from tests.support import small


def one(mixer, width=64):
    return small.experiment({"model.mixer": mixer, "model.width": width})


def test_stated_times():
    """Catches times of another mixer, and a width that costs nothing."""
    assert stated(one("mamba")) > stated(one("attention"))
    assert stated(one("mamba", 128)) > stated(one("mamba"))


def test_measured_times_count_more():
    """Catches an estimate that ignores what was measured, or its number of devices."""
    clock = Clock(devices=2)
    before = clock.seconds(one("mamba"), 100)
    assert before == pytest.approx(50 * stated(one("mamba")))
    clock.observe(one("mamba"), 100, 3 * before)
    assert clock.seconds(one("mamba", 128), 100) == pytest.approx(
        3 * 50 * stated(one("mamba", 128))
    )
    assert clock.seconds(one("based"), 100) == pytest.approx(3 * 50 * stated(one("based")))
    clock.observe(one("based"), 0, 5.0)  # nothing was trained
    assert clock.seconds(one("based"), 100) == pytest.approx(3 * 50 * stated(one("based")))
    assert Clock(accelerator=True).seconds(one("based"), 1) == ACCELERATOR * stated(one("based"))
