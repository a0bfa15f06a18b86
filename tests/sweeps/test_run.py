"""Whole sweeps: which groups are run, again or not at all; their tables."""

import json
import os
import shutil
import signal
import traceback
import weakref

import numpy as np
import pandas as pd
import pytest

from configs import treecall
from mecheval_jax import runs
from mecheval_jax.errors import Interrupted, UserError
from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.reporting.html import report
from mecheval_jax.store.sweep_folder import GroupStatus, SweepFolder
from mecheval_jax.sweeps import group as groups
from mecheval_jax.sweeps import run as sweeps
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.launchers import Jobs
from mecheval_jax.sweeps.plan import open_folder, plan
from mecheval_jax.training.preemption import Preemption
from tests.support.whole_sweeps import BASE, CHANGES, run


def failing(times, error=RuntimeError):
    calls = []

    def task():
        calls.append(len(calls))
        if len(calls) <= times:
            raise error("out of\nmemory")

    return task, calls


def test_retries():
    """Catches one try too many or too few, and failures that nobody hears of."""
    said = []
    task, calls = failing(2)
    assert sweeps.run_with_retries("g1", task, 2, said.append) is None
    assert len(calls) == 3
    assert said == [
        "g1 failed (RuntimeError: out of memory); 2 retries left",
        "g1 failed (RuntimeError: out of memory); 1 retry left",
    ]
    task, calls = failing(9)
    error = sweeps.run_with_retries("g1", task, 1, said.append)
    assert isinstance(error, RuntimeError)
    assert len(calls) == 2
    with pytest.raises(UserError, match="retries are -1"):
        sweeps.run_with_retries("g1", task, -1, said.append)


@pytest.mark.parametrize("kind", [RuntimeError, UserError])
def test_an_error_holds_nothing_of_its_group(kind):
    """Catches parameters of a group that failed, left on the devices while the others train."""
    held = []

    class Arrays:
        pass

    def train():
        arrays = Arrays()
        held.append(weakref.ref(arrays))
        raise ValueError("out of luck")

    def task():
        try:
            train()
        except ValueError as error:
            raise kind("out of luck") from error

    error = sweeps.run_with_retries("g1", task, 0, lambda line: None)
    assert [found() for found in held] == [None]
    assert "in task" in "".join(traceback.format_exception(error))


def test_what_is_not_retried():
    """Catches a user's mistake made again, and a preempted program that goes on."""
    said = []
    task, calls = failing(9, UserError)
    assert isinstance(sweeps.run_with_retries("g1", task, 3, said.append), UserError)
    assert len(calls) == 1
    for error in (Interrupted, KeyboardInterrupt, SystemExit):
        task, calls = failing(9, error)
        with pytest.raises(error):
            sweeps.run_with_retries("g1", task, 3, said.append)
        assert len(calls) == 1


def test_members_can_be_looked_at_as_runs(finished, tmp_path):
    """Catches a member that other programs cannot read."""
    path = tmp_path / "copy"
    shutil.copytree(finished.path, path)
    (ours,) = path.glob("groups/*/members/0001")
    assert runs.kept_steps(ours) == [10, 20]
    early = runs.load(ours, 10)
    assert early.step == 10
    table, verdict = runs.intervene(ours, sites=["block_0/mixer_output"])
    assert verdict is not None
    assert set(table["site"]) == {"block_0/mixer_output"}
    assert report.write([str(ours)], str(tmp_path / "report")).exists()


def test_a_member_is_not_trained_on_its_own(finished, tmp_path):
    """Catches a run that takes the group's checkpoints for its own, and sets them aside."""
    path = tmp_path / "copy"
    shutil.copytree(finished.path, path)
    (diverged,) = path.glob("groups/*/members/0004")
    experiment = runs.RunFolder(diverged).experiment()
    with pytest.raises(UserError, match="is a member of a sweep, which trains it"):
        runs.train(experiment, diverged)
    assert runs.kept_steps(diverged) == [10, 20]
    assert runs.load(diverged).experiment == experiment


def test_tables(finished):
    """Catches a member or metric that is missing, and a best that was chosen on test documents."""
    table = pd.read_csv(finished.table)
    assert set(table["member"]) == set(range(6))
    assert table.groupby("member")["metric"].nunique().nunique() == 1
    assert not table.duplicated(["member", "metric"]).any()
    value = table.pivot(index="member", columns="metric", values="value")
    known = value.drop(columns=["diverged_at", "stopped_at"])
    assert np.isfinite(known.drop(index=4).to_numpy()).all()
    assert known.loc[4, ["dev_accuracy", "dev_loss"]].isna().all()
    assert value["diverged_at"].notna().tolist() == [False] * 4 + [True, False]
    assert value["step"].tolist() == [20, 20, 20, 20, value["diverged_at"][4], 10]
    assert set(table[table["metric"] == "verdict"]["label"]) <= set(CLASSES)

    best = pd.read_csv(finished.best)
    assert len(best) == 2
    rows = [json.loads(line) for f in finished.groups() for line in f.metrics.open()]
    last = {r["member"]: r for r in rows if r["split"] == "dev"}
    chosen = max(
        range(5), key=lambda m: (last[m]["accuracy"], -last[m]["loss"]) if m in last else (-1, 0)
    )
    assert best["member"].tolist() == [chosen, 5]
    assert best["accuracy"][0] == value["accuracy"][chosen]

    success = pd.read_csv(finished.success)
    over = success[success["threshold"] == 0.5].groupby(["width", "over"])["members"].apply(list)
    assert over[16, "all"] == [5]
    assert over[16, "seeds"] == [2, 2, 1]
    assert over[16, "learning_rates"] == [3, 2]
    for row in success.itertuples():
        assert row.low <= row.value <= row.high


def test_a_finished_group_is_skipped(finished, capsys):
    """Catches groups that are trained or evaluated again."""
    before = finished.table.read_bytes()
    left = finished.groups()[0].path / "lock-training"
    left.touch()  # of a program that was killed when it had finished the group
    run(finished.path)
    assert not left.exists()
    said = capsys.readouterr().err
    assert said.count("finished before, skipped") == 2
    assert finished.table.read_bytes() == before
    assert [group.read_status().attempts for group in finished.groups()] == [1, 1]


def test_a_workdir_of_another_sweep(finished):
    """Catches members of two sweeps in one table."""
    with pytest.raises(UserError, match="another sweep"):
        run(finished.path, CHANGES[:-1])


def fails(times, error):
    """`conclude` that fails at first."""
    original = groups._GroupRun.conclude
    left = [times]

    def conclude(self, members):
        if left[0]:
            left[0] -= 1
            raise error
        original(self, members)

    return conclude


def test_a_group_that_fails_is_run_again(finished, tmp_path, monkeypatch, capsys):
    """Catches a failure that ends the sweep, one that is retried from the start, or for ever."""
    monkeypatch.setattr(groups._GroupRun, "conclude", fails(1, RuntimeError("out of luck")))
    outcome = run(tmp_path / "again", retries=1)
    assert not outcome.failed
    assert "out of luck" in capsys.readouterr().err
    again = SweepFolder(tmp_path / "again")
    assert again.table.read_bytes() == finished.table.read_bytes()
    assert [group.read_status().attempts for group in again.groups()] == [2, 1]

    monkeypatch.setattr(groups._GroupRun, "conclude", fails(2, RuntimeError("out of luck")))
    outcome = run(tmp_path / "failed", retries=1)
    assert {name: str(error) for name, error in outcome.failed.items()} == {
        "000_attention_width_16": "out of luck"
    }
    status = SweepFolder(tmp_path / "failed").groups()[0].read_status()
    assert (status.state, status.error) == ("failed", "out of luck")
    with pytest.raises(SystemExit) as ended:
        sweeps.report_failures(outcome)
    assert ended.value.code == 1


def test_a_sweep_that_is_moved_away(tmp_path, monkeypatch):
    """Catches groups that are trained from nothing where the folder was, and cannot go on there."""
    began = []

    def moved(plan, own, *others):
        began.append(plan.name)
        (tmp_path / "here").rename(tmp_path / "there")
        raise UserError("the folder is gone")

    monkeypatch.setattr(sweeps, "run_group", moved)
    with pytest.raises(UserError, match="the folder is gone"):
        run(tmp_path / "here")
    assert len(began) == 1
    assert not (tmp_path / "here").exists()


def test_preemption(tmp_path, monkeypatch):
    """Catches a group that trains on after SIGTERM, or is retried as if it had failed."""
    asked = []

    def requested(self):
        asked.append(1)
        return len(asked) in (1, 3, 7)

    monkeypatch.setattr(Preemption, "requested", requested)
    for when, message, state, step in (
        ("between two groups", "stopped; the same", "waiting", 0),
        ("while the strategy is chosen", "stopped; the same", "preempted", 0),
        ("at the second stop", "the checkpoint of step 10 is saved", "preempted", 10),
    ):
        with pytest.raises(Interrupted, match=message):
            run(tmp_path / "sweep")
        status = SweepFolder(tmp_path / "sweep").groups()[0].read_status()
        assert (status.state, status.step) == (state, step), when
    assert status.attempts == 2


def test_a_signal_after_the_last_group_was_trained(finished, tmp_path, monkeypatch):
    """Catches a study that trains its next group after SIGTERM, as the last one was measured."""
    shutil.copytree(finished.path, tmp_path / "sweep")
    write = sweeps.write_sweep_report

    def write_report(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        write(*arguments)

    monkeypatch.setattr(sweeps, "write_sweep_report", write_report)
    with pytest.raises(Interrupted, match="the same command resumes"):
        run(tmp_path / "sweep")
    folder = SweepFolder(tmp_path / "sweep")
    assert folder.table.read_bytes() == finished.table.read_bytes()


def test_time_that_is_over_when_all_is_trained(finished, tmp_path, monkeypatch):
    """Catches a finished sweep that is said to have run out of time."""
    shutil.copytree(finished.path, tmp_path / "sweep")
    write = sweeps.write_sweep_report

    def write_report(*arguments):
        write(*arguments)
        monkeypatch.setattr(Preemption, "_is_over", True)

    monkeypatch.setattr(sweeps, "write_sweep_report", write_report)
    assert not run(tmp_path / "sweep").failed


def test_a_shard_that_ends_while_tables_are_written(finished, tmp_path, monkeypatch):
    """Catches tables of the last shard that one before it overwrites with less."""
    shutil.copytree(finished.path, tmp_path / "sweep")
    folder = SweepFolder(tmp_path / "sweep")
    late = folder.groups()[1].table
    text = late.read_text()
    late.unlink()
    write = sweeps.write_sweep_report

    def write_report(*arguments):
        late.write_text(text)
        write(*arguments)

    monkeypatch.setattr(sweeps, "write_sweep_report", write_report)
    assert sweeps.collect(folder) == 6
    assert folder.table.read_bytes() == finished.table.read_bytes()


def test_shards_share_the_groups(finished, tmp_path):
    """Catches groups that nobody runs, or two."""
    for i in (0, 1):
        groups = plan(BASE, CHANGES).chosen(None, (i, 2))
        outcome = run(tmp_path / "sweep", groups=groups)
        assert len(groups) == 1
        assert not outcome.failed
    again = SweepFolder(tmp_path / "sweep")
    assert again.table.read_bytes() == finished.table.read_bytes()


def test_one_program_a_group(tmp_path):
    """Catches two programs that write the same files, and a lock that outlives its holder."""
    folder = SweepFolder(tmp_path / "sweep")
    open_folder(folder, plan(BASE, CHANGES[:2]))
    (group,) = folder.groups()
    with group.lock("training"):
        group.write_status(GroupStatus("running"))
        before = group.status.read_bytes()
        outcome = run(folder.path, CHANGES[:2], Options("vmap", interventions="none"))
        assert isinstance(outcome.error, UserError)
        assert "000_attention_width_16 is being worked on by another program" in str(outcome.error)
        assert group.status.read_bytes() == before
    outcome = run(folder.path, CHANGES[:2], Options("vmap", interventions="none"))
    assert not outcome.failed


def test_a_damaged_status_costs_nothing(tmp_path, capsys):
    """Catches a sweep that ends because a file of its progress was cut off."""
    group = SweepFolder(tmp_path).group("000_attention")
    group.path.mkdir(parents=True)
    group.status.write_text('{"state": "runn')
    assert sweeps._status_of(group).state == group.read_status().state == "waiting"
    assert "status.json is damaged" in capsys.readouterr().err


def test_a_finished_group_whose_checkpoint_is_damaged(finished, tmp_path, capsys):
    """Catches a group that counts as finished for ever, and whose members nobody can read."""
    shutil.copytree(finished.path, tmp_path / "sweep")
    folder = SweepFolder(tmp_path / "sweep")
    (group, *_) = folder.groups()
    largest = max(group.checkpoints.glob("20/**/*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"x" + largest.read_bytes()[1:])
    assert not run(folder.path).failed
    assert "the checkpoint of step 20 is damaged" in capsys.readouterr().err
    assert runs.load(group.member(0)).step == 20
    assert folder.table.read_bytes() == finished.table.read_bytes()


def test_what_is_known_from_the_config_alone_is_checked_first(tmp_path, monkeypatch):
    """Catches a folder that is made, and a job that waits in a queue, for a mistake."""
    sweep = plan(treecall.get_config("smoke=True").to_dict(), [{}])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    for jobs in (Jobs("none"), Jobs("local")):
        with pytest.raises(UserError, match="'scan' cannot compute documents that the host draws"):
            sweeps.launch_sweep(sweep, tmp_path / "sweep", Options("scan"), jobs)
    assert not (tmp_path / "sweep").exists()


def test_how_failures_end(capsys):
    """Catches faults that pass for a mistake, and groups that nobody hears of."""
    mistake, fault = UserError("no room"), RuntimeError("see log")
    sweeps.report_failures(sweeps.SweepOutcome({}))
    with pytest.raises(UserError, match="no room"):
        sweeps.report_failures(sweeps.SweepOutcome({"a": mistake}))
    assert capsys.readouterr().err == ""
    for failed, said in (
        ({"a": mistake, "b": fault}, "error: 2 groups failed: a, b"),
        ({"b": fault}, "error: 1 group failed: b"),
    ):
        with pytest.raises(SystemExit) as end:
            sweeps.report_failures(sweeps.SweepOutcome(failed))
        assert end.value.code == 1
        assert said in capsys.readouterr().err
