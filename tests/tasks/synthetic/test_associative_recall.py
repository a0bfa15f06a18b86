"""Documents of associative recall: layout, roles, corruption, distribution, held-out pairs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.base import Task
from mecheval_jax.tasks.floors import recall_floors, with_best
from mecheval_jax.tasks.held_out import is_held_out
from mecheval_jax.tasks.synthetic import associative_recall
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from tests.support.outcomes import in_numpy
from tests.support.recall_by_hand import by_hand

PAD, BOS, EOS, FIRST_KEY = 0, 1, 2, 3  # SPEC: pad 0, bos 1, eos 2, then keys and values
SETTINGS = {
    "plain": AssociativeRecall(pairs=4, key_vocabulary=8, value_vocabulary=9),
    "one_pair": AssociativeRecall(pairs=1, key_vocabulary=2, value_vocabulary=2),
    "all_keys": AssociativeRecall(pairs=5, key_vocabulary=5, value_vocabulary=5),
    "variable": AssociativeRecall(pairs=5, min_pairs=1, key_vocabulary=8, value_vocabulary=8),
    "reverse": AssociativeRecall(pairs=4, key_vocabulary=9, value_vocabulary=8, reverse=True),
    "filler": AssociativeRecall(
        pairs=3, key_vocabulary=6, value_vocabulary=5, filler=2, filler_vocabulary=3
    ),
    "reverse_filler": AssociativeRecall(
        pairs=3, key_vocabulary=6, value_vocabulary=5, reverse=True, filler=1
    ),
    "queries": AssociativeRecall(pairs=4, key_vocabulary=6, value_vocabulary=6, queries=4),
    "held_out": AssociativeRecall(pairs=4, key_vocabulary=8, value_vocabulary=8, held_out=0.25),
    "fresh": AssociativeRecall(
        pairs=4, key_vocabulary=6, value_vocabulary=5, fresh_replacement=True
    ),
    "everything": AssociativeRecall(
        pairs=5,
        min_pairs=3,
        key_vocabulary=12,
        value_vocabulary=10,
        reverse=True,
        filler=1,
        filler_vocabulary=4,
        queries=2,
        held_out=0.3,
        fresh_replacement=True,
        seed=7,
    ),
}
DOCUMENTS = 64


@functools.cache
def sampled(setting, split="train"):
    """Documents and their corruptions, in NumPy."""
    task = SETTINGS[setting]

    @jax.jit
    def draw(key):
        documents, *corruptions = jax.random.split(key, 1 + len(task.corruptions))
        batch = task.sample(documents, DOCUMENTS, split)
        return batch, {
            role: task.corrupt(key, batch, role)
            for key, role in zip(corruptions, task.corruptions, strict=True)
        }

    batch, corrupted = draw(jax.random.key(1))
    return in_numpy(batch), jax.tree.map(np.asarray, corrupted)


def parse(task, tokens):
    """A document read from left to right: its pairs, with positions, and its questions."""
    tokens = list(tokens)
    assert tokens[0] == BOS
    pairs, at = [], 1
    while True:
        pairs.append((at, tokens[at], tokens[at + 1]))
        at += 2
        if tokens[at] == EOS:
            break
        first = FIRST_KEY + task.key_vocabulary + task.value_vocabulary
        assert all(
            first <= t < first + task.filler_vocabulary for t in tokens[at : at + task.filler]
        )
        at += task.filler
    divider = at
    questions = [
        (divider + 1 + 2 * i, *tokens[divider + 1 + 2 * i : divider + 3 + 2 * i])
        for i in range(task.queries)
    ]
    end = divider + 1 + 2 * task.queries
    assert tokens[end] == EOS
    assert set(tokens[end + 1 :]) <= {PAD}
    return pairs, divider, questions, end + 1


# Catches a token in the wrong place or class, a repeated key, an answer that is not the asked
# key's value, padding that is not padding.
@pytest.mark.parametrize("setting", SETTINGS)
def test_layout(setting):
    task, (batch, _) = SETTINGS[setting], sampled(setting)
    assert batch.tokens.shape == (DOCUMENTS, task.max_length)
    assert batch.tokens.dtype == np.int32
    first_value = FIRST_KEY + task.key_vocabulary
    numbers = set()
    for tokens, length in zip(batch.tokens, batch.lengths, strict=True):
        pairs, _, questions, end = parse(task, tokens)
        assert length == end
        numbers.add(len(pairs))
        keys, values = [k for _, k, _ in pairs], [v for _, _, v in pairs]
        assert len(set(keys)) == len(set(values)) == len(pairs)
        assert all(FIRST_KEY <= k < first_value for k in keys)
        assert all(first_value <= v < first_value + task.value_vocabulary for v in values)
        items, answers = (values, keys) if task.reverse else (keys, values)
        answer_to = dict(zip(items, answers, strict=True))
        assert len({q for _, q, _ in questions}) == task.queries
        assert all(answer_to[q] == a for _, q, a in questions)
    fewest = task.pairs if task.min_pairs is None else task.min_pairs
    assert numbers == set(range(fewest, task.pairs + 1))
    assert batch.tokens.max() < task.vocabulary_size


# Catches a limit that is too long, or too short for the longest document.
@pytest.mark.parametrize(
    ("task", "vocabulary_size", "max_length", "read_length"),
    [
        (AssociativeRecall(), 8195, 37, 35),  # the study's AR 32
        (AssociativeRecall(pairs=512), 8195, 1029, 1027),
        (SETTINGS["filler"], 3 + 6 + 5 + 3, 1 + 3 * 2 + 2 * 2 + 1 + 3, 13),
        (SETTINGS["queries"], 3 + 6 + 6, 1 + 8 + 1 + 8 + 1, 17),
    ],
)
def test_sizes(task, vocabulary_size, max_length, read_length):
    assert isinstance(task, Task)
    assert task.vocabulary_size == vocabulary_size
    assert task.max_length == max_length
    assert task.read_length == read_length


# Catches a role one token off, or one that stands where SPEC leaves it out: the document is
# searched for what each role names.
@pytest.mark.parametrize("setting", SETTINGS)
def test_roles(setting):
    task, (batch, _) = SETTINGS[setting], sampled(setting)
    for i, tokens in enumerate(batch.tokens):
        pairs, divider, questions, _ = parse(task, tokens)
        for j, (position, asked, answer) in enumerate(questions):
            before = list(tokens[:divider])
            key, value = before.index(asked), before.index(answer)
            expected = {
                "bos": 0,
                "key": key,
                "value": value,
                "next_key": value + 1,
                "value+2": value + 2,
                "divider": divider,
                "query": position,
                "answer": position + 1,
            }
            if task.filler:
                starts = [at for at, _, _ in pairs if at > max(key, value)]
                expected["next_pair_key"] = starts[0] if starts else -1
            for role in ("next_key", "value+2"):
                if role in expected and expected[role] in (key, divider, divider + 1):
                    expected[role] = -1
            assert {role: at[i, j] for role, at in batch.roles.items()} == expected
            assert batch.query_positions[i, j] == position
            assert batch.targets[i, j] == answer
            assert batch.weights[i, j] == 1
        assert divider + 2 * task.queries <= task.read_length


# Catches a next key in a reverse document, where the asked item itself follows the answer.
def test_roles_that_documents_lack_are_absent():
    assert (sampled("reverse")[0].roles["next_key"] == -1).all()
    assert "next_pair_key" not in sampled("plain")[0].roles
    assert (sampled("plain")[0].roles["next_key"] == -1).any()  # the last pair


# Catches a corruption of the query, of another pair, of another class, or of nothing.
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("role", ["key", "value"])
def test_corruption_changes_one_token(setting, role):
    task, (batch, corrupted) = SETTINGS[setting], sampled(setting)
    is_key = (role == "key") != task.reverse
    first, size = (
        (FIRST_KEY, task.key_vocabulary)
        if is_key
        else (FIRST_KEY + task.key_vocabulary, task.value_vocabulary)
    )
    for tokens, changed, at in zip(
        batch.tokens, corrupted[role], batch.roles[role][:, 0], strict=True
    ):
        assert list(np.flatnonzero(tokens != changed)) == [at]
        assert first <= changed[at] < first + size
        if task.fresh_replacement:
            assert changed[at] not in tokens


# Catches a replacement that favours some tokens, or that can never be one of the document.
@pytest.mark.parametrize("fresh", [False, True])
def test_replacements_are_uniform(fresh):
    task = AssociativeRecall(pairs=3, key_vocabulary=8, value_vocabulary=8, fresh_replacement=fresh)
    one = jax.jit(lambda key: task.sample(key, 1))(jax.random.key(0))
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf, 4000, axis=0), one)
    corrupted = jax.jit(lambda key: task.corrupt(key, many, "key"))(jax.random.key(1))
    at = int(one.roles["key"][0, 0])
    counts = np.bincount(np.asarray(corrupted)[:, at] - FIRST_KEY, minlength=8)
    tokens = np.asarray(one.tokens)[0]
    excluded = tokens[1:7:2] if fresh else tokens[[at]]
    assert counts[excluded - FIRST_KEY].sum() == 0
    assert (counts > 0).sum() == (5 if fresh else 7)
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-3


# Catches an asked pair that stands at some places more often than at others, and numbers of
# pairs, keys or values that are not uniform.
def test_documents_are_uniform():
    task = AssociativeRecall(pairs=4, min_pairs=2, key_vocabulary=6, value_vocabulary=6)
    batch = jax.jit(lambda key: task.sample(key, 6000))(jax.random.key(3))
    tokens, lengths = np.asarray(batch.tokens), np.asarray(batch.lengths)
    pairs = (lengths - 5) // 2
    slot = (np.asarray(batch.roles["key"])[:, 0] - 1) // 2
    asked = np.take_along_axis(tokens, np.asarray(batch.query_positions), axis=1)[:, 0]
    samples = [pairs, asked, np.asarray(batch.targets)[:, 0]]
    samples += [slot[pairs == number] for number in (2, 3, 4)]
    samples += [tokens[:, 1], tokens[:, 2], tokens[:, 3], tokens[pairs == 4, 8]]
    expected = [3, 6, 6, 2, 3, 4, 6, 6, 6, 6]
    for sample, classes in zip(samples, expected, strict=True):
        counts = np.unique(sample, return_counts=True)[1]
        assert len(counts) == classes
        assert stats.chisquare(counts).pvalue > 1e-3
    # Keys and values are drawn independently: all cells of a pair are as likely.
    cells = np.unique(tokens[:, 1:3], axis=0, return_counts=True)[1]
    assert len(cells) == 36
    assert stats.chisquare(cells).pvalue > 1e-3


# Catches a document of another length or another arrangement than the reference draws. Means
# from golden/languages.json, of about 1000 documents each.
@pytest.mark.parametrize(
    ("task", "length", "query_to_key", "query_to_value"),
    [
        (AssociativeRecall(), 37, 17.852, 16.852),
        (AssociativeRecall(reverse=True), 37, 16.852, 17.852),
        (
            AssociativeRecall(pairs=4, min_pairs=1, key_vocabulary=8, value_vocabulary=8),
            10.03,
            4.478,
            3.478,
        ),
    ],
)
def test_statistics_of_the_reference(task, length, query_to_key, query_to_value):
    batch = jax.jit(lambda key: task.sample(key, 4096))(jax.random.key(4))
    distance = lambda role: np.asarray(batch.roles["query"] - batch.roles[role])
    for ours, theirs in (
        (np.asarray(batch.lengths), length),
        (distance("key"), query_to_key),
        (distance("value"), query_to_value),
    ):
        error = ours.std() * np.sqrt(1 / 1000 + 1 / 4096)
        assert abs(ours.mean() - theirs) <= 4 * error


def assert_equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


# Catches state outside the key (a counter, NumPy's generator), and a key that is not used.
def test_sampling_is_a_function_of_the_key():
    task = SETTINGS["everything"]
    sample = jax.jit(lambda key: task.sample(key, 8, "dev"))
    one, again, other = (sample(jax.random.key(seed)) for seed in (0, 0, 1))
    assert_equal(one, again)
    assert not np.array_equal(one.tokens, other.tokens)
    documents = {tuple(row) for row in np.asarray(one.tokens).tolist()}
    assert len(documents) == 8  # no two documents of a batch share their key


# Catches sampling that depends on what is sampled beside it: members of a sweep must see what
# they would see alone.
def test_sampling_many_batches_at_once():
    task = SETTINGS["everything"]
    sample = lambda key: task.sample(key, 3, "test")
    keys = jax.random.split(jax.random.key(5), 4)
    together = jax.jit(jax.vmap(sample))(keys)
    alone = jax.jit(sample)
    for i in range(4):
        batch = jax.tree.map(lambda leaf: leaf[i], together)  # noqa: B023
        assert_equal(batch, alone(keys[i]))


# Catches a floor that counts the question itself, or padding, or reads the wrong class.
@pytest.mark.parametrize("setting", ["variable", "reverse", "everything"])
def test_floors_by_counting(setting):
    task, key = SETTINGS[setting], jax.random.key(6)
    batch = jax.jit(lambda key: task.sample(key, 200, "test"))(key)
    lowest = FIRST_KEY if task.reverse else FIRST_KEY + task.key_vocabulary
    size = task.key_vocabulary if task.reverse else task.value_vocabulary
    trained = batch
    if setting == "reverse":  # it compiles the sampling again: once is enough
        trained = task.sample(jax.random.fold_in(key, 1), 200, "train")
    floors = recall_floors(trained, batch, range(lowest, lowest + size))
    if setting == "reverse":
        assert task.floors(key, 200, "test") == with_best(floors)
    batch, trained = in_numpy(batch), in_numpy(trained)
    commonest = np.bincount(trained.targets[trained.weights > 0]).argmax()
    first, last, in_document, answers = [], [], [], []
    for tokens in batch.tokens:
        pairs, _, questions, _ = parse(task, tokens)
        candidates = [k if task.reverse else v for _, k, v in pairs]
        in_document.append(1 / len(candidates))
        for _, _, answer in questions:
            first.append(candidates[0] == answer)
            last.append(candidates[-1] == answer)
            answers.append(answer)
    expected = {
        "uniform": 1 / size,
        "in_document": np.mean(in_document),
        "first": np.mean(first),
        "last": np.mean(last),
        "majority": answers.count(commonest) / len(answers),
    }
    assert {name: floors[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert with_best(floors)["best"] == max(floors.values())


# Catches a mistake of the user that shows up later as a shape, or never: the message names the
# setting, its value and what it must be.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 0}, r"task\.pairs is 0"),
        ({"pairs": 9, "key_vocabulary": 8}, r"task\.key_vocabulary is 8: .*at least 9"),
        ({"pairs": 9, "value_vocabulary": 8}, r"task\.value_vocabulary is 8: .*at least 9"),
        ({"pairs": 1, "key_vocabulary": 1}, r"task\.key_vocabulary is 1: .*at least 2"),
        (
            {"pairs": 8, "key_vocabulary": 8, "fresh_replacement": True},
            r"task\.key_vocabulary is 8: .*at least 9",
        ),
        ({"pairs": 2, "queries": 3}, r"task\.queries is 3: it must be 1 to 2"),
        ({"queries": 0}, r"task\.queries is 0"),
        ({"pairs": 4, "min_pairs": 5}, r"task\.min_pairs is 5: .*4"),
        ({"pairs": 4, "min_pairs": 1, "queries": 2}, r"task\.min_pairs is 1: it must be 2"),
        ({"filler": -1}, r"task\.filler is -1"),
        ({"filler": 1, "filler_vocabulary": 0}, r"task\.filler_vocabulary is 0"),
        ({"held_out": 1.0}, r"task\.held_out is 1\.0"),
        ({"held_out": -0.1}, r"task\.held_out is -0\.1"),
        (
            {"pairs": 2, "key_vocabulary": 2, "value_vocabulary": 2, "held_out": 1e-6},
            r"task\.held_out 1e-06 with 2 keys and 2 values leaves 0 keys.*'test'",
        ),
        (
            {"pairs": 2, "key_vocabulary": 2, "value_vocabulary": 2, "held_out": 0.999999},
            r"task\.held_out 0\.999999.*'train'",
        ),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        AssociativeRecall(**options)


# Catches a misspelt split or role that quietly means another.
def test_unknown_names():
    task, batch = by_hand()
    with pytest.raises(UserError, match=r"split 'tests' \(did you mean 'test'\?\)"):
        task.sample(jax.random.key(0), 1, "tests")
    with pytest.raises(UserError, match=r"corruption 'query'.*key, value"):
        task.corrupt(jax.random.key(0), batch, "query")


def test_held_out_pairs_without_a_cpu_among_the_devices(monkeypatch):
    """Catches a traceback where jax has accelerators alone, as with JAX_PLATFORMS=cuda, and keys
    that are counted otherwise than cell by cell.
    """

    def of_accelerators(*arguments, backend=None, **options):
        raise RuntimeError(f"Unknown backend {backend}. Available backends are ['cuda']")

    monkeypatch.setattr(jax, "local_devices", of_accelerators)
    monkeypatch.setattr(associative_recall, "AT_ONCE", 50)
    task = AssociativeRecall(
        pairs=4, key_vocabulary=12, value_vocabulary=20, held_out=0.1, queries=2, seed=7
    )
    keys, values = np.meshgrid(np.arange(12), np.arange(20), indexing="ij")
    held = is_held_out(7, 0.1, keys, values)
    expected = np.flatnonzero(held.sum(axis=1) >= 2)
    assert 2 <= len(expected) < 12
    np.testing.assert_array_equal(task._eligible_keys("test"), expected)
    assert task._eligible_keys("train") is None
