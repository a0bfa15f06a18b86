"""Results in a folder: what is there is kept, and two folders are compared."""

import pytest

from mecheval_jax import benchmarks
from mecheval_jax.benchmarks import record
from mecheval_jax.benchmarks.measured import Measured
from mecheval_jax.errors import UserError
from mecheval_jax.store.folder import Folder

MACHINE = {"device": "cpu", "platform": "cpu", "cores": 2, "jax": "1", "matrix_gflops": 1.0}


def rows(*values, quantity="time"):
    return record.table("step", [Measured("mamba", quantity, values)])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    record.Record(tmp_path / "a", MACHINE).add(rows(2.0, 3.0, 4.0))
    return tmp_path / "a"


# Catches a part that is measured again, or is lost when another is added.
def test_parts_are_kept(folder):
    again = record.Record(folder, MACHINE | {"matrix_gflops": 2.0})
    assert again.has("step")
    assert not again.has("grid")
    again.add(record.table("grid", [Measured("all", "time", (1.0,))]))
    table, machine = record.read(folder)
    assert list(table["part"]) == ["step", "grid"]
    assert machine == MACHINE


# Catches parts of two programs of which the last to be written are all that is left.
def test_one_program_measures_into_a_folder(folder):
    with Folder(folder).lock("benchmarks"), pytest.raises(UserError, match="benchmarks"):
        benchmarks.measure(["imports"], output=folder)


# Catches times of two machines in one table.
def test_another_machine_is_refused(folder):
    with pytest.raises(UserError, match="has benchmarks of device cpu, and this is H100"):
        record.Record(folder, MACHINE | {"device": "H100"})


def test_a_folder_of_costs_is_refused(tmp_path):
    """Catches rows of another machine beside this one's description."""
    (tmp_path / "machine.json").write_text("{}")
    (tmp_path / "cost.csv").write_text("model\n")
    with pytest.raises(UserError, match=r"is not empty and holds no benchmarks, but cost\.csv"):
        benchmarks.measure(only=["imports"], output=tmp_path)


# Catches a ratio upside down, an interval that is too narrow, and quantities that one has alone.
def test_ratios_have_their_spread(folder):
    before, _ = record.read(folder)
    after = rows(1.0, 1.5, 2.5)
    after.loc[len(after)] = after.loc[0].to_dict() | {"quantity": "new"}
    (row,) = record.compare(after, before).to_dict("records")
    assert (row["before"], row["after"], row["ratio"]) == (3, 1.5, 0.5)
    assert (row["low"], row["high"]) == (1 / 4, 2.5 / 2)


# Catches tracebacks, and a comparison that measures for minutes first.
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"only": ["stp"]}, "unknown benchmark 'stp'"),
        ({"compare": "there"}, "--compare needs --output"),
        ({"compare": "there", "output": "here"}, "there has no benchmarks.csv"),
    ],
)
def test_mistakes_are_told(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        benchmarks.measure(**arguments)


def test_nothing_in_common(folder, tmp_path, monkeypatch):
    """Catches minutes of measurements for an empty comparison."""
    monkeypatch.setattr(benchmarks, "machine", lambda: MACHINE)
    monkeypatch.setitem(benchmarks.SUITES, "all", {"other": lambda: pytest.fail("measured")})
    with pytest.raises(UserError, match="which has or gets other: the earlier results are of"):
        benchmarks.measure(output=tmp_path / "new", compare=folder)


def test_no_quantity_in_common(folder, tmp_path, monkeypatch):
    """Catches a comparison of the same part that shows nothing and is called done."""
    monkeypatch.setattr(benchmarks, "machine", lambda: MACHINE)
    part = {"step": lambda *_: [Measured("mamba", "bytes", (1.0,))]}
    monkeypatch.setitem(benchmarks.SUITES, "all", part)
    with pytest.raises(UserError, match=r"new and .*a have no quantity in common") as raised:
        benchmarks.measure(output=tmp_path / "new", compare=folder)
    assert "step, mamba, bytes" in str(raised.value)
    assert "step, mamba, time" in str(raised.value)
    assert record.read(tmp_path / "new")[0]["quantity"].tolist() == ["bytes"]


def test_names_that_look_like_numbers_are_compared(folder, tmp_path):
    """Catches a table of nothing but numbers for names, which no other then has."""
    (tmp_path / "b").mkdir()
    record.Record(tmp_path / "b", MACHINE).add(record.table("1", [Measured("2", "3", (1.0,))]))
    table, _ = record.read(tmp_path / "b")
    assert len(record.compare(table, table)) == 1
    assert record.compare(table, record.read(folder)[0]).empty


# Catches a damaged table that ends in a traceback.
def test_damage_is_told(folder):
    (folder / "benchmarks.csv").write_text("part,what\nstep,mamba\n")
    with pytest.raises(UserError, match="lacks the column 'quantity'"):
        record.read(folder)


# Catches results that are printed alone, a part that is not taken from the folder, and a
# comparison that is not drawn.
def test_a_comparison_of_two_folders(folder, tmp_path, monkeypatch, capsys):
    calls = []

    def part():
        calls.append(0)
        yield Measured("mamba", "time", (1.0, 2.0))

    monkeypatch.setitem(benchmarks.SUITES, "all", {"part": part})
    monkeypatch.setattr(benchmarks, "machine", lambda: MACHINE)
    for name in "bcc":
        benchmarks.measure(output=tmp_path / name, compare=tmp_path / "b" if calls else None)
    assert len(calls) == 2
    out = capsys.readouterr().out
    assert "1.5 s" in out
    assert "[0.50, 2.00]" in out
    for name in ("comparison.csv", "comparison.png", "comparison.svg"):
        assert (tmp_path / "c" / name).stat().st_size
