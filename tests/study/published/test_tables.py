"""The published numbers."""

import pytest

from mecheval_jax.study.published.tables import NAMES, WIDTHS, Cell, published, published_accuracy


def test_numbers_of_the_study():
    """Catches a figure read for another, and options or depths that are mixed up."""

    def at(mixer, width, **where):
        return published_accuracy(Cell(mixer, width, **where))

    assert at("attention", 16, positions="learned") == 21 / 320
    assert at("mamba", 64) == 258 / 320
    assert at("mamba", 64, option="d_conv=2") == 291 / 320
    assert at("mamba", 256, layers=1) == 308 / 320
    assert at("mamba", 64, positions="learned") == pytest.approx(0.521875)
    assert at("based", 64, option="kernel=implicit") == 0.0375
    assert at("mamba", 256, task="ATR held-out", split="dev") == 0.98125
    assert at("mamba", 256, task="ATR held-out") == 0.65
    assert at("based", 256, task="AR reverse", layers=3) == 0.2
    assert at("h3", 64, task="ATR L=10 S=20") is None


def test_tables_are_whole():
    """Catches lines that were lost, an accuracy that is none of 320, a value without a source."""
    accuracies = published("accuracies")
    assert len(accuracies) == 694
    assert (accuracies["accuracy"] * 320 == accuracies["correct"]).all()
    assert set(accuracies["width"]) == set(WIDTHS)
    for name in NAMES:
        assert (published(name)["source"] != "").all()


def test_the_tables_agree_with_each_other():
    """Catches rates that were read into the wrong column."""
    rates = published("learning_rates")
    for (mixer, width), part in rates.groupby(["mixer", "width"]):
        positions = "learned" if mixer == "attention" else "none"
        exact = published_accuracy(Cell(mixer, width, positions=positions))
        assert part["accuracy"].max() == pytest.approx(exact, abs=0.021)
