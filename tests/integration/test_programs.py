"""The programs, as a user starts them."""

import csv
import json

import pytest

from tests.support import forked, small

CONFIG = "--config=configs/recall.py:mixer=based,smoke=True"
TINY = {
    "task.pairs": 3,
    "task.key_vocabulary": 8,
    "task.value_vocabulary": 8,
    "model.width": 16,
    "model.max_length": 16,
    "training.batch_size": 8,
    "evaluation.resamples": 50,
}
COLUMNS = (  # noqa: SIM905
    "run,mixer,width,layers,learning_rate,seed,step,split,corruption,direction,layer,component,"
    "site,role,metric,value,low,high,documents,p_value,significant"
).split(",")


def train(workdir, *arguments, config=CONFIG, start=forked.start):
    return start(
        ["-m", "launch.train", config, *small.flags(TINY), f"--workdir={workdir}", *arguments]
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs") / "run"
    result = train(folder, "--writers=tensorboard", start=small.start)
    assert result.returncode == 0, result.stderr
    return folder


def test_train_intervene_report(workdir):
    """Catches programs that do not fit together, and a table without its contract."""
    for program in ("intervene", "report"):
        result = small.start(["-m", f"launch.{program}", f"--workdir={workdir}"])
        assert result.returncode == 0, result.stderr
    files = {path.name for path in workdir.iterdir()}
    assert files >= {
        "config.json",
        "provenance.json",
        "metrics.jsonl",
        "metrics.csv",
        "checkpoints",
        "interchange.csv",
        "slices.csv",
        "controls.csv",
        "evidence.npz",
        "summary.json",
        "figures",
        "report.html",
    }
    summary = json.loads((workdir / "summary.json").read_text())
    assert 0 <= summary["accuracy"] <= 1
    assert summary["verdict"] == "not_learned"  # twenty steps teach nothing
    assert summary["evidence"]["attributions"]
    with (workdir / "interchange.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert {row["direction"] for row in rows} == {"restore", "damage"}
    assert {row["corruption"] for row in rows} == {"key", "value"}
    assert {row["component"] for row in rows} == {
        "block_input",
        "mixer_input",
        "mixer_output",
        "mlp_input",
        "mlp_output",
        "block_output",
        "mixer/conv_output",
    }
    with (workdir / "controls.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS[:8], "control", *COLUMNS[8:]]
    assert {row["control"] for row in rows} == {"untrained", "placebo", "distractor"}


def test_metrics_are_written_everywhere(workdir):
    """Catches a program that opens the writers and gives them nothing."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    with (workdir / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(float(one["loss"]), one["split"]) for one in table] == [
        (row["loss"], row["split"]) for row in rows
    ]
    (events,) = (workdir / "tensorboard").iterdir()
    assert b"dev/accuracy" in events.read_bytes()


def test_a_finished_run_is_skipped(workdir):
    """Catches a run that is trained again."""
    before = (workdir / "metrics.jsonl").read_text()
    result = train(workdir)
    assert result.returncode == 0
    assert "finished" in result.stderr
    assert (workdir / "metrics.jsonl").read_text() == before


def assert_refused(result, *words):
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config.model.mixer=mambo"], ["'mambo'", "mamba"]),
        (["--config.model.mixer_options={'heads': 3}"], ["16", "3 heads"]),
        (["--config.task.pairs=20"], ["20 pairs", "key_vocabulary"]),
        (["--config.task.held_out=0.999"], ["held_out", "0.999"]),
        (["--config.model.widht=3"], ["widht", "width"]),
        (["--config.training.steps=abc"], ["abc"]),
        (["--config.training.learning_rate=-1"], ["learning_rate is -1"]),
        (["--config.modle.width=3"], ["modle", "model"]),
        (["--config.model.width.x=3"], ["config.model.width"]),
        (["--config.model.mixer_options.heads=3"], ["--config.model.mixer_options=", "heads"]),
        (["--workdri=x"], ["workdri", "workdir"]),
        (["--mesh=2,2"], ["'2,2'", "fsdp=4,model=2"]),
        (["--mesh=2,1,1"], ["2,1,1", "1 devices"]),
        (["--config.training.gradient_accumulation=3"], ["batch_size 8", "3 micro-batches"]),
        (["--writers=tensorbord"], ["'tensorbord'", "tensorboard"]),
        (["stray"], ["stray"]),
    ],
)
def test_mistakes_in_training(arguments, words, tmp_path):
    """Catches a traceback for a user's mistake, and compute spent before it is found."""
    assert_refused(train(tmp_path / "run", *arguments), *words)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_flags_that_are_missing(tmp_path):
    """Catches a usage error with another exit code."""
    assert_refused(forked.start(["-m", "launch.train", CONFIG]), "workdir")
    assert_refused(forked.start(["-m", "launch.train", f"--workdir={tmp_path}/a"]), "config")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("configs/no.py", ["'configs/no.py'", "configs/recall.py"]),
        ("configs", ["'configs'", "configs/recall.py"]),
        ("configs/base.py", ["configs/base.py", "get_config"]),
        ("configs/recall.py:mixer=mambo", ["'mambo'", "mamba"]),
        ("configs/recall.py:widht=3", ["'widht'", "width"]),
        ("configs/recall.py:width=abc", ["width=abc", "whole number"]),
        ("configs/recall.py:pairs=300", ["300 pairs"]),
    ],
)
def test_mistakes_in_naming_a_config(config, words, tmp_path):
    """Catches the traceback that the flags' library wraps round what a config raises."""
    workdir = tmp_path / "run"
    result = forked.start(["-m", "launch.train", f"--config={config}", f"--workdir={workdir}"])
    assert_refused(result, *words)
    assert not workdir.exists()


def test_a_fault_of_a_config_file_keeps_its_traceback(tmp_path):
    """Catches a config's own bug reported as if it were a flag's."""
    file = tmp_path / "mine.py"
    file.write_text("def get_config(arg=''):\n    return {}['missing']\n")
    result = forked.start(["-m", "launch.train", f"--config={file}", f"--workdir={tmp_path}/run"])
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "mine.py" in result.stderr


def test_the_studys_config(tmp_path):
    """Catches a published config that no longer runs."""
    config = "--config=configs/study/ar_two_layers.py:mixer=based,smoke=True"
    result = train(tmp_path / "run", config=config)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["finished"] is True
    assert summary["mixer"] == "based"
    assert summary["width"] == 16


def test_another_runs_workdir(workdir):
    """Catches a run that overwrites another."""
    assert_refused(
        train(workdir, "--config.training.seed=5"), "training.seed is 0 there and 5 here"
    )


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--sites=block_9/block_input", ["block_9/block_input", "block_1/block_input"]),
        ("--roles=keyy", ["'keyy'", "key"]),
        ("--roles=answer", ["answer", "after the query"]),
        ("--corruptions=query", ["'query'", "key, value"]),
        ("--directions=restor", ["'restor'", "restore"]),
        ("--documents=0", ["documents"]),
        ("--steps=7", ["'7'", "20"]),
        ("--steps=", ["steps is empty"]),
        ("--sites=", ["sites is empty"]),
        ("--roles=", ["roles is empty"]),
        ("--roles=key,key", ["names key twice"]),
    ],
)
def test_mistakes_in_intervening(workdir, flag, words):
    """Catches a site or role that is dropped in silence."""
    table = workdir / "interchange.csv"
    before = table.read_bytes() if table.exists() else None
    result = forked.start(["-m", "launch.intervene", f"--workdir={workdir}", flag])
    assert_refused(result, *words)
    assert (table.read_bytes() if table.exists() else None) == before


def test_one_run_is_no_population(workdir):
    """Catches an interval over seeds from a single seed."""
    result = forked.start(["-m", "launch.pool", f"--workdir={workdir}", f"--workdir={workdir}"])
    assert_refused(result, "two runs or more")


def test_a_folder_without_a_run(tmp_path):
    """Catches a traceback for a path that was mistyped."""
    for program in ("intervene", "report"):
        result = forked.start(["-m", f"launch.{program}", f"--workdir={tmp_path}"])
        assert_refused(result, str(tmp_path))


def test_a_learning_rate_that_diverges(tmp_path):
    """Catches a run that goes on with numbers that are none."""
    result = train(tmp_path / "run", "--config.training.learning_rate=1e30")
    assert_refused(result, "diverged", "1e+30", "step")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["finished"] is False


def test_the_verdict_does_not_depend_on_the_table(workdir):
    """Catches a verdict that an exploratory grid removes, or one from fewer places."""
    names = ("verdict", "probabilities", "evidence")
    found = []
    for flags in ([], ["--roles=key", "--directions=damage", "--corruptions=value"]):
        result = forked.start(["-m", "launch.intervene", f"--workdir={workdir}", *flags])
        assert result.returncode == 0, result.stderr
        summary = json.loads((workdir / "summary.json").read_text())
        found.append({name: summary[name] for name in names})
    assert found[0] == found[1]
