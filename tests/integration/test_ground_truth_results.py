"""`tools.ground_truth_results`: what a ladder found, as lines of a page."""

import pandas as pd

from mecheval_jax.files import write_json
from tests.support.compilation import ROOT
from tests.support.pages import check_written
from tools import ground_truth_results
from tools.ground_truth_results import TABLE


def test_models_of_a_kind_are_one_line(tmp_path):
    """Catches a model that counts for another kind or method."""
    folder = tmp_path / "parts" / "edges"
    folder.mkdir(parents=True)
    for kind, values in {"a": (0.9, 0.5, 0.7), "b": (1.0,)}.items():
        for seed, value in enumerate(values):
            row = {"kind": kind, "seed": seed, "edges": 12, "metric": "auroc"}
            rows = [row | {"method": m, "value": v} for m, v in (("exact", 1.0), ("eap", value))]
            write_json(folder / f"{kind}_{seed}.json", {"rows": rows})
    table = ground_truth_results.summary_of(tmp_path)
    first, second = list(ground_truth_results.lines_of(table))[-3:-1]
    assert first == "| a | 12 | 3 | 1.00, 1.00 | 0.70, 0.50 |"
    assert second == "| b | 12 | 1 | 1.00, 1.00 | 1.00, 1.00 |"


def test_the_page_has_the_table(tmp_path):
    """Catches numbers that were changed by hand, and less than is asked of the methods."""
    check_written(tmp_path, "docs/ground_truth.md", [TABLE], ground_truth_results.put)
    least = pd.read_csv(ROOT / TABLE).groupby("method")["least"].min().to_dict()
    assert least.pop("exact") >= 0.99
    assert max(least.values()) >= 0.95
