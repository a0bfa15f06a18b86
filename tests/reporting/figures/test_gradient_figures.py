"""Figures of evidence by gradient: right rows, right order."""

import pandas as pd

from mecheval_jax.reporting.figures import gradient_figures


def test_faithfulness_over_edges():
    """Catches rows of another corruption, and a line that goes back and forth."""
    rows = [
        {"corruption": corruption, "circuit": circuit, "edges": edges, "value": share * edges}
        | {"low": 0.0, "high": 1.0}
        for corruption, share in (("key", 0.1), ("value", 0.2))
        for circuit in ("random", "eap")
        for edges in (4, 1, 2)
    ]
    figure = gradient_figures.faithfulness_curves(pd.DataFrame(rows), "key")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for label in ("random edges", "best edges by EAP"):
        assert list(lines[label].get_xdata()) == [1, 2, 4]
        assert list(lines[label].get_ydata()) == [0.1, 0.2, 0.4]
