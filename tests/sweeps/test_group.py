"""Groups: trained, evaluated, judged, resumed; each member as the run that it would be."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.subject import documents_of
from mecheval_jax.evaluation.verdict.measurement import why_not_judged
from mecheval_jax.store.sweep_folder import GroupFolder, SweepFolder
from mecheval_jax.sweeps import run as sweeps
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.plan import plan
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.ensemble import strategy_choice
from mecheval_jax.training.ensemble.strategy import Strategy
from tests.support import small
from tests.support.document_lines import write
from tests.support.pages import words_of
from tests.support.whole_sweeps import CHANGES, OPTIONS, SHAPE, member, run


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


def test_status_files(finished):
    """Catches a status that is not brought up to date at the end."""
    big, small_one = (group.read_status() for group in finished.groups())
    assert (big.state, big.members, big.training, big.diverged) == ("finished", 5, 0, 1)
    assert (big.step, big.steps, big.attempts, big.error) == (20, 20, 1, "")
    assert (small_one.state, small_one.members, small_one.step) == ("finished", 1, 10)
    assert big.best_accuracy is not None


def test_broken_off_and_resumed_is_the_same(finished, tmp_path, monkeypatch):
    """Catches a resumed group that differs by a bit, doubles a row, forgets its strategy, or says
    of members that have diverged that they train until the first steps are taken."""
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
    told, write = [], GroupFolder.write_status

    def listen(self, status):
        told.append((self.name, status.training, status.diverged))
        write(self, status)

    monkeypatch.setattr(GroupFolder, "write_status", listen)
    run(tmp_path / "sweep", options=dataclasses.replace(OPTIONS, strategy="loop"))
    again = SweepFolder(tmp_path / "sweep")
    firsts = [next(one for one in told if one[0] == group.name) for group in again.groups()]
    assert [first[1:] for first in firsts] == [(4, 1), (1, 0)]  # the second was not begun
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
        with pytest.raises(UserError, match=message):
            group.read_strategy()
        sweeps.collect(folder)  # the report says so, and shows the rest
        assert message in words_of(folder.report.read_text())


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


def test_less_can_be_measured(tmp_path, capsys):
    """Catches options that are ignored, tables that need the rest, and a second training unsaid."""
    changes = CHANGES[:2]
    run(tmp_path / "none", changes, Options("vmap", interventions="none"))
    folder = SweepFolder(tmp_path / "none")
    assert "verdict" not in set(pd.read_csv(folder.table)["metric"])
    assert pd.read_csv(folder.best)["verdict"].isna().all()
    assert not (member(folder, 0) / "interchange.csv").exists()
    (group,) = folder.groups()
    table = group.table.read_bytes()
    shutil.rmtree(group.checkpoints)
    group.table.unlink()
    assert "trained anew" not in capsys.readouterr().err
    run(folder.path, changes, Options("vmap", interventions="none"))
    assert "finished, and its checkpoints are gone: trained anew" in capsys.readouterr().err
    assert group.table.read_bytes() == table


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


def test_a_resumed_group_must_fit(finished, tmp_path, monkeypatch):
    """Catches a group that goes on where it has no room, because its strategy is known."""
    shutil.copytree(finished.path, tmp_path / "sweep")
    folder = SweepFolder(tmp_path / "sweep")
    for group in folder.groups():
        group.status.unlink()
    monkeypatch.setattr(strategy_choice, "free_memory", lambda device: 100_000)
    outcome = run(folder.path)
    assert isinstance(outcome.error, UserError)
    assert "5 members on a device do not fit" in str(outcome.error)


def test_another_strategy_for_a_group_that_was_begun(finished, tmp_path, capsys):
    """Catches a remedy for too little memory that counts for nothing once a group was begun."""
    shutil.copytree(finished.path, tmp_path / "sweep")
    folder = SweepFolder(tmp_path / "sweep")
    (group, *_) = folder.groups()
    kept = group.read_strategy()
    assert kept == Strategy("vmap", 5)
    for options, strategy, said in (
        (Options(), kept, "vmap of 5, as before"),
        (Options(at_once=2), Strategy("vmap", 2), "were computed by vmap of 5: from here on"),
        (Options("scan"), Strategy("vmap", 2), "vmap of 2, as before"),
    ):
        group.status.unlink()
        assert not run(folder.path, options=options).failed
        assert group.read_strategy() == strategy
        assert said in capsys.readouterr().err


ENDING = "Oslo B7 ? B7 Oslo x0 y0 end"

VERDICT = Options(strategy="vmap", interventions="verdict")


def document(number, key_first=False, **roles):
    """A document with a pair, mostly its value first, and one question about it."""
    pair = [f"B{number % 7}", ("Oslo", "Lima", "Rome")[number % 3]]
    words = pair if key_first else pair[::-1]
    text = " ".join([*words, "?", *pair, f"x{number % 9} y{number // 9}", "end"])
    at = len(" ".join(words)) + 3
    spans = {
        name: [text.index(word), text.index(word) + len(word)]
        for name, word in (("key", pair[0]), ("value", pair[1]))
    }
    query = {"query": [at, at + 2], "answer": [at + 3, at + 3 + len(pair[1])]} | spans | roles
    return json.dumps({"text": text, "queries": [query]})


def without_key(line):
    values = json.loads(line)
    del values["queries"][0]["key"]
    return json.dumps(values)


def of_documents(path, *roles, **training):
    task = {"name": "documents", "path": str(path), "dev": 0.2, "test": 0.4}
    evaluation = {"documents": 6, "roles": roles, "corruptions": ("value",), "resamples": 50}
    options = {f"evaluation.{name}": value for name, value in evaluation.items()}
    fixed = {"training.evaluation_documents": 2, "model.max_length": 16, "task": task}
    return small.experiment(small.ONE_LAYER | fixed | options, steps=1, **training)


def test_documents_of_one_member_that_cannot_be_judged(tmp_path, capsys):
    """Catches a group that fails at its end for good, since its members' programs differ."""
    lines = [document(i, key_first=i % 20 == 5) for i in range(80)]
    lines[::40] = map(without_key, lines[::40])  # so that no key can be replaced anywhere
    made = of_documents(write(tmp_path, *lines), "value", "query")
    seeds = {}
    for seed in range(20):
        one = of_documents(tmp_path / "documents.jsonl", "value", "query", data_seed=seed)
        seeds.setdefault(bool(why_not_judged(one.task, documents_of(one))), seed)
    changes = [{"training.data_seed": seeds[lacks]} for lacks in (False, True)]
    outcome = sweeps.run_sweep(plan(made.as_dict(), changes), tmp_path / "sweep", VERDICT)
    assert not outcome.failed
    told = capsys.readouterr().err
    assert "no verdict: the key, earlier token of a pair, cannot be replaced" in told
    assert "in documents of 1 of 2 members, of which 1 is one; " in told
    summaries = sorted((tmp_path / "sweep").glob("groups/*/members/*/summary.json"))
    assert ["verdict" in json.loads(path.read_text()) for path in summaries] == [False, False]


def test_a_role_behind_the_question_is_refused_before_training(tmp_path, capsys):
    """Catches members that are trained to their ends, and cannot be measured then."""
    late = {"closing": [len(ENDING) - 3, len(ENDING)]}
    made = of_documents(write(tmp_path, *(document(i, roles=late) for i in range(80))), "closing")
    both = plan(made.as_dict(), [{"training.data_seed": 0}, {"training.data_seed": 1}])
    assert sweeps.run_sweep(both, tmp_path / "sweep", Options(strategy="vmap")).failed
    assert "role 'closing' lies after the query" in capsys.readouterr().err
    assert not list((tmp_path / "sweep").glob("groups/*/checkpoints/*"))
