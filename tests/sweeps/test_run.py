"""Whole sweeps: trained, evaluated, judged, resumed; each member as the run that it would be."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from configs import grids
from mecheval_jax import runs
from mecheval_jax.errors import Interrupted, UserError
from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.reporting.html import report
from mecheval_jax.store.sweep_folder import GroupStatus, SweepFolder
from mecheval_jax.store.sweep_tables import MEMBERS, member_rows, success, with_shapes
from mecheval_jax.sweeps import group as groups
from mecheval_jax.sweeps import run as sweeps
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.plan import open_folder, plan
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.ensemble import choice
from mecheval_jax.training.preemption import Preemption
from tests.support import small

SHAPE = small.ONE_LAYER | {"evaluation.directions": ("restore",), "evaluation.roles": ("key",)}
BASE = small.experiment(
    SHAPE,
    steps=20,
    checkpoint_every=10,
    evaluate_every=10,
    warmup_fraction=0.5,
).as_dict()
CHANGES = grids.chain(
    grids.product(
        grids.axis("training.learning_rate", (1e-2, 1e-3)),
        grids.seeds(2),
    ),
    [{"training.learning_rate": 1e12}],
    [{"model.width": 8, "training.steps": 10}],
)
"""Members 0 to 4 of one shape, the last of which diverges, and 5 of another."""

OPTIONS = Options(strategy="vmap")


def run(workdir, changes=CHANGES, options=OPTIONS, **arguments):
    return sweeps.run_sweep(plan(BASE, changes), workdir, options, **arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = SweepFolder(tmp_path_factory.mktemp("sweep") / "whole")
    outcome = run(folder.path)
    assert outcome.failed == ()
    return folder


def member(folder, number):
    (path,) = folder.path.glob(f"groups/*/members/{number:04d}")
    return path


def test_a_member_is_what_train_and_intervene_would_give(finished, tmp_path):
    """Catches documents, corruptions, seeds or controls of another member."""
    for number in (1, 2):
        alone = small.experiment(
            SHAPE | CHANGES[number],
            steps=20,
            checkpoint_every=10,
            evaluate_every=10,
            warmup_fraction=0.5,
        )
        folder = runs.train(alone, tmp_path / str(number))
        runs.intervene(folder.path)
        ours = runs.RunFolder(member(finished, number))
        assert ours.experiment() == alone
        a, b = (json.loads(f.summary.read_text()) for f in (ours, folder))
        assert a.keys() == b.keys()
        for name in ("accuracy", "accuracy_low", "verdict", "floors", "step", "documents"):
            assert a[name] == pytest.approx(b[name]), name
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        for name in ("interchange", "controls"):
            tables = [pd.read_csv(getattr(f, name)).drop(columns="run") for f in (ours, folder)]
            for column in tables[0].select_dtypes("number"):
                np.testing.assert_allclose(tables[0][column], tables[1][column], atol=2e-3)
            assert len(tables[0]) == len(tables[1])
        rows = [f.read_metrics() for f in (ours, folder)]
        assert [(r["step"], r["split"]) for r in rows[0]] == [
            (r["step"], r["split"]) for r in rows[1]
        ]
        loaded, expected = runs.load(ours.path), runs.load(folder.path)
        assert loaded.step == expected.step
        for one, other in zip(
            *(map(np.asarray, jax.tree.leaves(r.params)) for r in (loaded, expected)), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-5)


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


def test_status_files(finished):
    """Catches a status that is not brought up to date at the end."""
    big, small_one = (group.read_status() for group in finished.groups())
    assert (big.state, big.members, big.training, big.diverged) == ("finished", 5, 0, 1)
    assert (big.step, big.steps, big.attempts, big.error) == (20, 20, 1, "")
    assert (small_one.state, small_one.members, small_one.step) == ("finished", 1, 10)
    assert big.best_accuracy is not None


def test_a_finished_group_is_skipped(finished, capsys):
    """Catches groups that are trained or evaluated again."""
    before = finished.table.read_bytes()
    run(finished.path)
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
    assert outcome.failed == ()
    assert "out of luck" in capsys.readouterr().err
    again = SweepFolder(tmp_path / "again")
    assert again.table.read_bytes() == finished.table.read_bytes()
    assert [group.read_status().attempts for group in again.groups()] == [2, 1]

    monkeypatch.setattr(groups._GroupRun, "conclude", fails(2, RuntimeError("out of luck")))
    outcome = run(tmp_path / "failed", retries=1)
    assert len(outcome.failed) == len(outcome.finished) == 1
    status = SweepFolder(tmp_path / "failed").groups()[0].read_status()
    assert (status.state, status.error) == ("failed", "out of luck")
    with pytest.raises(SystemExit) as ended:
        sweeps.report_failures(outcome)
    assert ended.value.code == 1


def test_broken_off_and_resumed_is_the_same(finished, tmp_path, monkeypatch):
    """Catches a resumed group that differs by a bit, doubles a row or forgets its strategy."""
    save = Checkpoints.save

    def die(self, step, tree):
        save(self, step, tree)
        self._manager.wait_until_finished()
        if step == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", die)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "sweep")
    monkeypatch.setattr(Checkpoints, "save", save)
    assert not (tmp_path / "sweep/members.csv").exists()
    run(tmp_path / "sweep", options=dataclasses.replace(OPTIONS, strategy="loop"))
    again = SweepFolder(tmp_path / "sweep")
    assert again.table.read_bytes() == finished.table.read_bytes()
    for ours, theirs in zip(again.groups(), finished.groups(), strict=True):
        assert ours.metrics.read_bytes() == theirs.metrics.read_bytes()


def test_a_strategy_that_is_damaged(finished, tmp_path):
    """Catches a traceback, of the group or of the report."""
    shutil.copytree(finished.path, tmp_path / "sweep")
    folder = SweepFolder(tmp_path / "sweep")
    group = folder.groups()[0]
    for text, message in (
        ('{"way": "scan"}', "json is damaged"),
        ('{"kind": "skan"}', "'skan'"),
    ):
        group.strategy.write_text(text)
        for read in (group.read_strategy, lambda: sweeps.collect(folder)):
            with pytest.raises(UserError, match=message):
                read()


def test_preemption(tmp_path, monkeypatch):
    """Catches a group that trains on after SIGTERM, or is retried as if it had failed."""
    asked = []

    def requested(self):
        asked.append(1)
        return len(asked) in (1, 3, 7)

    monkeypatch.setattr(Preemption, "requested", requested)
    for when, message, state, step in (
        ("between two groups", "stopped by SIGTERM; the same", "waiting", 0),
        ("while the strategy is chosen", "stopped by SIGTERM; the same", "preempted", 0),
        ("at the second stop", "the checkpoint of step 10 is saved", "preempted", 10),
    ):
        with pytest.raises(Interrupted, match=message):
            run(tmp_path / "sweep")
        status = SweepFolder(tmp_path / "sweep").groups()[0].read_status()
        assert (status.state, status.step) == (state, step), when
    assert status.attempts == 2


def test_less_can_be_measured(tmp_path):
    """Catches options that are ignored, and tables that need what was not measured."""
    changes = CHANGES[:2]
    run(tmp_path / "none", changes, Options("vmap", interventions="none"))
    folder = SweepFolder(tmp_path / "none")
    assert "verdict" not in set(pd.read_csv(folder.table)["metric"])
    assert pd.read_csv(folder.best)["verdict"].isna().all()
    assert not (member(folder, 0) / "interchange.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at_once": 0}, "members at once are 0"),
        ({"at_once": 2, "strategy": "scan"}, "by vmap alone, not by the strategy 'scan'"),
        ({"interventions": "all"}, "'all'"),
        ({"writers": ("tensorbord",)}, "'tensorboard'"),
    ],
)
def test_options_that_cannot_be(options, message):
    """Catches a number that is taken for another, or a flag that counts for nothing."""
    with pytest.raises(UserError, match=message):
        Options(**options)


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
        outcome = run(tmp_path / "sweep", shard=(i, 2))
        assert len(outcome.finished) == 1
    again = SweepFolder(tmp_path / "sweep")
    assert again.table.read_bytes() == finished.table.read_bytes()


def test_more_can_be_measured_later(tmp_path, monkeypatch):
    """Catches a finished group that is skipped although it was never asked, or trained again."""
    changes = CHANGES[:2]
    folder = SweepFolder(tmp_path / "sweep")
    run(folder.path, changes, Options("vmap", interventions="none"))
    before = pd.read_csv(folder.table)
    metrics = folder.groups()[0].metrics.read_bytes()
    run(folder.path, changes, Options("vmap", interventions="verdict"))
    after = pd.read_csv(folder.table)
    assert "verdict" not in set(before["metric"])
    assert set(after["metric"]) == set(before["metric"]) | {"verdict"}
    assert folder.groups()[0].metrics.read_bytes() == metrics
    (group,) = folder.groups()
    assert group.read_status().attempts == 2
    run(folder.path, changes, Options("vmap", interventions="none"))
    assert group.read_status().attempts == 2
    # As if the machine had gone while the results were written.
    group.table.write_text("")
    (group.member(1) / "config.json").unlink()
    own = group.member(0) / "analyses"
    own.mkdir()
    run(folder.path, changes, Options("vmap", interventions="none"))
    assert group.read_status().attempts == 3
    assert "verdict" not in set(pd.read_csv(folder.table)["metric"])
    assert runs.load(group.member(1)).step == 20
    assert own.exists()


def test_one_program_a_group(tmp_path):
    """Catches two programs that write the same files, and a lock that outlives its holder."""
    folder = SweepFolder(tmp_path / "sweep")
    open_folder(folder, plan(BASE, CHANGES[:2]))
    (group,) = folder.groups()
    with group.lock():
        group.write_status(GroupStatus("running"))
        before = group.status.read_bytes()
        outcome = run(folder.path, CHANGES[:2], Options("vmap", interventions="none"))
        assert isinstance(outcome.error, UserError)
        assert "000_attention_width_16 is being worked on by another process" in str(outcome.error)
        assert group.status.read_bytes() == before
    outcome = run(folder.path, CHANGES[:2], Options("vmap", interventions="none"))
    assert outcome.failed == ()


def test_a_resumed_group_must_fit(finished, tmp_path, monkeypatch):
    """Catches a group that goes on where it has no room, because its strategy is known."""
    shutil.copytree(finished.path, tmp_path / "sweep")
    folder = SweepFolder(tmp_path / "sweep")
    for group in folder.groups():
        group.status.unlink()
    monkeypatch.setattr(choice, "free_memory", lambda device: 100_000)
    outcome = run(folder.path)
    assert isinstance(outcome.error, UserError)
    assert "5 members on a device do not fit" in str(outcome.error)


def test_rates_over_seeds_alone():
    """Catches members of other weight decays that are counted as seeds."""
    changes = grids.product(
        grids.axis("training.weight_decay", (0.0, 0.1)),
        grids.axis("training.learning_rate", (1e-3, 1e-2)),
        grids.seeds(3),
    )
    summary = {"accuracy": 0.95, "accuracy_low": 0.9, "accuracy_high": 1.0, "likelihood": 0.9}
    summary |= {"loss": 0.1, "floors": {"best": 0.5}, "step": 20}
    (group,) = plan(BASE, changes).groups
    rows = [
        row
        for number, one in zip(group.members, group.experiments, strict=True)
        for row in member_rows(
            number, group.name, one, summary | {"accuracy": 0.95 if number < 3 else 0.1}, []
        )
    ]
    rates = success(pd.DataFrame(rows, columns=MEMBERS), 0.95, thresholds=(0.9,))
    assert rates.groupby("over", sort=False)["members"].apply(list).to_dict() == {
        "all": [12],
        "seeds": [3] * 4,
        "learning_rates": [2] * 6,
    }
    of_seeds = rates[rates["over"] == "seeds"].set_index(["learning_rate", "weight_decay"])
    assert of_seeds["value"].to_dict() == {
        (1e-3, 0.0): 1.0,
        (1e-3, 0.1): 0.0,
        (1e-2, 0.0): 0.0,
        (1e-2, 0.1): 0.0,
    }
    assert of_seeds["seed"].isna().all()


def test_tables_say_what_shapes_differ_in():
    """Catches groups that are told apart by their names alone."""
    changes = grids.product(
        grids.axis("task.pairs", (2, 3)),
        grids.axis("model.width", (8, 16)),
        grids.axis("training.batch_size", (16.0,)),
        grids.seeds(2),
    )
    content = plan(BASE, [*changes, {"model.width": 32}]).as_dict()
    names = [group["name"] for group in content["groups"]]
    table = with_shapes(pd.DataFrame({"group": names, "layers": 1, "value": 0.5}), content)
    assert list(table.columns) == [
        "group",
        "layers",
        "task.pairs",
        "training.batch_size",
        "value",
    ]
    assert table["task.pairs"].tolist() == ["2", "2", "3", "3", str(BASE["task"]["pairs"])]
    assert table["training.batch_size"].tolist()[-1] == str(BASE["training"]["batch_size"])
