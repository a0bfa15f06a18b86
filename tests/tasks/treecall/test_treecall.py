"""Treecall: layout, held-out cells, floors, runs.

Statistics are compared with those of the study's own program by z tests of their means.
"""

import collections
import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.pooling import check_population
from mecheval_jax.experiment import documents_asked
from mecheval_jax.models.language_model import LanguageModel, initialize
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.tasks import held_out
from mecheval_jax.tasks.base import ABSENT, BOS, EOS, PAD
from mecheval_jax.tasks.synthetic.traceable import FIRST
from mecheval_jax.tasks.treecall import treecall
from mecheval_jax.tasks.treecall.queries import QUERY_TYPES
from mecheval_jax.tasks.treecall.treecall import Treecall
from mecheval_jax.training.data import BLOCK, HostDocuments
from mecheval_jax.training.replay import Replay
from mecheval_jax.training.step import loss_and_accuracy
from tests.support import small
from tests.support.golden_files import FOLDER
from tests.support.treecall_cases import SMALL, VARIANTS, drawn, experiment


@pytest.fixture(scope="module", params=VARIANTS)
def task(request):
    return VARIANTS[request.param]


@pytest.mark.parametrize("name", ["pcfg_5_20", "pcfg_10_20"])
def test_statistics_of_the_studys_program(name, tmp_path):
    """Catches another reading of the grammar: heads, last occurrences, order of the choice.

    z tests of the means of 500 and 200 documents that the study's program drew.
    """
    reference = json.loads((FOLDER / "grammars.json").read_text())[name]
    path = tmp_path / "grammar.json"
    path.write_text(json.dumps(reference["grammar"]))
    task = Treecall(grammar_file=str(path), symbols=10)
    found = task.draw(jax.random.key(1), 8000, "train")
    query, key, value = (found.roles[role][:, 0] for role in ("query", "key", "value"))
    counted = task.statistics(jax.random.key(2), 8000)
    values = {
        "doc_length": found.lengths - 5,
        "query_orig_target_orig_dist": np.abs(value - key),
        "query_query_orig_dist": query - key,
        "query_target_orig_dist": query - value,
        "branching_factor": counted["branching"],
        "percent_non_unique": counted["repeated"],
        "depth": counted["depth"],
        "eligible_pairs": counted["eligible_pairs"],
        "eligible_queries": counted["eligible_queries"],
        "eligible_targets": counted["eligible_answers"],
    }
    assert set(values) == set(reference["stats"])
    for statistic, expected in reference["stats"].items():
        ours = np.asarray(values[statistic], float)
        error = ours.std() / np.sqrt(reference["n_stats"])
        assert abs(ours.mean() - expected["mean"]) < 3.5 * error, statistic
        assert ours.min() <= expected["min"] + 1e-6, statistic
        assert 1.5 * ours.max() >= expected["max"], statistic
    for statistic, other in (("length", "doc_length"), ("distance", "query_orig_target_orig_dist")):
        assert stats.ks_2samp(counted[statistic], values[other]).pvalue > 1e-3


def test_layout(task):
    """Catches tokens and roles that do not stand where the layout says."""
    packed = drawn(task, 300)
    typed = len(task.query_types) > 1
    for i in range(len(packed)):
        tokens = packed.tokens[packed.starts[i] : packed.starts[i + 1]].tolist()
        role = {name: int(positions[i, 0]) for name, positions in packed.roles.items()}
        assert set(role) == set(task.role_names)
        size = len(tokens) - 5 - typed
        assert task.shortest <= size <= task.longest
        assert tokens[0] == BOS
        assert tokens[size + 1] == tokens[-1] == EOS
        assert all(FIRST <= t < FIRST + task.terminals for t in tokens[1 : size + 1])
        assert (role["bos"], role["divider"], role["query"]) == (0, size + 1, size + 2)
        assert role["answer"] == size + 3 + typed == len(tokens) - 2
        assert tokens[role["key"]] == tokens[role["query"]]
        assert tokens[role["value"]] == tokens[role["answer"]] == packed.targets[i, 0]
        assert tokens[role["key"]] not in tokens[role["key"] + 1 : size + 1]
        for name, position in (("next_key", role["value"] + 1), ("value+2", role["value"] + 2)):
            clash = position >= role["divider"] or position == role["key"]
            assert role[name] == (ABSENT if clash else position)
        predicted = int(packed.query_positions[i, 0])
        if typed:
            assert predicted == role["query_type"] == role["query"] + 1
            assert task.name_of(tokens[predicted])[1:-1] in task.query_types
        else:
            assert predicted == role["query"]


def test_query_types_are_told_by_their_token():
    """Catches a type's token that stands for another relation."""
    task = VARIANTS["mixed"]
    packed = drawn(task, 3000)
    kinds = packed.tokens[packed.starts[:-1] + packed.query_positions[:, 0]]
    shares = np.bincount(kinds - task.classes["type"].start) / len(kinds)
    assert shares.min() > 0.2
    key, value = packed.roles["key"][:, 0], packed.roles["value"][:, 0]
    types = [task.name_of(int(kind)) for kind in kinds]
    # With the head on the right a parent stands after its child.
    assert all(v > k for v, k, t in zip(value, key, types, strict=True) if t == "<parent>")
    assert all(v < k for v, k, t in zip(value, key, types, strict=True) if t == "<child>")
    assert any(v == k for v, k, t in zip(value, key, types, strict=True) if t == "<sibling>")


def test_held_out_cells():
    """Catches a test question that training could ask, and the other way round."""
    task = Treecall(held_out=0.3, query_types=QUERY_TYPES)
    asked = {}
    for split in ("train", "dev", "test"):
        packed = task.draw(jax.random.key(0), 3000, split)
        kinds = packed.tokens[packed.starts[:-1] + packed.query_positions[:, 0]]
        labels = [
            packed.tokens[packed.starts[:-1] + packed.roles[role][:, 0]] - FIRST
            for role in ("key", "value")
        ]
        child = kinds == task.classes["type"].start + QUERY_TYPES.index("child")
        parents = np.where(child, labels[0], labels[1])
        children = np.where(child, labels[1], labels[0])
        asked[split] = set(zip(parents.tolist(), children.tolist(), strict=True))
        forbidden = held_out.is_held_out(task.seed, 0.3, parents, children)
        assert (forbidden == (split == "test")).all()
    assert not asked["test"] & (asked["train"] | asked["dev"])
    assert len(asked["test"]) > 60


def test_draws_are_a_function_of_the_key():
    """Catches state that is kept between draws, and splits that are not separate."""
    task = VARIANTS["easy"]
    one, again = (task.draw(jax.random.key(5), 50, "train") for _ in range(2))
    chex.assert_trees_all_equal(dataclasses.asdict(one), dataclasses.asdict(again))
    other = task.draw(jax.random.key(6), 50, "train")
    assert one.tokens.tobytes() != other.tokens.tobytes()


COPIES = {
    "copy_next": lambda tokens, at: tokens[at + 1],
    "copy_previous": lambda tokens, at: tokens[at - 1],
    "copy_query": lambda tokens, at: tokens[at],
    "copy_last": lambda tokens, at: tokens[-1],
    "copy_first": lambda tokens, at: tokens[0],
}


@pytest.mark.parametrize("name", ["easy", "left", "child", "mixed"])
def test_floors_know_every_copy(name, monkeypatch):
    """Catches a task whose easy heuristic is no floor: a model would pass that only copies."""
    monkeypatch.setattr(treecall, "TRAINING_DOCUMENTS", 4000)
    task, key = VARIANTS[name], jax.random.key(8)
    floors = task.floors(key, 2000, "test")
    judged = task.draw(jax.random.split(key)[1], 2000, "test")
    right = collections.defaultdict(lambda: dict.fromkeys(COPIES, 0))
    for i in range(len(judged)):
        tokens = judged.tokens[judged.starts[i] : judged.starts[i + 1]].tolist()
        role = {name: int(positions[i, 0]) for name, positions in judged.roles.items()}
        inside = [*tokens[1 : role["divider"]], None]  # nothing after the last token is right
        kind = tokens[role["query_type"]] if "query_type" in role else None
        for copy, guess in COPIES.items():
            at = role["key"] - 1
            seen = inside[:-1] if copy in ("copy_last", "copy_first") else inside
            guessed = None if copy == "copy_previous" and at == 0 else guess(seen, at)
            right[kind][copy] += guessed == judged.targets[i, 0]
    for copy in COPIES:
        assert floors[copy] == pytest.approx(sum(r[copy] for r in right.values()) / 2000)
    # No copy beats the best floor, however it suits the types (up to chance in their choice).
    by_type = sum(max(counts.values()) for counts in right.values()) / 2000
    assert floors["best"] >= by_type - 0.03
    assert ("by_type" in floors) == (len(task.query_types) > 1)


def test_corruption(task):
    """Catches a token of another class, the original, or another position."""
    batch = task.sample(jax.random.key(0), 200, "test")
    corrupt = jax.jit(task.corrupt, static_argnums=2)
    for role in ("key", "value"):
        tokens = np.asarray(corrupt(jax.random.key(1), batch, role))
        before = np.asarray(batch.tokens)
        changed = tokens != before
        assert (changed.sum(axis=1) == 1).all()
        assert (changed.argmax(axis=1) == np.asarray(batch.roles[role])[:, 0]).all()
        assert np.isin(tokens[changed], np.arange(FIRST, FIRST + task.terminals)).all()


def test_padding_changes_no_answer():
    """Catches a mixer, loss or accuracy that reads the padding."""
    task = dataclasses.replace(VARIANTS["easy"], longest=120)
    batch = drawn(task, 40)[:6].batch(task.max_length)
    extra = 64 - batch.tokens.shape[1]
    assert extra >= 16
    longer = batch.replace(tokens=jnp.pad(batch.tokens, ((0, 0), (0, extra)), constant_values=PAD))
    mixers = "attention,mamba,hyena"
    changes = {"model.mixer": mixers, "model.layers": 3, "model.feed_forward": "none"}
    config = small.experiment(changes | {"model.max_length": 128}).model
    config = dataclasses.replace(config, vocabulary_size=task.vocabulary_size)
    # Large weights: every layer has its say in the answer.
    params = jax.jit(initialize, static_argnums=0)(config, jax.random.key(0))
    params = jax.tree.map(lambda p: p * 5, params)

    @jax.jit
    def answers(params, batch):
        logits = LanguageModel(config).apply(
            {"params": params}, batch.tokens, batch.query_positions
        )
        return logits, *loss_and_accuracy(config, params, task, batch)

    short, padded = (answers(params, each) for each in (batch, longer))
    assert float(jnp.abs(short[0]).max()) > 1
    chex.assert_trees_all_close(short, padded, rtol=1e-4, atol=1e-5)


def test_the_set_is_the_beginning_of_the_stream():
    """Catches a fixed set that is drawn in another way than endless documents."""
    task, key = VARIANTS["easy"], jax.random.key(0)
    endless, fixed = HostDocuments(task, key, 4), HostDocuments(task, key, 4, Replay(BLOCK + 3))
    for step in (0, 5, BLOCK - 1, BLOCK, BLOCK + 2):
        small.assert_same_bits(endless.parts(step), fixed.parts(step))
        small.assert_same_bits(fixed.parts(step), fixed.parts(step + BLOCK + 3))
    # What is kept are two blocks of documents, not two blocks of padded batches.
    assert 2 * BLOCK * 4 * 60 < fixed.nbytes < 2 * BLOCK * 4 * 300


def test_a_run_keeps_its_grammar_and_is_judged(tmp_path):
    """Catches a run without its grammar, floors or evidence; and one that resumes otherwise."""
    made = experiment(steps=20)
    folder = runs.train(made, tmp_path / "run")
    assert (folder.path / "grammar.json").read_text() == made.task.grammar.as_json()
    summary = folder.read_summary()
    for floor in ("copy_next", "copy_last", "majority", "per_query_majority", "bigram", "best"):
        assert 0 <= summary["floors"][floor] <= 1
    table, verdict = runs.intervene(tmp_path / "run", roles=("key", "value", "query"))
    assert verdict.verdict in ("not_learned", "undecided", "direct_retrieval")
    assert set(table["role"]) == {"key", "value", "query"}
    again = RunFolder(tmp_path / "run").experiment()
    assert again.task == made.task
    # The same grammar from its file.
    from_file = dataclasses.replace(
        made.task, grammar_file=str(folder.path / "grammar.json"), grammar_sha256=""
    )
    one, two = (t.draw(jax.random.key(3), 20, "test") for t in (made.task, from_file))
    np.testing.assert_array_equal(one.tokens, two.tokens)
    assert len(from_file.grammar_sha256) == 64
    with pytest.raises(UserError, match="another grammar"):
        dataclasses.replace(from_file, grammar_sha256="0" * 64)


def test_a_run_whose_grammar_file_is_gone(tmp_path):
    """Catches a finished run that can be loaded only where it was trained, or with any grammar."""
    path = tmp_path / "mine.json"
    path.write_text(experiment().task.grammar.as_json())
    task = SMALL | {"grammar_file": str(path)}
    made = small.experiment({"task": task, "model.max_length": 128})
    folder = RunFolder(tmp_path / "run")
    folder.open(made)
    beside = RunFolder(tmp_path / "beside")
    beside.open(small.experiment({"task": task, "model.max_length": 128}, seed=1))
    # The next experiment has its grammar under the same name.
    path.write_text(Treecall(seed=5, terminals=made.task.terminals).grammar.as_json())
    assert folder.experiment().task.grammar_file == str(folder.grammar)
    path.unlink()
    # Both have a copy of their own, and the same documents.
    both = {"run": folder.experiment(), "beside": beside.experiment()}
    check_population(both)
    assert len({documents_asked(one.as_dict()) for one in both.values()}) == 1
    again = folder.experiment().task
    assert again.grammar_file == str(folder.grammar)
    assert dataclasses.replace(made.task, grammar_file=str(folder.grammar)) == again
    folder.grammar.write_text(Treecall(seed=5, terminals=again.terminals).grammar.as_json())
    with pytest.raises(UserError, match="another grammar"):
        folder.experiment()
    folder.grammar.unlink()
    with pytest.raises(UserError, match=r"mine\.json"):
        folder.experiment()
    left = made.task.grammar.as_json().replace('"right"', '"left"')
    path.write_text(left)
    with pytest.raises(UserError, match=r"head_side is right, and .*mine\.json has left"):
        small.experiment({"task": task})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shortest": 2000, "longest": 3000, "symbols": 2, "levels": 1}, "nothing can be derived"),
        ({"longest": 1, "shortest": 1}, "nothing can be derived"),
        ({"shortest": 5, "longest": 4}, "task.shortest is 5 and task.longest 4"),
        ({"held_out": 1.0}, "task.held_out is 1.0"),
        ({"held_out": 1e-9}, "a parent query that split 'test' could ask"),
        ({"query_types": ()}, "task.query_types is empty"),
        ({"query_types": ("aunt",)}, "unknown task.query_types 'aunt'"),
        ({"query_types": ("child", "child")}, "names child twice"),
        ({"order": "first"}, "unknown task.order 'first'"),
        ({"symbols": 1}, "task.symbols is 1"),
        ({"grammar_file": "nowhere.json"}, r"nowhere\.json"),
    ],
)
def test_fields_that_cannot_be(fields, words):
    """Catches an endless search for documents, and a mistake that shows up in training."""
    with pytest.raises(UserError, match=words):
        Treecall(**fields)


def test_a_grammar_of_many_terminals_is_read(tmp_path):
    """Catches a file that is refused for the size of a grammar which nobody draws."""
    terminals, path = 60_000, tmp_path / "many.json"
    values = {
        "terminals": terminals,
        "max_depths": {"nt0": 1, "nt1": 2},
        "rules": {"nt0": [["t59999", "nt1"]], "nt1": [["t7", "t40000"]]},
        "rule_probs": {"nt0": [1.0], "nt1": [1.0]},
        "head_probs": None,
    }
    path.write_text(json.dumps(values))
    task = Treecall(grammar_file=str(path), terminals=terminals)
    tokens = np.unique(task.draw(jax.random.key(0), 20, "train").tokens)
    assert {FIRST + 7, FIRST + 40_000, FIRST + 59_999} <= set(tokens.tolist())
    with pytest.raises(UserError, match="grammar of 12,000,000 symbols"):
        Treecall(terminals=terminals)
    with pytest.raises(UserError, match="terminals is 10000001: at most 10,000,000"):
        Treecall(grammar_file=str(path), terminals=10_000_001)


def test_a_model_that_is_too_short():
    with pytest.raises(UserError, match="which have up to 66 tokens"):
        small.experiment({"task": SMALL, "model.max_length": 65})
