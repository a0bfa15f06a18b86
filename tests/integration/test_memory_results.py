"""Results of memory: tables of runs are put together under their names."""

import pandas as pd

from tools.memory_results import collect


def test_runs_are_added_under_their_names(tmp_path):
    """Catches a run that is there twice, a metric that is lost, and a table of another analysis."""
    row = {"run": "members", "mixer": "gla", "state_bytes": 512, "pairs": 4, "value": 3.0}
    row |= {"low": 2.0, "high": 4.0}
    for name, value in (("first", 3.0), ("second", 2.0)):
        (tmp_path / name / "analyses").mkdir(parents=True)
        rows = [
            row | {"metric": m, "value": value} for m in ("threshold", "additive_threshold", "fit")
        ]
        pd.DataFrame(rows).to_csv(tmp_path / name / "analyses" / "capacity.csv", index=False)
    collect([("a", tmp_path / "first")], tmp_path / "out")
    collect([("a", tmp_path / "second"), ("b", tmp_path / "first")], tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "capacity.csv")
    assert list(table["run"]) == ["a", "a", "b", "b"]
    assert list(table["value"]) == [2.0, 2.0, 3.0, 3.0]
    assert set(table["metric"]) == {"threshold", "additive_threshold"}
    assert (tmp_path / "out" / "capacity.svg").exists()
    assert not (tmp_path / "out" / "editing.csv").exists()
