"""Figures of probes, effective attention and the logit lens: right number, right place."""

import numpy as np
import pandas as pd

from mecheval_jax.reporting.figures import drawing, evidence_figures

SITES, ROLES = ("block_0/block_input", "block_1/mixer_output"), ("key", "value", "query")


def probe_table():
    """Every number different, so that a swap shows; one is missing, one of another target."""
    rows = []
    for metric, base in (("accuracy", 0.5), ("control", 0.1), ("selectivity", 0.9)):
        for y, site in enumerate(SITES):
            for x, role in enumerate(ROLES):
                value = None if (x, y) == (1, 1) else base + 0.01 * (3 * y + x)
                place = {"site": site, "role": role, "classes": 64, "metric": metric}
                rows.append(place | {"target": "pair", "value": value})
                rows.append(place | {"target": "key", "value": 0.0})
    return pd.DataFrame(rows)


# Catches metrics, targets, sites or roles that change places.
def test_probe_heat_map():
    figure = evidence_figures.probe_heat_map(probe_table(), "pair")
    for axes, base in zip(figure.axes, (0.5, 0.1), strict=True):
        expected = base + 0.01 * np.arange(6.0).reshape(2, 3)
        expected[1, 1] = np.nan
        np.testing.assert_allclose(axes.images[0].get_array().filled(np.nan), expected)
        assert [label.get_text() for label in axes.get_xticklabels()] == list(ROLES)
        texts = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
        assert texts[(2, 0)] == f"{base + 0.02:.2f}"
        assert (1, 1) not in texts
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(SITES)
    assert "pair, 64 classes" in figure.get_suptitle()


# Catches a transposed matrix, a panel on another's scale, and colours that hide a sign.
def test_attention_images():
    matrices = {
        "attention": np.array([[1.0, 0, 0], [0.2, 0.8, 0], [0.5, 0.25, 0.25]]),
        "delta net": 10 * np.array([[1.0, 0, 0], [-2.0, 1, 0], [0.5, 0.25, 1.0]]),
        "silent": np.zeros((3, 3)),
    }
    figure = evidence_figures.attention_images(matrices, ["<bos>", "k1", "v2", "<eos>"])
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in panels] == list(matrices)
    for axes, matrix in zip(panels, matrices.values(), strict=True):
        image = axes.images[0]
        np.testing.assert_allclose(image.get_array(), matrix / (np.abs(matrix).max() or 1))
        assert (image.norm.vmin, image.norm.vmax) == (-1, 1)
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            assert [label.get_text() for label in labels] == ["<bos>", "k1", "v2"]
    positive = evidence_figures.attention_images({"attention": matrices["attention"]}, ["a"] * 3)
    assert positive.axes[0].images[0].norm.vmin == 0


# Catches layers one off, and a metric on the other's axes.
def test_lens_curves(tmp_path):
    rows = []
    for layer, probability, rank in ((None, 0.01, 900.0), (0, 0.2, 30.0), (1, 0.9, 1.0)):
        for metric, value in (("probability", probability), ("rank", rank), ("accuracy", 0.5)):
            ends = {"low": value / 2, "high": value * 1.1}
            rows.append({"layer": layer, "metric": metric, "value": value, **ends})
    figure = evidence_figures.lens_curves({"a$run": pd.DataFrame(rows)})
    left, right = figure.axes
    for axes, values in ((left, [0.01, 0.2, 0.9]), (right, [900, 30, 1])):
        (line,) = axes.lines
        assert list(line.get_xdata()) == [-1, 0, 1]
        assert list(line.get_ydata()) == values
        assert axes.xaxis.get_major_formatter()(-1) == "embedding"
    assert right.get_yscale() == "log"
    assert right.yaxis_inverted()  # better is higher
    assert right.yaxis.get_major_formatter()(1000) == "1,000"
    drawing.save(figure, tmp_path, "lens")
    assert "mathdefault" not in (tmp_path / "lens.svg").read_text()
