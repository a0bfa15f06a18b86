"""How groups of the study are named on pages."""

import pytest

from configs.study import config_of
from mecheval_jax.study.group_names import listed, named, peculiarities, plain
from mecheval_jax.sweeps.plan import plan


def groups_of(name):
    module = config_of(name)
    return plan(module.get_config(), module.runs("laptop")).groups


@pytest.mark.parametrize(
    "name",
    ["ar_layers", "ar_positions", "atr_languages", "atr_positions", "based_kernels", "mamba_taps"],
)
def test_no_two_groups_have_one_name(name):
    """Catches a group of which nobody can tell what is trained in it."""
    groups = groups_of(name)
    words = peculiarities(groups)
    told = {(group.name.partition("_")[2], *words[group.name]) for group in groups}
    assert len(told) == len(groups)


def test_names_may_be_copied_from_a_plan():
    """Catches a name that was printed and is refused, and one that a comma cuts in two."""
    printed = ["000_mamba_width_64 (3 layers", " d_conv=6)", "001_based_width_32"]
    assert plain(printed) == ("000_mamba_width_64", "001_based_width_32")
    assert plain([]) == ()


def test_names():
    """Catches what is peculiar left out, and what is usual or common to all said of each."""
    depths, taps, siblings = map(groups_of, ("ar_layers", "mamba_taps", "atr_siblings"))
    assert named(depths)["000_attention_width_64"] == "000_attention_width_64 (1 layer)"
    assert listed(depths[:2], depths) == (
        "000_attention_width_64 (1 layer), 001_attention_width_64 (3 layers)"
    )
    assert listed(depths[:3:2], depths) == "1 layer: 000_attention_width_64, 002_based_width_64"
    assert listed(taps[:1], taps) == "d_conv=2: 000_mamba_width_64"
    # What is usual is said where other groups of the sweep have something else.
    assert listed(siblings[1:2], siblings) == "ATR siblings, 2 layers: 001_attention_width_64"
    usual = groups_of("ar_two_layers")
    assert listed(usual[:1], usual) == "000_attention_width_64"
    assert [*named(usual).values()] == [group.name for group in usual]
    without = [name for name in named(groups_of("ar_positions")).values() if "attention" in name]
    assert without == ["000_attention_width_64 (positions none)"]
