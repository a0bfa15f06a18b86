"""The figure of ratios: a line for each quantity, coloured where something changed."""

import pandas as pd

from mecheval_jax.reporting.figures import benchmark_figures, drawing


# Catches quantities that are left out, and noise that is coloured as a change.
def test_changes_are_coloured():
    names = {"part": "step", "quantity": "time"}
    table = pd.DataFrame(
        [
            names | {"what": "mamba", "ratio": 0.5, "low": 0.4, "high": 0.6},
            names | {"what": "based", "ratio": 1.1, "low": 0.9, "high": 1.3},
        ]
    )
    (axes,) = benchmark_figures.ratios(table).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["step: mamba, time", "step: based, time"]
    spreads = [line for line in axes.lines if len(line.get_xdata()) == 2][:2]
    assert [line.get_color() for line in spreads] == [drawing.COLOURS[0], drawing.GREY]
