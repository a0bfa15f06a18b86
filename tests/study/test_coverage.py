"""How much of the study has been run."""

import dataclasses

import pytest

from configs.study import config_of
from mecheval_jax.study.coverage import EVERY, coverage_of
from mecheval_jax.study.plans import experiments_at
from mecheval_jax.study.results import table_of
from mecheval_jax.study.timing import Clock


@pytest.fixture(scope="module")
def parts():
    return experiments_at("laptop", False, config_of, Clock(1), ("ar_two_layers", "ar_seeds"))


def rows_of(hashes):
    return table_of([{"config_hash": name, "split": "test"} for name in hashes])


def test_members_of_every_experiment_are_counted(parts):
    """Catches an experiment that counts as begun and is nowhere, members that are counted by the
    table in which they stand, and shared ones that are counted twice."""
    main, seeds = parts
    shared = main.wanted[:2]
    seeds = dataclasses.replace(seeds, wanted=(*shared, *seeds.wanted))
    found = coverage_of([main, seeds], rows_of([*main.wanted, "of another scale"]))
    assert [one.name for one in found.experiments] == ["ar_two_layers", "ar_seeds"]
    assert [(one.there, one.lacking) for one in found.experiments] == [
        (len(main.wanted), 0),
        (len(shared), len(seeds.wanted) - len(shared)),
    ]
    lacking = len(seeds.wanted) - len(shared)
    assert (found.every.there, found.every.lacking) == (len(main.wanted), lacking)
    assert f"at the scale laptop {len(main.wanted)} have a row" in found.sentence
    first, second, last = found.lines
    assert first[3].startswith("1, 2, 3,")
    assert second[3] == "none"
    assert last == (EVERY, str(len(main.wanted)), str(lacking), "")


def test_nothing_was_run(parts):
    """Catches an experiment without a single run that is left out, and an error without any."""
    found = coverage_of(parts, rows_of([]))
    assert [one.there for one in found.experiments] == [0, 0]
    assert coverage_of([], rows_of([])) is None
