"""`launch.study`, with tiny runs."""

import json
import re
import shutil

import pytest

from configs.study import config_of
from mecheval_jax.errors import UserError
from mecheval_jax.store.sweep_folder import GroupFolder
from mecheval_jax.study.experiments import EXPERIMENTS
from mecheval_jax.study.plans import StudyFolder, experiments_at
from mecheval_jax.study.results import config_values, table_of
from mecheval_jax.study.run import StudyRequest, run_study
from mecheval_jax.study.tables import read_table, write_table
from mecheval_jax.study.timing import Clock
from mecheval_jax.sweeps.plan import open_folder
from tests.support import forked

ONE = {"only": ("ar_two_layers",), "smoke": True, "interventions": "none"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "work"
    outcome = run_study(path, StudyRequest("laptop", **ONE), config_of)
    return StudyFolder(path), outcome


def files(folder):
    """All that is found: tables, judgements, figures and pages."""
    return {
        path.relative_to(folder.path): path.read_bytes()
        for path in folder.path.rglob("*.*")
        if "sweeps" not in path.relative_to(folder.path).parts
    }


def test_one_experiment(finished):
    """Catches tables or pages that are missing, and runs that count though they are tiny."""
    folder, outcome = finished
    assert len(outcome.judgements) == 30
    assert len(outcome.not_run) == len(EXPERIMENTS) - 1
    page, report = (folder.path / "results.md").read_text(), folder.report.read_text()
    assert "| ar_two_layers | 1 | 0 | 1, 2, 3, " in page
    assert "| ar_layers | 0 | 1 | 8, 9, 10, 27 |" in page
    assert "<td>ar_layers</td><td>0</td><td>1</td><td>8, 9, 10, 27</td>" in report
    assert not outcome.failed
    known = folder.known()
    assert list(known["mixer"]) == ["attention"]
    assert list(known["width"]) == [16]
    rows = json.loads(folder.findings_json.read_text())
    assert [row["finding"] for row in rows] == list(range(1, 31))


def test_the_same_again_and_at_another_scale(finished, capfd):
    """Catches members that are trained twice, and files that change when nothing did."""
    folder, _ = finished
    before = files(folder)
    run_study(folder.path, StudyRequest("laptop", **ONE), config_of)
    assert files(folder) == before
    capfd.readouterr()
    # The same member is the first at this scale, too: nothing is left to train.
    run_study(folder.path, StudyRequest("device", **ONE), config_of)
    assert "ar_two_layers_device_smoke: 0 of 1 members to train" in capfd.readouterr().err
    assert not folder.sweep("ar_two_layers_device_smoke").path.exists()


def test_other_runs_are_not_mixed_in(finished):
    """Catches results of tiny runs among those of the study."""
    folder, _ = finished
    outcome = run_study(
        folder.path, StudyRequest("laptop", only=("ar_two_layers",), budget=0), config_of
    )
    assert {one.verdict for one in outcome.judgements} == {"not run"}
    assert sum("beyond the budget" in line for line in outcome.not_run) == 14
    assert not folder.table("ar_two_layers_laptop").exists()


def test_results_from_elsewhere(finished, tmp_path, capfd):
    """Catches a table whose members are trained again all the same."""
    folder, _ = finished
    table = str(folder.table("ar_two_layers_laptop_smoke"))
    run_study(tmp_path / "new", StudyRequest("laptop", tables=(table,), **ONE), config_of)
    assert "0 of 1 members to train" in capfd.readouterr().err


def test_results_from_elsewhere_of_a_sweep_that_has_begun(tmp_path, capfd):
    """Catches a group that is trained though another machine has finished it meanwhile."""
    folder = StudyFolder(tmp_path / "work")
    (part,) = experiments_at("laptop", False, config_of, Clock(2), ("ar_layers",))
    sweep = part.left(folder, set())
    open_folder(folder.sweep(part.name), sweep)
    theirs = tmp_path / "theirs.csv"
    known = [config_values(one) for one in sweep.groups[0].experiments]
    write_table(theirs, table_of([row | {"diverged_at": 1} for row in known]))
    asked = {"only": ("ar_layers",), "interventions": "none", "tables": (str(theirs),)}
    outcome = run_study(folder.path, StudyRequest(budget=0, **asked), config_of)
    assert "to train in 13 groups" in capfd.readouterr().err
    told = [line for line in outcome.not_run if line.startswith("ar_layers")]
    assert len(told) == 13
    assert not any(sweep.groups[0].name in line for line in told)


def test_results_from_elsewhere_that_are_others(finished, tmp_path):
    """Catches a study that cannot be judged any more, since a member was trained here and there,
    and one that is judged by either of two numbers."""
    folder, _ = finished
    copy, theirs = StudyFolder(tmp_path / "work"), tmp_path / "theirs.csv"
    shutil.copytree(folder.path, copy.path)
    name = "ar_two_layers_laptop_smoke"
    write_table(theirs, read_table(folder.table(name)).assign(accuracy=0.75))
    request = StudyRequest("laptop", tables=(str(theirs),), **ONE)
    with pytest.raises(UserError, match=rf"theirs\.csv and .*{name}\.csv have other numbers of"):
        run_study(copy.path, request, config_of)
    copy.table(name).unlink()
    run_study(copy.path, request, config_of)
    assert copy.known([theirs])["accuracy"].tolist() == [0.75]


def test_a_table_that_was_edited(finished, tmp_path):
    """Catches edited results that are judged, a traceback, and another exit code."""
    folder, _ = finished
    results = tmp_path / "results"
    results.mkdir()
    for path in folder.results.iterdir():
        (results / path.name).write_text(path.read_text().replace("attention", "mamba"))
    done = forked.start(["-m", "launch.study", f"--workdir={tmp_path}", "--smoke"])
    assert done.returncode == 2
    assert "was edited" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_link_leads_out_of_the_folder(tmp_path):
    """Catches a folder from elsewhere through which other files are overwritten."""
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "sweeps").symlink_to(tmp_path)
    with pytest.raises(UserError, match="study/sweeps is a link that leads out"):
        run_study(tmp_path / "study", StudyRequest(dry_run=True), config_of)


@pytest.fixture
def plan_of_device(tmp_path, capfd):
    """What is said of the scale for an accelerator."""
    request = StudyRequest("device", only=("ar_two_layers", "atr_held_out"), dry_run=True)
    outcome = run_study(tmp_path / "work", request, config_of)
    assert not (tmp_path / "work").exists()
    assert outcome.judgements == []
    return capfd.readouterr().err.splitlines()


def test_a_plan_without_a_run(plan_of_device):
    """Catches a plan that runs or writes something, and one without time, memory or disk."""
    of_one, of_other, total, *_, accelerator, room = plan_of_device
    # Seven mixers, five widths, three seeds of the best rate and one of two others.
    assert "ar_two_layers_device: 175 of 175 members to train in 35 groups, about " in of_one
    decided = ", ".join(map(str, (*range(1, 15), 27, 28, 30)))
    assert of_one.endswith(f"decides findings {decided}")
    assert "atr_held_out_device: 90 of 90 members to train in 30 groups" in of_other
    found = [re.search(r"about ([\d.]+) h", line) for line in plan_of_device[:3]]
    hours = [float(one[1]) for one in found if one]
    assert hours[0] + hours[1] == pytest.approx(hours[2], abs=0.2)
    assert total.endswith("by step times stated or measured")
    assert re.search(r"on one accelerator about [\d.]+ h", accelerator)
    assert re.search(r"largest group has 0\.\d GB .* about \d+ GB of disk", room)


def test_some_groups(tmp_path, capfd, monkeypatch):
    """Catches groups that nobody named, in the plan and in the run, and names of none."""
    only, groups = ("ar_layers",), ("004_mamba_width_64",)
    request = StudyRequest(only=only, groups=groups, dry_run=True)
    run_study(tmp_path / "work", request, config_of)
    plan, group = capfd.readouterr().err.splitlines()[:2]
    assert "ar_layers_laptop: 3 of 42 members to train in 1 group, about" in plan
    assert re.fullmatch(r"  004_mamba_width_64 \(1 layer\): 3 members, about [\d.]+ (h|min)", group)
    request = StudyRequest(only=only, groups=groups, budget=0)
    outcome = run_study(tmp_path / "work", request, config_of)
    told = [line for line in outcome.not_run if line.startswith("ar_layers")]
    assert sum("beyond the budget" in line for line in told) == 1
    assert sum("not asked for (--groups)" in line for line in told) == 13
    assert any("/004_mamba_width_64 (1 layer): beyond the budget" in line for line in told)
    # A group that an earlier command has run is among the results.
    done = lambda group, asked: group.path.name == "000_attention_width_64"
    monkeypatch.setattr(GroupFolder, "is_finished", done)
    outcome = run_study(tmp_path / "work", request, config_of)
    told = [line for line in outcome.not_run if "not asked for (--groups)" in line]
    assert len(told) == 12
    assert not any("000_attention" in line for line in told)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"unknown group '004'.* valid are 000_attention_width_64"):
        run_study(tmp_path / "new", StudyRequest(only=only, groups=("004",)), config_of)


def test_a_group_beyond_the_budget(finished, tmp_path):
    """Catches a budget that ends the study in the middle of a group, or is not told of."""
    request = StudyRequest("laptop", budget=1e-9, **ONE)
    outcome = run_study(tmp_path / "work", request, config_of)
    assert sum("beyond the budget" in line for line in outcome.not_run) == 1
    assert {one.verdict for one in outcome.judgements} == {"not run"}


def test_a_group_that_is_missing(finished, tmp_path):
    """Catches a group that cannot be run, and takes the others' judgements with it."""
    folder, _ = finished
    copy = StudyFolder(tmp_path / "work")
    shutil.copytree(folder.path, copy.path)
    (group,) = copy.sweep("ar_two_layers_laptop_smoke").groups()
    (group.path / "status.json").write_text("{")
    with pytest.raises(UserError, match=r"status\.json is damaged"):
        run_study(copy.path, StudyRequest("laptop", **ONE), config_of)
    shutil.rmtree(group.path)
    outcome = run_study(copy.path, StudyRequest("laptop", **ONE), config_of)
    assert not any(line.startswith("ar_two_layers") for line in outcome.not_run)
    assert len(copy.known()) == 1  # the table is there all the same, and judged
    assert not group.path.exists()


@pytest.mark.slow
def test_everything(tmp_path):
    """Catches an experiment that cannot be run, measured or judged at any of its stages."""
    done = forked.start(["-m", "launch.study", f"--workdir={tmp_path}", "--smoke"])
    assert done.returncode == 0, done.stderr
    known = StudyFolder(tmp_path).known()
    assert set(known["split"]) == {"test", "dev"}
    assert len(known) == len(EXPERIMENTS) + 1
    # Nothing is learned in eight steps, and that is what interventions say.
    measured = known[known["verdict"].notna()]
    assert set(measured["verdict"]) == {"not_learned"}
    assert sorted(measured["task"]) == ["AR", "AR", "ATR held-out", "ATR held-out"]
    folder = StudyFolder(tmp_path)
    assert folder.report.read_text().count("<svg") == len(list(folder.path.glob("figures/*.svg")))
    assert len(json.loads(folder.findings_json.read_text())) == 30
