"""`tools.hybrid_results`: which layers of hybrids bind and read, as a table and lines of a page."""

import pandas as pd

from tests.support.pages import check_written
from tests.support.sweep_results import fill_members, make_sweep
from tools.hybrid_results import COLUMNS, LAYER, TABLE, lines_of, put, rows_of
from tools.sweep_results import merged

HYBRID = "mamba,attention"


def kept(layer, where, value, ablation="resample"):
    """A row of the table of `components`; the interval is 0.1 to either side."""
    ends = {"value": value, "low": value - 0.1, "high": value + 0.1}
    named = {"component": f"layer {layer} (Mixer)", "where": where, "ablation": ablation}
    return named | {"metric": "kept", "documents": 8} | ends


def sweep_of(path, shares):
    """A sweep of one hybrid with two seeds, of which the first has the analysis.

    Args:
        path: Folder of the sweep.
        shares: (layer, where) -> share of the answer that is left.
    """
    sweep = make_sweep(path, {HYBRID: {(1e-3, 0): 0.9, (1e-3, 1): 0.2}})
    fill_members(sweep, {0: 0.9, 1: 0.2})
    analyses = sweep.group(sweep.read()["groups"][0]["name"]).member(0) / "analyses"
    analyses.mkdir()
    rows = [kept(*place, value) for place, value in shares.items()]
    rows += [kept(*place, 0.99, "zero") for place in shares]
    pd.DataFrame(rows).to_csv(analyses / "components.csv", index=False)
    return sweep


SHARES = {(0, "pair"): 0.1, (0, "question"): 0.9, (1, "pair"): 0.95, (1, "question"): 0.02}


def table_of(path, shares):
    """The rows of `sweep_of`."""
    found = rows_of(sweep_of(path, shares).path)
    return pd.DataFrame(list(found), columns=list(COLUMNS))


def test_members_become_rows_of_layers(tmp_path):
    """Catches another ablation's share, a layer taken for another, and a member that is made up."""
    table = table_of(tmp_path / "sweep", SHARES)
    assert list(table["seed"]) == [0, 0]
    assert list(table["pair"]) == [0.1, 0.95]
    assert list(table["question"]) == [0.9, 0.02]
    *_, line, end = lines_of(table)
    assert not end
    assert line == (
        "| `mamba,attention` | 0 | 90.0 % [80.0, 100.0] | `induction` | 0.10, 0.95 | 0.90, 0.02 "
        "| 0 (mamba) | 1 (attention) |"
    )


def test_a_layer_is_named_where_it_is_needed_for_certain(tmp_path):
    """Catches a layer that is named though its interval reaches half the answer, and layers of a
    model that has learned nothing."""
    table = table_of(tmp_path / "sweep", SHARES | {(0, "pair"): 0.45, (1, "question"): 0.3})
    assert list(lines_of(table))[-2].endswith("| none alone | 1 (attention) |")
    untaught = table.assign(accuracy_low=table["floor"])
    assert list(lines_of(untaught))[-2].endswith("| - | - |")


def test_tables_of_several_machines_add_up(tmp_path):
    """Catches a member that is there twice, and one that another machine's are lost to."""
    old = table_of(tmp_path / "first", SHARES)
    other = old.assign(mixer="attention,mamba")
    path = tmp_path / "hybrids.csv"
    pd.concat([old, other]).to_csv(path, index=False)
    rows = merged(path, table_of(tmp_path / "second", SHARES | {(0, "pair"): 0.2}), LAYER)
    assert list(rows["mixer"]) == ["attention,mamba"] * 2 + [HYBRID] * 2
    assert list(rows["pair"]) == [0.1, 0.95, 0.2, 0.95]


def test_the_page_has_the_table(tmp_path):
    """Catches numbers that were changed by hand."""
    check_written(tmp_path, "docs/experiments.md", [TABLE], put)
