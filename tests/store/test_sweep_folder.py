"""Files of a sweep that are damaged are refused by name."""

import concurrent.futures
import json
import threading
import time

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.store import sweep_folder
from mecheval_jax.store.run_folder import write_json
from mecheval_jax.store.status import read_overview
from mecheval_jax.store.sweep_folder import SweepFolder
from tests.support import small
from tests.support.sweep_standing import make_standing


@pytest.fixture
def sweep(tmp_path):
    return make_standing(tmp_path / "sweep")


def test_a_status_that_is_damaged(sweep):
    """Catches a traceback."""
    group = sweep.group("g1")
    right = json.loads(group.status.read_text())
    for wrong, message in (
        ({"updated": ""}, r"status\.json is damaged: updated is ''"),
        ({"step": "a"}, r"status\.json is damaged: step is 'a'"),
        ({"rate": None}, r"status\.json is damaged: rate is None"),
        ({"measured": "all"}, r"measured is 'all', and not one of full, none, verdict"),
    ):
        write_json(group.status, right | wrong)
        with pytest.raises(UserError, match=message):
            group.read_status()


def test_a_sweep_that_is_damaged(sweep):
    """Catches a traceback."""
    right = json.loads(sweep.sweep.read_text())
    group = {"name": 3, "title": "x", "members": 5}
    elsewhere = {"name": "../../x", "title": "x", "members": [0]}
    for wrong in (
        {"base": {}},
        {"groups": [{}]},
        {"groups": []},
        {"groups": [group]},
        {"members": [3]},
        {"groups": [elsewhere]},
        {"groups": [elsewhere | {"name": "x", "members": [100]}]},
    ):
        write_json(sweep.sweep, right | wrong)
        with pytest.raises(UserError, match=r"sweep\.json is damaged: "):
            read_overview(sweep.path)


def test_two_sweeps_that_begin_at_once(sweep, tmp_path, monkeypatch):
    """Catches groups of one sweep that are trained in the folder of another."""
    first = sweep.read()
    other = {**first, "members": [{**one, "training.seed": 77} for one in first["members"]]}
    experiment = small.experiment()
    folder, both = SweepFolder(tmp_path / "new"), threading.Barrier(2)

    def slow(*arguments, **options):
        time.sleep(0.3)  # as long as it takes to ask for the commit
        return {}

    def begin(content):
        both.wait()
        return folder.open(content, experiment)

    monkeypatch.setattr(sweep_folder, "provenance", slow)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        found = list(threads.map(begin, [first, other]))
    assert found[0] == found[1] == folder.read()


def test_where_files_lie_by_now(sweep):
    """Catches another field of the sweep that is changed with it, and a file that is written again
    though nothing has moved."""
    before, written = sweep.read(), sweep.sweep.stat().st_mtime_ns
    sweep.note_places(before)
    assert sweep.sweep.stat().st_mtime_ns == written
    task = before["base"]["task"] | {"path": "/elsewhere"}
    members = [{**one, "task.path": "/there"} for one in before["members"]]
    groups = [{**one, "title": "/there"} for one in before["groups"]]
    places = {"members": members, "hashes": ["x"] * len(members), "groups": groups}
    sweep.note_places(places | {"base": {"task": task}})
    assert sweep.read() == before | places | {"base": before["base"] | {"task": task}}
