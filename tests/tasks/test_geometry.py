"""Where documents can hold a pair, against a plain loop over their positions."""

import json

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.sites import ALL
from mecheval_jax.tasks.base import PAIR
from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.geometry import check_geometry, corrupt_pair, geometry
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from tests.support import document_lines
from tests.support.recall_by_hand import by_hand
from tests.support.task_cases import CASES
from tests.support.treecall_cases import VARIANTS

COUNT = 24
SETS = ("pair", "loose", "question", "elsewhere", "named", "rest")
TASKS = {
    **{name: case.task for name, case in CASES.items() if set(PAIR) <= set(case.task.role_names)},
    **{f"treecall {name}": VARIANTS[name] for name in ("left", "mixed", "child", "sibling")},
    "reverse": AssociativeRecall(pairs=3, key_vocabulary=5, value_vocabulary=5, reverse=True),
}


def by_loop(task, batch, document, reach):
    """Positions of every set of one document, and whether it has a pair."""
    row = lambda values: np.asarray(values)[document]
    key, value = (int(row(batch.roles[role])[0]) for role in ("key", "value"))
    answered = int(row(batch.query_positions)[0])
    begins = int(row(batch.roles["query"])[0])
    if "divider" in batch.roles:
        begins = int(row(batch.roles["divider"])[0]) + 1
    if min(key, value) < 0 or key == value:
        return {name: set() for name in SETS}, False
    roles = ("key", "value") if key < value else ("value", "key")
    earlier, later = (
        set(np.flatnonzero(row(task.corrupted_places(batch, role))).tolist()) for role in roles
    )
    question = set(range(begins, answered + 1))
    pair, loose, rest = set(), set(), set()
    for position in range(min(earlier), begins):
        behind = [position - place for place in later if place <= position]
        if position in earlier or not behind:
            loose.add(position)
        elif min(behind) <= reach:
            pair.add(position)
        else:
            rest.add(position)
    sets = {"pair": pair, "loose": loose, "question": question, "rest": rest}
    return sets | {"elsewhere": loose | question, "named": pair | loose | question}, True


@pytest.mark.parametrize("name", TASKS)
def test_sets_of_positions(name):
    """Catches a pair looked for before it is complete, in one of its places, or in the question."""
    task = TASKS[name]
    batch = task.sample(jax.random.key(3), COUNT, "test")
    found = geometry(task, batch)
    tokens, corrupted = (
        np.asarray(x) for x in (batch.tokens, corrupt_pair(task, jax.random.key(0), batch))
    )
    masks = {reach: {s: np.asarray(found.mask(s, reach)) for s in SETS} for reach in (0, 2, ALL)}
    for document in range(COUNT):
        for reach, of_reach in masks.items():
            expected, applies = by_loop(task, batch, document, reach)
            seen = {s: set(np.flatnonzero(of_reach[s][document]).tolist()) for s in SETS}
            assert seen == expected, (document, reach)
        assert bool(found.applies[document]) == applies
        changed = set(np.flatnonzero(tokens[document] != corrupted[document]).tolist())
        if applies:
            assert changed
            assert changed == set(np.flatnonzero(found.earlier[document]).tolist())
            assert changed <= expected["loose"]
            assert not expected["rest"]  # a reach over all leaves nothing


def test_siblings_are_often_their_own_answer():
    """Catches documents that are judged although there is no pair to bind in them."""
    task = VARIANTS["sibling"]
    found = geometry(task, task.sample(jax.random.key(0), 400, "test"))
    assert 0.5 < 1 - np.asarray(found.applies).mean() < 0.9


def test_single_positions():
    """Catches offsets that are counted from the first place, or run into the question."""
    task = TASKS["multi_query_recall"]
    batch = task.sample(jax.random.key(3), COUNT, "test")
    found, value = geometry(task, batch), np.asarray(batch.roles["value"])[:, 0]
    np.testing.assert_array_equal(found.position(0), value)
    asked = np.asarray(batch.query_positions)[:, 0]  # behind the last value may stand the query
    behind = np.where(value + 1 == asked, -1, value + 1)
    np.testing.assert_array_equal(found.position(1), behind)
    assert set(behind < 0) == {False, True}
    _, batch = by_hand()
    assert np.asarray(found.position(10**6)).max() == -1


def test_every_copy_of_a_pair():
    """Catches the last copy of a pair alone, tokens of the question, and of other documents."""
    task = MultiQueryRecall(vocabulary=32, lengths=(32,), pairs=(4,), num_passes=2)
    batch = task.sample(jax.random.key(3), COUNT, "test")
    found, value = geometry(task, batch), np.asarray(batch.roles["value"])[:, 0]
    index = np.arange(32)[None]
    for offset in (0, 1):
        both = (index == value[:, None] + offset) | (index == value[:, None] - 8 + offset)
        before = index < np.asarray(batch.query_positions)[:, :1]
        np.testing.assert_array_equal(found.behind(offset), both & before)
    assert not np.asarray(found.behind(10**6)).any()


def test_tasks_without_geometry():
    """Catches documents that cannot be judged and do not say which roles they lack."""
    task = CASES["selective_copying"].task
    batch = task.sample(jax.random.key(0), 4, "test")
    with pytest.raises(UserError, match="has no role 'key'; add the role 'key'"):
        check_geometry(task, batch)
    recall = TASKS["reverse"]
    batch = recall.sample(jax.random.key(0), 4, "test")
    check_geometry(recall, batch)
    nowhere = batch.replace(roles=batch.roles | {"value": batch.roles["key"]})
    with pytest.raises(UserError, match="in no document"):
        check_geometry(recall, nowhere)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssociativeRecall, "corruptions", property(lambda self: ("key",)))
        with pytest.raises(UserError, match="value, earlier token of a pair, cannot be replaced"):
            check_geometry(recall, batch)


@pytest.mark.parametrize("missing", [("key", "value"), ("value",)], ids=str)
def test_own_documents_without_a_pair(tmp_path, missing):
    """Catches own documents that cannot be judged, and a message that does not say which line lacks
    which role."""
    lines = [json.loads(line) for line in document_lines.many(40)]
    for line in lines:
        for role in missing:
            del line["queries"][0][role]
    task = Documents(document_lines.write(tmp_path, *map(json.dumps, lines)), dev=0.2, test=0.3)
    batch = task.sample(jax.random.key(0), 4, "test")
    asked = f"line 1 of .* has no '{missing[0]}'; add the role '{missing[0]}' to documents"
    with pytest.raises(UserError, match=asked):
        check_geometry(task, batch)


def test_a_divider_that_is_the_question(tmp_path):
    """Catches documents without a question, whose answers are looked for up to their end."""
    lines = [json.loads(line) for line in document_lines.many(40)]
    without = document_lines.write(tmp_path, *map(json.dumps, lines))
    expected = Documents(without, dev=0.2, test=0.3)
    batch = expected.sample(jax.random.key(0), 4, "test")
    expected = geometry(expected, batch)
    for line in lines:
        line["queries"][0]["roles"] = {"divider": line["queries"][0]["query"]}
    task = Documents(document_lines.write(tmp_path, *map(json.dumps, lines)), dev=0.2, test=0.3)
    batch = task.sample(jax.random.key(0), 4, "test")
    found = geometry(task, batch)
    np.testing.assert_array_equal(batch.roles["divider"], batch.roles["query"])
    for name in SETS:
        np.testing.assert_array_equal(found.mask(name, 1), expected.mask(name, 1))
    assert found.apart(0).applies.all()
