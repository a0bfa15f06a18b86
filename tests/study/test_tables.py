"""Tables of results as files, and how they grow."""

import contextlib
import hashlib
import re

import pandas as pd
import pytest

from configs import grids
from mecheval_jax import checksums
from mecheval_jax.errors import UserError
from mecheval_jax.files import open_file
from mecheval_jax.study import tables
from mecheval_jax.study.results import COLUMNS, FURTHER_RESTORED, RESTORED, config_values, table_of
from mecheval_jax.study.tables import (
    finished,
    grow_table,
    merged,
    names_left,
    read_table,
    read_tables,
    without_conflicts,
    write_table,
)
from mecheval_jax.sweeps.plan import plan
from tests.support import small
from tests.support.study_world import changed, world


def test_written_and_read_again(tmp_path):
    """Catches values that CSV changes, and a table that takes the hash of another."""
    part = world().iloc[:5].assign(regime="1234e567", config_hash="00012345")
    for name in ("a.csv", "b.csv"):
        write_table(tmp_path / name, part)
    for name in ("a.csv", "b.csv"):
        again = read_table(tmp_path / name)
        columns = ["accuracy", "option", "task", "regime", "config_hash"]
        assert list(again.columns) == list(COLUMNS)
        pd.testing.assert_frame_equal(
            again[columns], part[columns], rtol=1e-5,
            check_dtype=False,
        )  # fmt: skip
    write_table(tmp_path / "c.csv", again)
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def answers_of(table):
    """The same without interventions."""
    return table.assign(verdict=None, **dict.fromkeys(RESTORED))


def test_a_member_in_two_tables(tmp_path):
    """Catches a row of answers that hides one with interventions, and members counted twice."""
    part = world().iloc[:3]
    for name, table in (("a.csv", answers_of(part)), ("b.csv", part.iloc[1:])):
        write_table(tmp_path / name, table)
    for order in (("a.csv", "b.csv"), ("b.csv", "a.csv")):
        rows = read_tables([tmp_path / name for name in order])
        assert sorted(rows["width"]) == sorted(part["width"])
        assert rows["verdict"].notna().sum() == len(part.iloc[1:])
    assert len(read_tables([tmp_path])) == len(part)
    assert read_tables([]).empty
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="nothing holds no results table"):
        read_tables([tmp_path / "nothing"])


def test_two_tables_with_other_numbers_of_a_member(tmp_path):
    """Catches numbers that the order of two files chooses, a refusal of what is equal or empty, and
    one that does not say which tables and which member it is about."""
    part = world().iloc[:3]
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    name = part["config_hash"].iloc[1]
    write_table(first, part)
    for other in ({"accuracy": 0.123}, {"floor": 0.5}, {RESTORED[1]: 0.25}, {"verdict": "mixed"}):
        write_table(second, part.iloc[1:2].assign(**other))
        (column,) = other
        for order in ((first, second), (second, first)):
            one, two = map(re.escape, map(str, order))
            with pytest.raises(UserError, match=f"^{one} and {two} have other numbers") as error:
                read_tables(order)
            assert name in str(error.value)
            assert f": {column} is " in str(error.value)
            assert "\n" not in str(error.value)
    for other in ({}, {"accuracy": part["accuracy"].iloc[1] + 1e-7}, {"copying": None}):
        write_table(second, part.iloc[1:2].assign(**other))
        assert len(read_tables([tmp_path])) == len(part)
    # The fullest row counts, whatever the others say.
    write_table(second, answers_of(part).assign(accuracy=0.123))
    assert 0.123 not in read_tables([tmp_path])["accuracy"].tolist()


def test_a_table_with_two_rows_of_a_member(tmp_path):
    """Catches a table that somebody made by hand, of which the last row counts."""
    part = world().iloc[:1]
    write_table(tmp_path / "a.csv", pd.concat([part, part.assign(accuracy=0.123)]))
    with pytest.raises(UserError, match=r"a\.csv is damaged: it has two rows with other numbers"):
        read_tables([tmp_path])


def test_what_was_trained_again_beside_another_member(capfd):
    """Catches new numbers that make two tables disagree, and rows that go without a word."""
    part = world().iloc[:3]
    again = part.iloc[:2].assign(accuracy=0.123)
    assert without_conflicts(part, part.iloc[:0]) is part
    assert without_conflicts(part, part) is part
    left = without_conflicts(pd.concat([again, part.iloc[2:]]), part.iloc[:2])
    assert list(left["config_hash"]) == list(part["config_hash"])[2:]
    said = capfd.readouterr().err
    assert said.startswith("rows left out: 2,")
    assert all(name in said for name in again["config_hash"])
    # Rows that say more are added, as are those of members that no table has.
    assert without_conflicts(again, answers_of(part)) is again


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"documents": 0}, "documents of attention, .* is 0, and must be 1, 2, 3"),
        ({"width": 64.5}, "width of attention, .* is 64.5, and must be 1, 2, 3"),
        ({"accuracy": 1.7}, "accuracy of attention, .* is 1.7, and must be from 0 to 1"),
        ({"accuracy": -0.1}, "is -0.1, and"),
        ({"accuracy": float("inf")}, "is inf, and"),
        ({"dev_accuracy": 2.0}, "dev_accuracy of"),
        ({"accuracy": None}, "has no accuracy, and did not diverge"),
    ],
    ids=str,
)
def test_an_accuracy_that_none_can_be(tmp_path, values, said):
    """Catches a number that is judged though it is none, or a gap that nobody is told of."""
    part = world().iloc[:2].assign(config_hash=["first", "second"])
    write_table(tmp_path / "a.csv", pd.concat([part.iloc[:1], part.iloc[1:].assign(**values)]))
    with pytest.raises(UserError, match=rf"a\.csv is damaged: .*{said}") as error:
        read_table(tmp_path / "a.csv")
    assert "(second, split test)" in str(error.value)
    write_table(tmp_path / "a.csv", part.assign(accuracy=None, diverged_at=3))
    assert read_table(tmp_path / "a.csv")["accuracy"].isna().all()


def test_two_trainings_of_a_member():
    """Catches the one that learned kept over the other, whichever came last."""
    learned = world().iloc[:1]
    failed = learned.assign(verdict="not_learned", accuracy=0.07, **dict.fromkeys(RESTORED))
    for first, last in ((learned, failed), (failed, learned)):
        assert merged([first, last])["accuracy"].tolist() == last["accuracy"].tolist()


def test_what_one_program_alone_measures_is_kept():
    """Catches shares of finding 28 that go when the same member comes without them, and a member
    that learned kept over a later one that did not for their sake."""
    full = world().query("task == 'AR' and layers == 2 and mixer == 'mamba'").iloc[:1]
    less = full.assign(**dict.fromkeys(FURTHER_RESTORED), accuracy=0.5)
    failed = less.assign(verdict="not_learned", accuracy=0.07, **dict.fromkeys(RESTORED))
    for tables_of_it in ([full, less], [less, full]):
        assert merged(tables_of_it)["accuracy"].tolist() == full["accuracy"].tolist()
    for first, last in ((full, failed), (failed, full), (failed, less), (less, failed)):
        assert merged([first, last])["accuracy"].tolist() == last["accuracy"].tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a,b\n1,2\n", "it lacks the column 'config_hash'"),
        (b"", "No columns"),
        (b"\xff\xfe\x00", "can't decode"),
    ],
    ids=str,
)
def test_a_hash_does_not_make_a_table(tmp_path, text, said):
    """Catches a traceback for a file that is no results table, though its hash stands there."""
    (tmp_path / "a.csv").write_bytes(text)
    checksums.write_lines(tmp_path, [("a.csv", hashlib.sha256(text).hexdigest())])
    with pytest.raises(UserError, match=rf"a\.csv is damaged: .*{said}"):
        read_table(tmp_path / "a.csv")


def test_merging_drops_nothing():
    """Catches rows that are lost, an older number that stays, and an order by who came first."""
    part = world().iloc[:4]
    again = changed(part.iloc[1:2], {}, accuracy=0.123)
    order = list(part["config_hash"])[::-1]
    rows = merged([part.iloc[2:], part.iloc[:2], again], order)
    assert list(rows["config_hash"]) == order
    assert rows["accuracy"].tolist()[2] == 0.123
    backwards = merged([part.iloc[:2], again, part.iloc[2:]], order)
    pd.testing.assert_frame_equal(rows, backwards)
    unknown = merged([part], order[:1])
    assert list(unknown["config_hash"]) == [order[0], *order[:0:-1]]


def test_a_table_grows(tmp_path):
    """Catches rows of another machine that a new sweep drops, and a table of none."""
    path, part = tmp_path / "a.csv", world().iloc[:3]
    order = list(part["config_hash"])
    grow_table(path, part.iloc[:0], order)
    assert not path.exists()
    grow_table(path, part.iloc[1:], order)
    before, after = grow_table(path, part.iloc[:1], order)
    assert (len(before), len(after)) == (2, 3)
    assert list(read_table(path)["config_hash"]) == order


def test_what_is_finished():
    """Catches a member without interventions that counts as measured, or one that is done over."""
    part = world().iloc[:1]
    name = part["config_hash"].iloc[0]
    verdict_alone = part.assign(**dict.fromkeys(RESTORED))
    floor = verdict_alone.assign(verdict="not_learned")
    for table, none, verdict, full in (
        (answers_of(part), True, False, False), (verdict_alone, True, True, False),
        (part, True, True, True), (floor, True, True, True),
    ):  # fmt: skip
        wanted = {"none": none, "verdict": verdict, "full": full}
        assert {asked: name in finished(table, asked) for asked in wanted} == wanted


def test_groups_that_are_left(tmp_path):
    """Catches a group that is skipped though one of its members is missing, and one done twice."""
    base, changes = (
        small.experiment().as_dict(),
        grids.product(grids.axis("model.mixer", ["based", "mamba"]), grids.seeds(2)),
    )
    sweep = plan(base, changes)
    first, second = (group.name for group in sweep.groups)
    found = {"accuracy": 0.9, "verdict": "induction", RESTORED[0]: 1.0}
    rows = table_of([config_values(one) | found for one in sweep.experiments])
    write_table(tmp_path / "most.csv", rows.iloc[:3])
    assert names_left(sweep, [str(tmp_path)], "full") == [second]
    assert names_left(sweep, [str(tmp_path)], "none", [first]) == []
    write_table(tmp_path / "most.csv", answers_of(rows))
    assert names_left(sweep, [str(tmp_path)], "full") == [first, second]
    assert names_left(sweep, [str(tmp_path)], "none") == []
    with pytest.raises(UserError, match="no results table"):
        names_left(sweep, [str(tmp_path / "nowhere.csv")], "none")


def test_a_kill_between_two_writes(tmp_path, monkeypatch):
    """Catches a table that counts as edited because its hash was not yet, or no longer, there."""
    path, part = tmp_path / "a.csv", world().iloc[:2]
    write_table(path, part.iloc[:1])
    whole = tables.write_text
    for survived in range(4):
        write_table(path, part.iloc[:1])
        left = iter([True] * survived)

        def once(*arguments, left=left):
            return next(left) and whole(*arguments)

        with monkeypatch.context() as patched, contextlib.suppress(StopIteration):
            for module in (tables, checksums):
                patched.setattr(module, "write_text", once)
            write_table(path, part)
        assert len(read_table(path)) == (2 if survived >= 2 else 1)
    sums = (tmp_path / "SHA256SUMS").read_text()
    assert sums == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  a.csv\n"


def test_a_table_that_is_read_while_it_is_written(tmp_path, monkeypatch):
    """Catches a table that counts as edited because its hash is read a moment later."""
    path, part = tmp_path / "a.csv", world().iloc[:2]
    write_table(path, part.iloc[:1])

    @contextlib.contextmanager
    def read_then_written(name):
        with open_file(name) as file:
            yield file
        write_table(path, part)

    with monkeypatch.context() as patched:
        patched.setattr(tables, "open_file", read_then_written)
        assert len(read_table(path)) == 1
    assert len(read_table(path)) == 2


def test_a_table_that_was_edited(tmp_path):
    """Catches results that were changed by hand."""
    path = tmp_path / "a.csv"
    write_table(path, world().iloc[:2])
    path.write_text(path.read_text().replace("attention", "mamba", 1))
    with pytest.raises(UserError, match=r"a\.csv was edited"):
        read_table(path)
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="no hash"):
        read_table(path)
    with pytest.raises(UserError, match="no results table"):
        read_table(tmp_path / "none.csv")
