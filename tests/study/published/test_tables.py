"""The published numbers."""

import pytest

from configs.study import ar_two_layers
from mecheval_jax.study.published.tables import (
    NAMES,
    WIDTHS,
    GridCell,
    published,
    published_accuracy,
    published_beside,
    published_shares,
)


def test_numbers_of_the_study():
    """Catches a figure read for another, and options or depths that are mixed up."""

    def at(mixer, width, **where):
        return published_accuracy(GridCell(mixer, width, **where))

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


def test_what_a_run_is_compared_with():
    """Catches the number of other positions or options, and of a model that the study has not."""
    config = ar_two_layers.get_config("mixer=mamba").to_dict()

    def beside(**model):
        return published_beside(config["task"], config["model"] | model)

    assert beside() == beside(mixer_options={"d_conv": 4}) == 258 / 320
    assert beside(mixer_options={"d_conv": 2}) == 291 / 320
    assert beside(positions="learned") == pytest.approx(0.521875)
    assert beside(mixer="attention", positions="none") == pytest.approx(29 / 320)
    assert beside(positions="rotary") is None
    assert beside(canon=4) is beside(feed_forward="glu") is beside(dtype="bfloat16") is None
    assert published_beside(config["task"] | {"pairs": 8}, config["model"]) is None


def test_tables_are_whole():
    """Catches lines that were lost, an accuracy that is none of 320, a value without a source."""
    accuracies = published("accuracies")
    assert len(accuracies) == 694
    assert (accuracies["accuracy"] * 320 == accuracies["correct"]).all()
    assert set(accuracies["width"]) == set(WIDTHS)
    for name in NAMES:
        assert (published(name)["source"] != "").all()


def test_restored_shares():
    """Catches quartiles taken for a range, a place for another, and numbers that are not there."""
    atr = published_shares(("ATR L=5 S=20", 2, "attention", ""), "block_1/block_input", "value")
    assert (atr.median, atr.low, atr.high) == (1.02, 0.67, 1.06)
    assert atr.ends == (1.02, 1.02)
    mamba, site = ("AR", 2, "mamba", ""), "block_1/block_input"
    assert published_shares(mamba, site, "query").ends == (0.007, 1.0)
    assert published_shares(mamba, site, "key").ends == (0.0, 0.954)  # all runs, and not their half
    written = published_shares(("AR", 3, "based", ""), "block_2/mixer_output", "query")
    assert (written.median, written.low, written.high) == (0.09, 0.04, 0.3)
    exact = published_shares(("AR", 2, "based", ""), "block_1/mixer_output", "query")
    assert (exact.low, exact.high) == (1.0, 1.0)
    assert published_shares(("AR", 2, "delta_net", ""), site, "query") is None
    # The corrupted value, the best runs alone and restored probabilities are other numbers.
    assert published_shares(("AR", 2, "attention", ""), site, "value").ends == (0.994, 1.02)
    assert published_shares(("AR", 2, "h3", ""), site, "value") is None
    reverse = "AR reverse", 3, "attention", ""
    assert published_shares(reverse, site, "value").ends == (0.0, 0.0)
    assert published_shares(reverse, site, "key") is None


def test_the_tables_agree_with_each_other():
    """Catches rates that were read into the wrong column."""
    rates = published("learning_rates")
    for (mixer, width), part in rates.groupby(["mixer", "width"]):
        positions = "learned" if mixer == "attention" else "none"
        exact = published_accuracy(GridCell(mixer, width, positions=positions))
        assert part["accuracy"].max() == pytest.approx(exact, abs=0.021)
