"""Groups of the study, one after the other or as jobs."""

import dataclasses

import jax
import pytest

from configs.study import config_of
from mecheval_jax import machine
from mecheval_jax.command_line import REQUEUE
from mecheval_jax.errors import Interrupted, UserError
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder
from mecheval_jax.study import sweeping
from mecheval_jax.study.plans import StudyFolder
from mecheval_jax.study.results import table_of
from mecheval_jax.study.run import StudyRequest, run_study
from mecheval_jax.study.tables import write_table
from mecheval_jax.sweeps.launchers import JobEnd
from mecheval_jax.sweeps.run import SweepOutcome
from tests.support import small

BOTH = StudyRequest(
    only=("ar_two_layers", "ar_layers"), smoke=True, interventions="none", jobs_at_once=2
)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """Lets a machine of one core take two jobs, too."""
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)


def test_finished_groups_are_collected_once(tmp_path, monkeypatch):
    """Catches a report of the whole sweep for each group that was finished before."""
    collected, tabulated = [], []

    def collect(sweep, path, options, groups):
        collected.append(len(groups))
        return SweepOutcome({})

    monkeypatch.setattr(GroupFolder, "is_finished", lambda group, asked: True)
    monkeypatch.setattr(sweeping, "run_sweep", collect)
    monkeypatch.setattr(sweeping._Part, "tabulate", lambda self: tabulated.append(1))
    run_study(tmp_path / "work", StudyRequest(only=("ar_layers",)), config_of)
    assert (collected, tabulated) == ([14], [1])


@pytest.fixture
def jobs(monkeypatch):
    """Stands in for jobs: takes all commands at once, and ends each as `codes` says."""
    launched, codes = {}, {}

    def launch(commands, jobs, folder, say, stop):
        assert jobs.at_once == 2
        launched.update(commands)
        for name in launched:
            yield JobEnd(name, "1", codes.get(name.partition("_laptop")[0], 0), folder / "log")

    monkeypatch.setattr(sweeping, "launch_jobs", launch)
    return launched, codes


def test_a_job_trains_a_group_as_it_was_asked_for(tmp_path, jobs):
    """Catches a job of another group, scale or level, and one that judges the findings, too."""
    launched, _ = jobs
    tables = tmp_path / "theirs.csv"
    write_table(tables, table_of([]))
    request = dataclasses.replace(BOTH, scale="device", tables=(str(tables),))
    run_study(tmp_path / "work", request, config_of)
    first, second = launched
    assert first == "ar_two_layers_device_smoke/000_attention_width_16"
    assert second == "ar_layers_device_smoke/000_attention_width_16 (1 layer)"
    _, _, _, program, *given = launched[second]
    assert program == "study"
    # Tables are the parent's: it has decided what is trained.
    assert {*given} == {
        f"--workdir={tmp_path / 'work'}",
        "--scale=device",
        "--only=ar_layers",
        "--groups=000_attention_width_16",
        "--interventions=none",
        "--smoke=True",
        f"--cpu_devices={max(1, jax.device_count() // 2)}",
        "--train_only=True",
    }


def test_how_jobs_end(tmp_path, jobs, monkeypatch):
    """Catches a job whose failure nobody hears of, or takes the others with it."""
    _, codes = jobs
    codes["ar_two_layers"], observed = 1, []
    monkeypatch.setattr(sweeping, "observe", lambda clock, sweep, name: observed.append(sweep.name))
    outcome = run_study(tmp_path / "work", BOTH, config_of)
    (failed,) = outcome.failed.values()
    assert str(failed) == f"see {tmp_path / 'work' / 'jobs' / 'log'}"
    assert any("ar_two_layers_laptop_smoke/000" in line for line in outcome.not_run)
    assert observed == ["ar_layers_laptop_smoke"]
    assert len(outcome.judgements) == 30
    codes |= {"ar_two_layers": 0, "ar_layers": REQUEUE}
    with pytest.raises(Interrupted, match=r"preempted: ar_layers_laptop_smoke/000_attention"):
        run_study(tmp_path / "again", BOTH, config_of)


def test_groups_beyond_the_budget_are_no_jobs(tmp_path, jobs):
    """Catches a job that the budget leaves no time for."""
    launched, _ = jobs
    outcome = run_study(tmp_path / "work", dataclasses.replace(BOTH, budget=0.0), config_of)
    assert not launched
    assert sum("beyond the budget" in line for line in outcome.not_run) == 2


def test_what_jobs_cannot_be(tmp_path, monkeypatch):
    """Catches a mistake that is found once something was made."""
    with pytest.raises(UserError, match="--jobs_at_once is 0: at least 1"):
        StudyRequest(jobs_at_once=0)
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    with pytest.raises(UserError, match="of the cores of a CPU"):
        run_study(tmp_path / "work", BOTH, config_of)
    monkeypatch.setattr("jax.default_backend", lambda: "cpu")
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    with pytest.raises(UserError, match="--jobs_at_once=2: at most the 1 core here"):
        run_study(tmp_path / "work", BOTH, config_of)
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install submitit"):
        run_study(tmp_path / "work", BOTH, config_of)
    assert not (tmp_path / "work").exists()


def test_jobs_find_what_one_program_finds(tmp_path):
    """Catches jobs whose results nobody collects, or that differ from those of one program."""
    together, alone = StudyFolder(tmp_path / "together"), StudyFolder(tmp_path / "alone")
    outcome = run_study(together.path, BOTH, config_of)
    assert not outcome.failed
    run_study(alone.path, dataclasses.replace(BOTH, jobs_at_once=1), config_of)
    files = [path.name for path in alone.results.iterdir()]
    assert sorted(files) == [
        "SHA256SUMS", "ar_layers_laptop_smoke.csv", "ar_two_layers_laptop_smoke.csv",
    ]  # fmt: skip
    for folder in ("results", "."):
        for path in sorted((alone.path / folder).glob("*.*")):
            ours = together.path / folder / path.name
            assert ours.read_bytes() == path.read_bytes(), path.name
    assert not (alone.path / "jobs").exists()
    # The same again finds everything done.
    run_study(together.path, BOTH, config_of)
    assert len(list((together.path / "jobs").glob("*_log.out"))) == 2


def test_what_is_left_of_finished_groups(tmp_path, monkeypatch):
    """Catches a finished group that cannot be collected, of which nobody hears, and one of another
    experiment that counts as the same."""
    monkeypatch.setattr(GroupFolder, "is_finished", lambda group, asked: True)
    monkeypatch.setattr(sweeping._Part, "tabulate", lambda self: None)
    fail = lambda sweep, path, options, groups: SweepOutcome(
        {group.name: UserError("its checkpoint is damaged") for group in groups}
    )
    monkeypatch.setattr(sweeping, "run_sweep", fail)
    alone = dataclasses.replace(BOTH, jobs_at_once=1)
    outcome = run_study(tmp_path, alone, config_of)
    assert len(outcome.failed) == 2
    assert sum("its checkpoint is damaged" in line for line in outcome.not_run) == 2


def test_both_splits_of_a_group(tmp_path, monkeypatch):
    """Catches a group of another job that is measured, and one that failed."""
    measured, failed = [], {}
    monkeypatch.setattr(sweeping, "measure_seen", lambda group: measured.append(group.name))
    run = lambda *asked: SweepOutcome(failed)
    monkeypatch.setattr(sweeping, "run_sweep", run)
    monkeypatch.setattr(sweeping, "observe", lambda clock, sweep, name: None)
    monkeypatch.setattr(sweeping._Part, "tabulate", lambda self: None)
    name = "000_attention_width_16"
    request = StudyRequest(only=("atr_held_out",), smoke=True)
    group = StudyFolder(tmp_path).sweep("atr_held_out_laptop_smoke").group(name)
    group.make()
    run_study(tmp_path, request, config_of)
    assert measured == [name]
    with group.lock("training"):  # another program is at work on it
        outcome = run_study(tmp_path, request, config_of)
    assert measured == [name]
    assert len(outcome.failed) == 1
    failed[name] = UserError("no room")
    run_study(tmp_path, request, config_of)
    assert measured == [name]


def test_training_alone_writes_no_table(tmp_path):
    """Catches several commands that write the same tables and judgements at the same time."""
    request = StudyRequest(
        only=("ar_two_layers",), smoke=True, interventions="none", train_only=True
    )
    with StudyFolder(tmp_path).lock("study"):  # held by the command that started this one
        outcome = run_study(tmp_path, request, config_of)
    assert outcome.judgements == []
    assert not outcome.failed
    folder = StudyFolder(tmp_path)
    assert not folder.results.exists()
    assert not folder.report.exists()
    (group,) = folder.sweep("ar_two_layers_laptop_smoke").groups()
    assert group.is_finished("none")


def test_dev_documents_of_a_member_that_was_trained_anew(tmp_path, monkeypatch):
    """Catches shares on seen pairs that are of other parameters than those on held-out ones."""
    measured = []

    def intervene(path):
        RunFolder(path).update_summary(verdict="induction")
        measured.append(RunFolder(path).read_metrics()[0]["loss"])

    monkeypatch.setattr(sweeping.runs, "intervene", intervene)
    group = GroupFolder(tmp_path / "groups" / "mamba")
    member = RunFolder(group.member(0))
    for loss in (1.0, 1.0, 2.0):
        row = {"step": 1, "split": "train", "loss": loss, "accuracy": 0.5}
        member.open_as_member(small.experiment(), 0, 1, [row])
        member.update_summary(verdict="induction")
        sweeping.measure_seen(group)
    assert measured == [1.0, 2.0]
