"""Where a verdict looks, from the reaches that mixers declare."""

import dataclasses

import jax
import pytest

from mecheval_jax.evaluation.verdict.exchanges import SETS
from mecheval_jax.evaluation.verdict.places import (
    LOCAL,
    STREAM,
    judged,
    name_of_single,
    nearest,
    places_of,
    silent_layers,
)
from mecheval_jax.sites import ALL
from mecheval_jax.tasks.geometry import geometry
from tests.support import planted, treecall_cases

LENGTH = 40


def test_a_channel_mix_moves_a_pair_by_one_token():
    """Catches a cut behind RWKV-7's channel mix at which one position too few is exchanged."""
    config = planted.shape_of("rwkv7", layers=2)
    reach = {}
    for kind in ("mlp", "channel_mix"):
        changed = dataclasses.replace(config, feed_forward=kind)
        (cut,) = (place for place in places_of(changed, LENGTH) if place.kind == STREAM)
        reach[kind] = cut.reach
    assert reach == {"mlp": 1, "channel_mix": 2}


@pytest.mark.parametrize(
    ("mixer", "sites", "reach"),
    [
        ("attention", None, None),
        ("gla", None, None),
        ("lstm", None, None),
        ("mamba", "block_0/mixer/conv_output", 3),
        ("hyena", "block_0/mixer/conv_output", 2),
        ("h3", "block_0/mixer/shift_output", 13),
        ("delta_net", "block_0/mixer/q+k+v", 3),
        ("rwkv4", "block_0/mixer/k+v+r", 1),
        ("s4d", "block_0/mixer/filter_output", ALL),
    ],
)
def test_local_operations(mixer, sites, reach):
    """Catches keys without a convolution taken for convolved ones, and shifts that are missed."""
    config = planted.shape_of(mixer, layers=1)
    local = [place for place in places_of(config, LENGTH) if place.kind == LOCAL]
    assert [place.site for place in local] == ([] if sites is None else [sites])
    assert [place.reach for place in local] == ([] if sites is None else [reach])


def test_reaches_add_up():
    """Catches a pair that two layers have carried further than one of them reaches."""
    config = planted.shape_of("mamba,mamba,attention", layers=3, canon=3)
    found = {(p.kind, p.layer): p.reach for p in places_of(config, LENGTH)}
    assert found[LOCAL, 0] == 5  # two taps of canon before the four of the mixer
    assert (found[STREAM, 1], found[STREAM, 2]) == (5, 10)
    assert found[LOCAL, 2] == 12
    assert nearest(config, LENGTH) == 5
    attention = planted.shape_of("attention")
    assert [p.reach for p in places_of(attention, LENGTH) if p.kind == STREAM] == [1]


def test_a_mixer_that_reaches_further_than_the_document():
    """Catches a window as long as the document that leaves no document to judge."""
    config = planted.shape_of("sliding_window_attention", positions="none")
    found = {(p.kind, p.layer): p.reach for p in places_of(config, LENGTH)}
    assert found[STREAM, 1] == ALL
    assert nearest(config, LENGTH) == 0


@pytest.mark.parametrize("mixer", ["sliding_window_attention", "h3"])
def test_documents_that_are_much_shorter_than_the_limit(mixer):
    """Catches a window or shift taken for local, as it is short beside the longest of documents:
    no document of the usual length would have a question that it does not see."""
    task = treecall_cases.VARIANTS["medium"]
    options = {"window": 20} if mixer == "sliding_window_attention" else {"d_state": 20}
    config = dataclasses.replace(planted.shape_of(mixer), mixer_options=options)
    batch = task.sample(jax.random.key(0), 64, "dev")
    assert nearest(config, task.usual_length) == 0
    assert nearest(config, task.read_length) == 19
    pairs = geometry(task, batch)
    kept, without = judged(config, task, batch).applies, pairs.apart(19).applies
    assert kept.sum() == pairs.applies.sum() > 30 > without.sum()


def test_a_mixer_of_ones_own_that_does_not_say():
    """Catches a plug-in taken for one without local mixing: it is read at all positions."""
    config = planted.shape_of("tests.support.silent:Silent")
    assert silent_layers(config) == (0, 1)
    found = {(p.kind, p.layer): p.reach for p in places_of(config, LENGTH)}
    assert found[STREAM, 1] == ALL
    assert (LOCAL, 0) not in found


def test_names_of_single_positions():
    """Catches a value+2 that is counted from the key."""
    names = {}
    for reverse in (False, True):
        task = planted.task_with(reverse=reverse)
        batch = task.sample(jax.random.key(0), 8, "test")
        names[reverse] = [name_of_single(i, geometry(task, batch)) for i in range(4)]
    assert names[False] == ["value", "next_key", "value+2", "value+3"]
    assert names[True] == ["key", "key+1", "key+2", "key+3"]


def test_a_single_position_is_never_called_like_a_set():
    """Catches the later token alone taken for all of the pair, where either order occurs."""
    task = planted.task_with()
    found = geometry(task, task.sample(jax.random.key(0), 8, "test"))
    either = found.replace(value_last=found.value_last.at[::2].set(False))
    names = [name_of_single(i, either) for i in range(4)]
    assert names == ["pair+0", "pair+1", "pair+2", "pair+3"]
    assert not set(names) & {name for of_kind in SETS.values() for name in of_kind}
