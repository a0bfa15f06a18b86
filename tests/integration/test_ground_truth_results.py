"""`tools.ground_truth_results`: what a ladder found, as lines of a page."""

import pandas as pd

from mecheval_jax.files import write_json
from tests.support.compilation import ROOT
from tests.support.pages import check_written
from tools import ground_truth_results
from tools.ground_truth_results import FOLDER, TABLES


def test_models_of_a_kind_are_one_line(tmp_path):
    """Catches a model that counts for another kind or method."""
    folder = tmp_path / "parts" / "edges"
    folder.mkdir(parents=True)
    for kind, values in {"a": (0.9, 0.5, 0.7), "b": (1.0,)}.items():
        for seed, value in enumerate(values):
            row = {"kind": kind, "seed": seed, "edges": 12, "low": 0.1, "high": 0.9}
            rows = [
                row | {"method": method, "metric": metric, "value": number}
                for method, metric, number in (
                    ("exact", "auroc", 1.0),
                    ("exact", "recovered", 1.0),
                    ("eap", "auroc", value),
                    ("eap", "recovered", 3e-9),
                    ("random", "auroc", 0.5),
                )
            ]
            write_json(folder / f"{kind}_{seed}.json", {"rows": rows})
    table = ground_truth_results.edges_of(ground_truth_results.rows_of(tmp_path, "edges"))
    first, second = list(ground_truth_results.edge_lines(table))[-3:-1]
    assert first == "| a | 12 | 3 | 1.00 (100 %) | 0.70 (3e-09) | 0.50 [0.10, 0.90] |"
    assert second == "| b | 12 | 1 | 1.00 (100 %) | 1.00 (3e-09) | 0.50 [0.10, 0.90] |"
    assert list(table.query("kind == 'a'")["least"]) == [1.0, 0.5, 0.5]


def test_models_are_counted_by_what_became_of_them(tmp_path):
    """Catches a model whose mechanism is not known among those that are judged."""
    folder = tmp_path / "parts" / "trained"
    folder.mkdir(parents=True)
    found = {
        ("mamba", "induction"): ("not learned", "not reached", "right", "abstained", "wrong"),
        ("attention", "induction"): ("right", "right"),
    }
    for (mixer, mechanism), grades in found.items():
        rows = [
            dict.fromkeys(ground_truth_results.COLUMNS)
            | {"mixer": mixer, "trained_to": mechanism, "seed": seed, "grade": grade}
            for seed, grade in enumerate(grades)
        ]
        write_json(folder / f"{mixer}.json", {"rows": rows})
    rows = ground_truth_results.rows_of(tmp_path, "trained")
    *_, first, second, both, _ = ground_truth_results.trained_lines(
        ground_truth_results.trained_of(rows)
    )
    assert first == "| attention | induction | 32 | 700 | 2 | 2 | 2 | 2 | 0 | 0 |"
    assert second == "| Mamba | induction | 64 | 1,000 | 5 | 4 | 3 | 1 | 1 | 1 |"
    assert both == "| all |  |  |  | 7 | 6 | 5 | 3 (23 to 88 %) | 1 | 1 |"


def test_the_page_has_the_tables(tmp_path):
    """Catches numbers that were changed by hand, and less than is asked of the methods."""
    tables = [FOLDER / f"{rung}.csv" for rung in TABLES]
    check_written(tmp_path, "docs/ground_truth.md", tables, ground_truth_results.put)
    least = pd.read_csv(ROOT / tables[0]).groupby("method")["least"].min().to_dict()
    assert least.pop("exact") >= 0.99
    del least["random"]
    assert max(least.values()) >= 0.95
