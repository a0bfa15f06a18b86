"""The figure over training has the right site, and the transitions."""

import pandas as pd

from mecheval_jax.reporting.figures import training_figures
from tests.support.reported_runs import TRAINING, VALUES, table_of


def test_attributions_over_steps_stand_beside_the_accuracy():
    """Catches a line of another site, and an interval of the transition that is not drawn."""
    early = table_of(dict.fromkeys(VALUES, 0.25)).assign(step=100)
    figure = training_figures.attribution_over_steps(
        pd.concat([early, table_of()]), TRAINING["steps"], TRAINING["transitions"]
    )
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["@value"].get_xdata()) == [100, 200]
    assert list(lines["@value"].get_ydata()) == [0.25, 0.93]
    assert list(lines["@key"].get_ydata()) == [0.25, -0.13]
    assert list(lines["accuracy"].get_ydata()) == [0.26, 0.912]
    (shaded,) = figure.axes[0].patches
    assert (shaded.get_x(), shaded.get_width()) == (100, 100)  # an open end goes to the last
