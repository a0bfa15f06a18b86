"""The task of the user's own documents: batches, roles, corruption, draws, and a whole run."""

import json
import pathlib
import random
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from configs import documents as config
from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.tasks.base import Task
from mecheval_jax.tasks.documents import documents as documents_module
from mecheval_jax.tasks.documents.documents import Documents
from tests.support.compilation import ROOT
from tools import make_machine_log, make_minutes

EXAMPLE = ROOT / "docs/examples/orders.jsonl"


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    """The first lines of the example, enough for a few tests."""
    path = tmp_path_factory.mktemp("documents") / "orders.jsonl"
    path.write_text("\n".join(EXAMPLE.read_text().splitlines()[:300]))
    return Documents(str(path), test=0.2)


def of_ids(folder, *records, **fields):
    path = folder / "ids.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return Documents(str(path), tokenizer="ids", dev=0.0, test=0.0, **fields)


# Catches tokens, answers or roles that are not those of the line: each document is looked up
# in the file by its words and its roles are compared with the words of the spans.
def test_batches_are_what_the_file_says(orders):
    assert isinstance(orders, Task)
    records = {}
    for line in pathlib.Path(orders.path).read_text().splitlines():
        record = json.loads(line)
        records[record["text"]] = record
    batch = orders.sample(jax.random.key(0), 64, "train")
    batch = types.SimpleNamespace(**jax.tree.map(np.asarray, vars(batch)))
    assert batch.tokens.shape[1] <= orders.max_length
    seen = 0
    for i, length in enumerate(batch.lengths):
        words = [orders.name_of(int(token)) for token in batch.tokens[i, :length]]
        assert (words[0], words[-1]) == ("<bos>", "<eos>")
        assert not batch.tokens[i, length:].any()
        record = records[" ".join(words[1:-1])]
        assert int(batch.weights[i].sum()) == len(record["queries"])
        for j, query in enumerate(record["queries"]):
            places = {name: query[name] for name in ("query", "answer", "key", "value")}
            places |= query.get("roles", {})
            at = {name: int(positions[i, j]) for name, positions in batch.roles.items()}
            for name, (start, stop) in places.items():
                # Words are parted by one space: those before a span are its position but bos.
                assert at[name] == 1 + record["text"][:start].count(" ")
                assert words[at[name]] == record["text"][start:stop]
            assert at["bos"] == 0
            assert at["next_key"] == at["value"] + 1
            assert at["value+2"] == at["value"] + 2
            assert ("opening" in places) == (at["opening"] >= 0)
            assert int(batch.query_positions[i, j]) == at["query"]
            assert orders.name_of(int(batch.targets[i, j])) == words[at["answer"]]
            seen += 1
        unused = batch.weights[i] == 0
        for positions in batch.roles.values():
            assert (positions[i][unused] == -1).all()
    assert seen > 128
    assert orders.read_length >= int(batch.query_positions.max()) + 1
    assert int(batch.lengths.min()) <= orders.usual_length <= orders.max_length


# Catches a derived role on the key, on or beyond the query, or on or beyond a named divider.
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"query": 5, "key": 0, "value": 1}, {"next_key": 3, "value+2": 4}),
        ({"query": 3, "key": 0, "value": 1}, {"next_key": 3, "value+2": -1}),
        ({"query": 2, "key": 0, "value": 1}, {"next_key": -1, "value+2": -1}),
        ({"query": 5, "key": 1, "value": 0}, {"next_key": -1, "value+2": 3}),
        ({"query": 5, "key": 2, "value": 0}, {"next_key": 2, "value+2": -1}),
        (
            {"query": 5, "key": 0, "value": 1, "roles": {"divider": 3}},
            {"next_key": 3, "value+2": -1, "divider": 4},
        ),
        ({"query": 5, "key": 0}, {"query": 6, "key": 1, "answer": 7}),
    ],
)
def test_derived_roles(tmp_path, query, expected):
    record = {"tokens": [7, 8, 9, 10, 11, 7, 8], "queries": [query | {"answer": 8}]}
    task = of_ids(tmp_path, record, value_is_answer=False)
    batch = task.sample(jax.random.key(0), 1, "train")
    assert set(batch.roles) == set(task.role_names)
    assert ("next_key" in batch.roles) == ("value" in query)
    found = {name: int(batch.roles[name][0, 0]) for name in expected}
    assert found == expected


# Catches ids of the file taken for ids of the model, and an answer role where there is none.
def test_ids_get_ids_of_their_own(tmp_path):
    records = [
        {"tokens": [900, 0, 900], "queries": [{"query": 2, "answer": 31, "key": 0}]},
        {"tokens": [900, 0, 900], "queries": [{"query": 1, "answer": 900}]},
    ]
    task = of_ids(tmp_path, *records)
    assert task.vocabulary_size == 4 + 3  # pad, bos, eos, unknown; 0, 31, 900
    assert [task.name_of(i) for i in range(7)] == [*task_names(), "0", "31", "900"]
    batch = task.sample(jax.random.key(0), 2, "train")
    by_target = {int(t): i for i, t in enumerate(batch.targets[:, 0])}
    assert set(by_target) == {5, 6}
    assert batch.tokens[0, :5].tolist() == [1, 6, 4, 6, 2]
    answers = np.asarray(batch.roles["answer"][:, 0])
    assert answers[by_target[5]] == -1
    assert answers[by_target[6]] == 3
    assert task.corruptions == ()  # the second document has no key
    assert task.chance == 1 / 2


def task_names():
    return ["<pad>", "<bos>", "<eos>", "<unk>"]


# Catches a token that dev or test alone have being given a row of its own.
def test_unseen_tokens_are_unknown(orders):
    lines = pathlib.Path(orders.path).read_text().splitlines()
    odd = next(i for i, split in enumerate(orders._file.splits) if split == 2)
    path = pathlib.Path(orders.path).with_name("odd.jsonl")
    record = json.loads(lines[odd])
    record["text"] = record["text"] + " zzz"
    while True:  # a document whose hash puts it into test again
        path.write_text("\n".join([*lines[:odd], json.dumps(record), *lines[odd + 1 :]]))
        task = Documents(str(path), test=0.2)
        if task._file.splits[odd] == 2:
            break
        record["text"] += " zzz"
    assert task.vocabulary_size == orders.vocabulary_size
    batch = task.sample(jax.random.key(0), task.sizes()["test"], "test")
    assert (np.asarray(batch.tokens) == 3).sum() == record["text"].count("zzz")


# Catches documents drawn twice while others wait, a rest that is not a permutation, and draws
# that are no function of the key; kept in memory or read again.
@pytest.mark.parametrize("kept", [0, 10**6])
def test_draws(orders, monkeypatch, kept):
    monkeypatch.setattr(documents_module, "KEPT_TOKENS", kept)
    size = orders.sizes()["test"]

    def texts(seed, count):
        packed = orders.draw(jax.random.key(seed), count, "test")
        ends = zip(packed.starts[:-1], packed.starts[1:], strict=True)
        return [tuple(packed.tokens[a:b].tolist()) for a, b in ends]

    some = texts(1, size - 3)
    assert len(set(some)) == size - 3
    assert some == texts(1, size - 3)
    assert some != texts(2, size - 3)
    more = texts(1, 2 * size + 5)
    assert set(more[:size]) == set(more[size : 2 * size])
    assert more[:size] != more[size : 2 * size]
    assert len(set(more[2 * size :])) == 5
    assert set(more) == set(texts(3, size))


def test_reading_again_gives_what_is_kept(orders, monkeypatch):
    """Catches a second reading that differs from the kept documents."""
    key = jax.random.key(4)
    kept = orders.draw(key, 20, "train")
    monkeypatch.setattr(documents_module, "KEPT_TOKENS", 0)
    again = orders.draw(key, 20, "train")
    for name in ("tokens", "starts", "query_positions", "targets", "weights"):
        assert (getattr(kept, name) == getattr(again, name)).all()
    assert all((kept.roles[name] == again.roles[name]).all() for name in kept.roles)


def test_lanes_are_parts_of_what_is_drawn(orders, monkeypatch):
    """Catches documents that are there twice since two hosts drew them, and rows read in vain."""
    key, size = jax.random.key(4), orders.sizes()["train"]
    count = size // 4 * 4

    def read(lane, lanes):
        drawn = orders.draw_lane(key, count, "train", lane, lanes)
        return [tuple(drawn[i : i + 1].tokens.tolist()) for i in range(len(drawn))]

    whole = read(0, 1)
    assert [document for lane in range(4) for document in read(lane, 4)] == whole
    seen = []
    monkeypatch.setattr(documents_module, "KEPT_TOKENS", 0)
    file = type(orders._file)
    read_all = file.read
    monkeypatch.setattr(file, "read", lambda self, n: seen.extend(n) or read_all(self, n))
    orders.draw_lane(key, count, "train", 1, 4)
    assert len(seen) == count // 4


# Catches a corruption of another place or class, one that keeps the token, and one that
# prefers some; and a table that jit cannot hold.
@pytest.mark.parametrize("role", ["key", "value"])
def test_corruption(orders, role):
    batch = orders.sample(jax.random.key(0), 4, "train")
    positions = np.asarray(batch.roles[role][:, 0])
    clean = np.asarray(batch.tokens)
    originals = clean[np.arange(4), positions]
    corrupt = jax.jit(jax.vmap(lambda key: orders.corrupt(key, batch, role)))
    changed = np.asarray(corrupt(jax.random.split(jax.random.key(1), 3000)))
    elsewhere = np.arange(clean.shape[1])[None] != positions[:, None]
    assert (changed == clean)[:, elsewhere].all()
    class_of = set()
    for line in pathlib.Path(orders.path).read_text().splitlines():
        record = json.loads(line)
        for query in record["queries"]:
            start, stop = query[role]
            class_of.add(record["text"][start:stop])
    for i in range(4):
        tokens, counts = np.unique(changed[:, i, positions[i]], return_counts=True)
        names = {orders.name_of(int(token)) for token in tokens}
        assert names == class_of - {orders.name_of(int(originals[i]))}
        expected = 3000 / len(names)
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert chi2 < len(names) + 6 * np.sqrt(2 * len(names))
    with pytest.raises(UserError, match=r"'query'.*key, value"):
        orders.corrupt(jax.random.key(0), batch, "query")


# Catches a replacement of a token that the class does not have by less than the whole class.
def test_corruption_of_a_token_outside_the_class(tmp_path):
    records = [
        {"tokens": [i, 50, i], "queries": [{"query": 2, "answer": 50, "key": 0}]} for i in (1, 2, 3)
    ]
    task = of_ids(tmp_path, *records)
    batch = task.sample(jax.random.key(0), 1, "train")
    batch = batch.replace(tokens=batch.tokens.at[0, 1].set(3))
    keys = jax.random.split(jax.random.key(1), 200)
    changed = jax.jit(jax.vmap(lambda key: task.corrupt(key, batch, "key")))(keys)
    assert set(np.asarray(changed[:, 0, 1]).tolist()) == {4, 5, 6}


# Catches floors that are fitted on the judged split, and a best that is not the highest.
def test_floors(orders):
    floors = orders.floors(jax.random.key(0))
    assert set(floors) == {
        "copy_next",
        "copy_previous",
        "copy_query",
        "copy_first",
        "copy_last",
        "majority",
        "per_query_majority",
        "bigram",
        "offset",
        "offset_by_tokens",
        "from_start",
        "from_query",
        "frequent",
        "elimination",
        "in_document",
        "uniform",
        "best",
    }
    counted = set(floors) - {"best", *orders.recall_like}
    assert floors["best"] == max(floors[name] for name in counted)
    assert floors["uniform"] == orders.chance
    assert floors["copy_next"] == 0  # a preposition or the end of a note follows a number
    assert 0.15 < floors["in_document"] < 0.4  # three or four orders, and earlier answers


def test_the_example_is_what_its_script_writes(tmp_path):
    """Catches an example that nobody can make again."""
    output = tmp_path / "orders.jsonl"
    subprocess.run([sys.executable, "-m", "tools.make_orders", str(output)], check=True, cwd=ROOT)
    assert output.read_bytes() == EXAMPLE.read_bytes()


@pytest.mark.parametrize(
    ("script", "characters"), [(make_machine_log, (1000, 4000)), (make_minutes, (200, 700))]
)
def test_further_examples_are_documents(script, characters, tmp_path):
    """Catches a span that is off by a character, and texts of another length than is said."""
    draw = random.Random(0)
    made = [script.make_document(draw) for _ in range(60)]
    path = tmp_path / "made.jsonl"
    path.write_text("\n".join(map(json.dumps, made)))
    task = Documents(str(path), test=0.2)
    assert task.corruptions == ("key", "value")
    assert all(characters[0] <= len(one["text"]) <= characters[1] for one in made)
    for one in made:
        asked = [one["text"][slice(*query["key"])] for query in one["queries"]]
        assert len(set(asked)) == len(asked) == 3
        for query, key in zip(one["queries"], asked, strict=True):
            assert one["text"][slice(*query["query"])] == key


def test_a_run_finds_its_documents_from_another_folder(orders, tmp_path, monkeypatch):
    """Catches a run that can be read only where it was trained, and other documents that are
    taken for its own."""
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    pathlib.Path("mine.jsonl").write_text(pathlib.Path(orders.path).read_text())
    run = RunFolder(tmp_path / "run")
    sections = config.get_config("path=mine.jsonl,mixer=based,width=16,layers=1").to_dict()
    sections["evaluation"]["documents"] = sections["training"]["evaluation_documents"] = 8
    run.open(Experiment.from_config(sections))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.experiment().task.path == str(tmp_path / "here" / "mine.jsonl")
    text = pathlib.Path(orders.path).read_text()
    pathlib.Path("mine.jsonl").write_text(text.partition("\n")[2])  # another file of this name
    assert run.experiment().task.path == str(tmp_path / "here" / "mine.jsonl")
    pathlib.Path("mine.jsonl").unlink()
    sections["task"]["path"] = "../here/mine.jsonl"  # the same file by another name
    run.open(Experiment.from_config(sections))
    lines = (tmp_path / "here" / "mine.jsonl").read_text().splitlines()
    (tmp_path / "here" / "mine.jsonl").write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match="not what it was for this config"):
        run.experiment()
    (tmp_path / "here" / "mine.jsonl").unlink()
    with pytest.raises(UserError, match=r"mine\.jsonl cannot be read"):
        run.experiment()


def test_train_and_intervene(orders, tmp_path):
    """Catches a task that the loop or the interchange grid cannot take, and another file."""
    path = tmp_path / "mine.jsonl"
    path.write_text(pathlib.Path(orders.path).read_text())
    sections = config.get_config(f"path={path},mixer=based,width=16,layers=1").to_dict()
    sections["model"] |= {"max_length": 64, "feed_forward": "none"}
    sections["training"] |= {
        "steps": 4,
        "batch_size": 8,
        "evaluate_every": 4,
        "evaluation_documents": 8,
        "checkpoint_every": 4,
        "steps_per_dispatch": 4,
    }
    sections["evaluation"] |= {"documents": 16, "resamples": 50, "directions": ("restore",)}
    sections["evaluation"]["roles"] = ("key", "value", "opening", "query")
    experiment = Experiment.from_config(sections)
    written = json.loads(json.dumps(experiment.as_dict()))
    assert written["task"]["sha256"] == experiment.task.sha256 != ""
    assert Experiment.from_config(written) == experiment
    workdir = tmp_path / "run"
    runs.train(experiment, workdir)
    sites = ["block_0/block_input", "block_0/mixer/conv_output", "block_0/block_output"]
    table, verdict = runs.intervene(workdir, sites)
    assert set(table["role"]) == {"key", "value", "opening", "query"}
    assert set(table["corruption"]) == {"key", "value"}
    assert verdict.verdict == "not_learned"
    summary = RunFolder(workdir).read_summary()
    assert summary["floors"]["best"] > 0
    with pytest.raises(UserError, match=r"is 9999, and split 'test' .*evaluation\.documents=64"):
        runs.intervene(workdir, sites, documents=9999)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(random.Random(0).sample(lines, len(lines))))
    with pytest.raises(UserError, match="not what it was for this config"):
        runs.load(workdir)
    with pytest.raises(UserError, match=r"mine\.jsonl has another content than it had"):
        runs.train(Experiment.from_config(sections), workdir)


# Catches a config refused for roles that only interventions need, a missing role or split that is
# found after training, and a message that does not say where the role is missing.
def test_documents_without_roles(tmp_path):
    path = tmp_path / "bare.jsonl"
    records = [
        {"tokens": [i, 50, i], "queries": [{"query": 2, "answer": 50, "key": 0}]} for i in range(60)
    ]
    del records[3]["queries"][0]["key"]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    sections = config.get_config(
        f"path={path},tokenizer=ids,mixer=based,width=16,layers=1"
    ).to_dict()
    sections["task"] |= {"dev": 0.3, "test": 0.3}
    sections["training"] |= {"evaluation_documents": 2}
    sections["evaluation"] |= {"documents": 2}
    experiment = Experiment.from_config(sections)
    with pytest.raises(UserError, match=r"no role 'value', since the first query of line 1 of "):
        experiment.evaluation.check_against(experiment.task)
    sections["evaluation"]["roles"] = ("key", "query")
    experiment = Experiment.from_config(sections)
    with pytest.raises(UserError, match=r"no corruption 'key', since .* line 4 .* no 'key'"):
        experiment.evaluation.check_against(experiment.task)
    sections["evaluation"]["roles"] = ("kee",)
    with pytest.raises(UserError, match=r"unknown role in evaluation.roles 'kee'.*'key'"):
        Experiment.from_config(sections)
    sections["evaluation"]["roles"] = ("key",)
    for split in ("dev", "test"):
        empty = sections | {"task": sections["task"] | {split: 0.0}}
        with pytest.raises(UserError, match=rf"split '{split}' has no doc.* task\.{split}"):
            Experiment.from_config(empty)
