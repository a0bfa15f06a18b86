"""What every task must be, whatever its documents are; `task_cases` has an entry for each."""

import functools
import json

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks import TASKS, content_of, fields_of_files
from mecheval_jax.tasks.base import Task
from tests.support import sharded_tasks, small
from tests.support.outcomes import in_numpy
from tests.support.reading import ABSENT, PAD
from tests.support.sharded_tasks import DOCUMENTS
from tests.support.task_cases import CASES


@functools.cache
def drawn(name):
    """Documents of a task, the same with each role corrupted, and their properties."""
    task = CASES[name].task

    def rewrite(key, batch):
        corrupted = {
            role: task.corrupt(jax.random.fold_in(key, i), batch, role)
            for i, role in enumerate(task.corruptions)
        }
        return corrupted, task.properties(batch)

    def whole(key):
        batch = task.sample(key, DOCUMENTS, "test")
        return batch, *rewrite(key, batch)

    key = jax.random.key(0)
    if task.traceable:
        batch, corrupted, properties = jax.jit(whole)(key)
    else:
        batch = task.sample(key, DOCUMENTS, "test")
        corrupted, properties = jax.jit(rewrite)(key, batch)
    return batch, *jax.tree.map(np.asarray, (corrupted, properties))


@functools.cache
def read(name):
    """(document, query) -> what the plain reader finds before and at the query."""
    case, batch = CASES[name], in_numpy(drawn(name)[0])
    readings = {}
    for i, j in zip(*np.nonzero(batch.weights), strict=True):
        tokens = batch.tokens[i, : batch.query_positions[i, j] + 1].tolist()
        readings[int(i), int(j)] = case.read(case.task, tokens, int(batch.lengths[i]), int(j))
    return readings


# Catches a task that no test knows.
def test_every_task_is_here():
    assert set(CASES) == set(TASKS)
    for name, case in CASES.items():
        assert type(case.task) is TASKS[name]
        assert isinstance(case.task, Task)


# Catches tokens outside the vocabulary or the length limit, padding that is not padding, a query
# behind `read_length`, a document whose first query does not count.
@pytest.mark.parametrize("name", CASES)
def test_layout(name):
    task, batch = CASES[name].task, in_numpy(drawn(name)[0])
    assert batch.tokens.dtype == batch.targets.dtype == batch.lengths.dtype == np.int32
    assert batch.tokens.shape[1] <= task.max_length
    assert batch.tokens.min() >= 0
    assert batch.tokens.max() < task.vocabulary_size
    for tokens, length in zip(batch.tokens, batch.lengths, strict=True):
        assert length <= task.max_length
        assert (tokens[length:] == PAD).all()
    assert set(batch.weights.ravel()) <= {0, 1}
    assert (batch.weights[:, 0] == 1).all()
    assert batch.query_positions.max() < task.read_length
    assert batch.query_positions.min() >= 0


# Catches an answer that the document does not determine, or that another than the asked one is.
@pytest.mark.parametrize("name", CASES)
def test_the_document_tells_the_answer(name):
    targets = np.asarray(drawn(name)[0].targets)
    for place, reading in read(name).items():
        assert reading.answer == targets[place]


# Catches a role one token off, one that is not there or has no name, and a query that does not
# count but has roles.
@pytest.mark.parametrize("name", CASES)
def test_roles_stand_at_what_they_name(name):
    batch, readings = in_numpy(drawn(name)[0]), read(name)
    assert set(batch.roles) == set(CASES[name].task.role_names)
    for place in np.ndindex(batch.targets.shape):
        found = {role: int(positions[place]) for role, positions in batch.roles.items()}
        if place in readings:
            assert found == readings[place].roles
            assert found["query"] == batch.query_positions[place]
        else:
            assert set(found.values()) == {ABSENT}


# Catches a slice by another number than its name says.
@pytest.mark.parametrize("name", CASES)
def test_properties(name):
    _, _, properties = drawn(name)
    for place, reading in read(name).items():
        assert {key: int(numbers[place]) for key, numbers in properties.items()} == (
            reading.properties
        )


# Catches a corruption of the query, of another place, of another class, of nothing, and one that
# leaves a repetition of the token in the document.
@pytest.mark.parametrize("name", CASES)
def test_corruption_replaces_what_it_says(name):
    case, (batch, corrupted, _) = CASES[name], drawn(name)
    assert set(corrupted) == set(case.task.corruptions) == set(case.classes)
    for role, changed in corrupted.items():
        for i, (before, now) in enumerate(zip(np.asarray(batch.tokens), changed, strict=True)):
            reading = read(name)[i, 0]
            places = sorted(reading.repeated.get(role, {reading.roles[role]}))
            assert np.flatnonzero(before != now).tolist() == places
            (replacement,) = set(now[places].tolist())
            assert replacement in case.classes[role]


# Catches replacements that favour some tokens, or never are some.
@pytest.mark.parametrize("name", CASES)
def test_corruption_reaches_the_whole_class(name):
    case, (batch, corrupted, _) = CASES[name], drawn(name)
    for role, changed in corrupted.items():
        place = np.asarray(batch.roles[role])[:, :1]
        found = np.take_along_axis(changed, place, axis=1)
        assert set(found.ravel().tolist()) == set(case.classes[role])


# Catches a chance that is stated and not so: of guesses that do not see the document.
@pytest.mark.parametrize("name", CASES)
def test_chance(name):
    case, batch = CASES[name], in_numpy(drawn(name)[0])
    asked = batch.targets[batch.weights > 0]
    guesses = np.random.default_rng(0).choice(case.answers, size=(2000, len(asked)))
    right = (guesses == asked).mean(axis=1)
    assert abs(right.mean() - case.task.chance) < 4 * right.std() / np.sqrt(len(right))


def count_recall_floors(case, batch):
    """The floors of recall, with loops."""
    right = {"in_document": [], "first": [], "last": []}
    asked = []
    for i, j in zip(*np.nonzero(batch.weights), strict=True):
        target = batch.targets[i, j]
        stop = batch.roles.get("divider", batch.query_positions)
        seen = [t for t in batch.tokens[i, : stop[i, j]].tolist() if t in case.answers]
        right["in_document"].append(seen.count(target) / len(seen))
        right["first"].append(seen[0] == target)
        right["last"].append(seen[-1] == target)
        asked.append(int(target))
    floors = {name: np.mean(numbers) for name, numbers in right.items()}
    floors["uniform"] = 1 / len(case.answers)
    floors["majority"] = max(map(asked.count, asked)) / len(asked)
    return floors | {"best": max(floors.values())}


# Catches a floor that counts queries without weight, the answer itself, or another class. Those of
# tasks that draw on the host are counted in test_packed_floors.
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.task.traceable])
def test_floors_by_counting(name, monkeypatch):
    case, batch = CASES[name], drawn(name)[0]

    def sample(task, key, batch_size, split):  # what is drawn already: to compile it is slow
        del key
        assert (task, batch_size) == (case.task, DOCUMENTS)
        assert split in ("dev", "train")  # what is guessed, and what guesses are counted in
        return batch

    with monkeypatch.context() as patched:
        patched.setattr(type(case.task), "sample", sample)
        floors = case.task.floors(jax.random.key(7), DOCUMENTS, "dev")
    count = case.floors or count_recall_floors
    counted = count(case, in_numpy(batch))
    del counted["best"]
    assert {name: floors[name] for name in counted} == pytest.approx(counted, rel=1e-5)
    # The others are counted in test_floors.
    shown = {"best", *case.task.recall_like}
    assert floors["best"] == max(value for name, value in floors.items() if name not in shown)


# Catches a token without a name or with that of another, and roles in the wrong place.
@pytest.mark.parametrize("name", CASES)
def test_description(name):
    task, batch = CASES[name].task, drawn(name)[0]
    names = [task.name_of(token) for token in range(task.vocabulary_size)]
    assert len(set(names)) == len(names)
    words = task.describe(batch, 0).split(" ")
    assert len(words) == batch.lengths[0]
    for position, (word, token) in enumerate(zip(words, batch.tokens[0], strict=False)):
        bare, _, brackets = word.partition("[")
        assert bare == names[int(token)]
        roles = {r for r, at in batch.roles.items() if at[0, 0] == position}
        assert set(brackets.removesuffix("]").split(",")) - {""} == roles - {"bos", "divider"}


# Catches a misspelt split or role that quietly means another.
@pytest.mark.parametrize("name", CASES)
def test_unknown_names(name):
    task, batch = CASES[name].task, drawn(name)[0]
    with pytest.raises(UserError, match=r"split 'tests' \(did you mean 'test'\?\)"):
        task.sample(jax.random.key(0), 1, "tests")
    with pytest.raises(UserError, match="corruption 'query'"):
        task.corrupt(jax.random.key(0), batch, "query")


@pytest.fixture(scope="module")
def on_devices():
    """What `sharded_tasks` prints."""
    done = small.start(
        ["-m", "tests.support.sharded_tasks"], XLA_FLAGS="--xla_force_host_platform_device_count=8"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Catches state outside the key, a key that is not used, and documents drawn per device: another
# program on 8 devices draws the same documents.
@pytest.mark.parametrize("name", CASES)
def test_same_key_same_batch(on_devices, name):
    found, ours = on_devices[name], drawn(name)[0]
    assert found["devices"] == 8
    assert found["batches"][0] == sharded_tasks.plain(ours)
    assert found["batches"][1] != sharded_tasks.plain(ours)


# Catches documents of a batch that share their key.
@pytest.mark.parametrize("name", CASES)
def test_documents_differ(name):
    documents = {tuple(row) for row in np.asarray(drawn(name)[0].tokens).tolist()}
    assert len(documents) > DOCUMENTS // 2


def test_the_content_of_files():
    """Catches a hash that belongs to no file, and one of another kind that is taken for a hash."""
    named = {"name": "documents", "path": "a", "tokenizer": "bytes", "sha256": "x"}
    derived = {"name": "treecall", "grammar_file": "a", "grammar_sha256": "y", "sha256": "x"}
    assert (content_of(named), fields_of_files(named)) == ("x", ["path"])
    assert (content_of(derived), fields_of_files(derived)) == ("y", ["grammar_file"])
    drawn_grammar = derived | {"grammar_file": None}
    for other in (named | {"sha256": 3}, named | {"name": "x"}, drawn_grammar, {}, None, "task"):
        assert (content_of(other), fields_of_files(other)) == ("", [])
