"""The figure of costs shows what the tables hold."""

import numpy as np
import pandas as pd

from mecheval_jax.reporting.figures import drawing, saving
from mecheval_jax.reporting.figures.cost_figures import cost_over_length

COSTS = pd.DataFrame(
    [
        {
            "model": model,
            "mixer": model,
            "length": length,
            "program": program,
            "flops_per_token": 1e5,
            "temporary_bytes": 2e6,
            "state_bytes": 1000 if model == "mamba" else 8 * length,
            "seconds": 0.1 * length,
            "low": 0.09 * length,
            "high": 0.12 * length,
            "seconds_per_token": np.nan if length == 4096 else 0.1,
            "joules_per_token": None,
            "reason": "needs 9 GB" if length == 4096 else None,
        }
        for model in ("attention", "mamba")
        for length in (128, 1024, 4096)
        for program in ("prefill", "decode")
    ]
)
CROSSOVERS = pd.DataFrame(
    [
        {
            "model": "mamba",
            "against": "attention",
            "program": "decode",
            "quantity": "seconds",
            "length": 1000.0,
            "low": 700.0,
            "high": np.nan,
            "note": None,
        },
        {
            "model": "mamba",
            "against": "attention",
            "program": None,
            "quantity": "state_bytes",
            "length": np.nan,
            "low": np.nan,
            "high": np.nan,
            "note": "cheaper at every length",
        },
    ]
)


def test_lines_bands_and_crossings():
    """Catches a program left out, a line through what was not measured, and a mark elsewhere."""
    prefill, decode, state, empty = cost_over_length(COSTS, CROSSOVERS).axes
    assert not empty.lines
    for axes in (prefill, decode):
        curves = [line for line in axes.lines if not line.get_label().startswith("_")]
        assert [line.get_label() for line in curves] == ["attention", "mamba"]
        assert all(list(line.get_xdata()) == [128, 1024] for line in curves)
    assert [line.get_xdata()[0] for line in decode.lines if line.get_linestyle() == ":"] == [1000]
    assert not [line for line in prefill.lines if line.get_linestyle() == ":"]
    attention, mamba = state.lines
    assert list(attention.get_ydata()) == [1024, 8192, 32768]
    assert set(mamba.get_ydata()) == {1000}


def test_models_of_one_architecture_differ_in_their_strokes():
    """Catches a colour that another figure of the same choice gives another architecture."""
    names = {"attention": "attention, width 8", "mamba": "mamba, width 8"}
    wide = COSTS[COSTS["model"] == "mamba"].assign(model="mamba, width 16")
    table = pd.concat([COSTS.replace({"model": names}), wide])
    curves = cost_over_length(table, CROSSOVERS.head(0)).axes[0].lines
    styles = drawing.mixer_styles(["mamba", "attention"])
    assert [curve.get_color() for curve in curves] == [
        styles[name]["color"] for name in ("attention", "mamba", "mamba")
    ]
    assert [curve.get_linestyle() for curve in curves] == ["-", "-", "--"]


def test_long_names_and_one_length():
    """Catches a legend that is wider than the figure, and a tick at its edge."""
    rows = COSTS[(COSTS["length"] == 128) & (COSTS["model"] == "mamba")]
    names = [f"gated_delta_net_{i}, width 1024" for i in range(6)]
    figure = cost_over_length(pd.concat([rows.assign(model=n) for n in names]), CROSSOVERS.head(0))
    assert figure.axes[0].get_xlim() == (64, 256)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


def test_a_cost_that_no_model_has(tmp_path):
    """Catches a measurement that ends without its figure, since a panel of it has no marks."""
    empty = {"state_bytes": None, "seconds": np.nan, "seconds_per_token": np.nan}
    table = COSTS.assign(**{name: COSTS[name].mask(COSTS["program"] == "decode")
                            for name in ("seconds", "seconds_per_token")})  # fmt: skip
    for rows in (COSTS.assign(state_bytes=None), table, COSTS.assign(**empty)):
        figure = cost_over_length(rows, CROSSOVERS.head(0))
        texts = {axes.get_title(loc="left"): [text.get_text() for text in axes.texts]
                 for axes in figure.axes[:3]}  # fmt: skip
        for (title, said), column, program in zip(
            texts.items(), ("seconds_per_token", "seconds_per_token", "state_bytes"),
            ("prefill", "decode", "prefill"), strict=True,
        ):  # fmt: skip
            known = rows.loc[rows["program"] == program, column].notna().any()
            assert said == ([] if known else ["not measured"]), title
        assert saving.save(figure, tmp_path, "cost").exists()
