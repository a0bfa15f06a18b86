"""Which runs a study has at a scale, and which of them are left."""

import pytest

from configs.study import config_of
from mecheval_jax.errors import UserError
from mecheval_jax.study import tables
from mecheval_jax.study.experiments import EXPERIMENTS
from mecheval_jax.study.plans import StudyFolder, experiments_at
from mecheval_jax.study.results import table_of
from mecheval_jax.study.timing import Clock
from mecheval_jax.sweeps.plan import open_folder


def part_of(name, smoke=False):
    (part,) = experiments_at("laptop", smoke, config_of, Clock(2), (name,))
    return part


def hashes_of(sweep):
    return {*tables.hashes_of(sweep.groups)}


def left_of(part, folder, rows, measured="none"):
    """The sweep of what tables leave."""
    return part.left(folder, part.known_members(rows, measured))


def rows_of(hashes, verdict=None):
    """Rows of members of which nothing but a verdict is known."""
    return table_of([{"config_hash": name, "verdict": verdict} for name in hashes])


def test_parts_are_in_the_order_of_the_experiments():
    """Catches an experiment that is left out of a rehearsal, and one with more than a member."""
    parts = experiments_at("laptop", True, config_of, Clock(2))
    assert [part.experiment for part in parts] == list(EXPERIMENTS)
    assert [len(part.wanted) for part in parts] == [1] * len(parts)
    assert {part.name for part in parts} == {f"{one.name}_laptop_smoke" for one in EXPERIMENTS}


def test_the_member_that_is_not_known_is_left():
    """Catches hashes in the order of the groups, by which the wrong members would be left out."""
    part = part_of("ar_rates")
    for name in part.wanted:
        known = rows_of({*part.wanted} - {name})
        assert hashes_of(left_of(part, StudyFolder("nowhere"), known)) == {name}


def test_what_is_known_is_not_left(tmp_path):
    """Catches members that are trained twice, and a sweep of none."""
    part, folder = part_of("ar_two_layers"), StudyFolder(tmp_path)
    assert hashes_of(left_of(part, folder, rows_of(()))) == {*part.wanted}
    first, *others = part.wanted
    assert hashes_of(left_of(part, folder, rows_of((first, "another")))) == {*others}
    assert left_of(part, folder, rows_of(part.wanted)) is None
    # Trained, but not measured.
    assert hashes_of(left_of(part, folder, rows_of(part.wanted), "full")) == {*part.wanted}


def test_both_splits_are_known_or_the_member_is_not():
    """Catches a member of which the study's own comparison of splits is never measured."""
    part, folder = part_of("atr_held_out"), StudyFolder("nowhere")
    test, both = rows_of(part.wanted, "not_learned"), (*part.wanted, *part.seen)
    assert hashes_of(left_of(part, folder, test, "full")) == {*part.wanted}
    assert left_of(part, folder, rows_of(both, "not_learned"), "full") is None
    assert left_of(part, folder, test) is None


def test_a_sweep_that_was_begun_keeps_its_members(tmp_path):
    """Catches a sweep whose members change, since some of them are known by now."""
    part, folder = part_of("ar_two_layers", smoke=True), StudyFolder(tmp_path)
    begun = left_of(part, folder, rows_of(()))
    assert [group.cost for group in begun.groups] == [8]
    open_folder(folder.sweep(part.name), begun)
    assert hashes_of(left_of(part, folder, rows_of(part.wanted))) == {*part.wanted}


def test_a_sweep_of_another_version(tmp_path):
    """Catches members that are not of the experiment and would be judged with it."""
    part, folder = part_of("ar_two_layers"), StudyFolder(tmp_path)
    theirs = left_of(part_of("ar_two_layers", smoke=True), folder, rows_of(()))
    open_folder(folder.sweep(part.name), theirs)
    with pytest.raises(UserError, match="made by another version"):
        left_of(part, folder, rows_of(()))


def test_dev_documents_are_beside_the_others_where_they_are_asked_for():
    """Catches a split that is measured twice, and one whose results count for the other."""
    part = part_of("atr_held_out", smoke=True)
    assert len(part.seen) == len(part.wanted)
    assert not set(part.seen) & set(part.wanted)
    assert part_of("ar_layers", smoke=True).seen == ()
