"""The figure of each analysis, from its tables alone."""

import numpy as np
import pandas as pd

from mecheval_jax.evaluation.analyses import ANALYSES
from mecheval_jax.reporting.figures import analyses, saving
from mecheval_jax.reporting.figures.analyses import FIGURES


def test_every_analysis_has_one():
    """Catches an analysis that fails once its table is written."""
    assert set(FIGURES) == set(ANALYSES)


def gradients(corruption, direction, value):
    place = {"corruption": corruption, "direction": direction}
    rows = [
        {"site": "block_0/block_output", "role": "value", "method": method, "value": value}
        for method in ("exact", "eap")
    ]
    agreement = {
        "method": "eap",
        "metric": "rank_correlation",
        "value": value / 2,
        "low": None,
        "high": None,
    }
    return [place | row for row in rows], [place | agreement]


def test_gradients_are_those_of_one_corruption_and_direction():
    """Catches points of two corruptions in one panel, and a table taken for the other."""
    some = gradients("value", "restore", 0.5), gradients("key", "damage", 0.75)
    tables = {
        "gradients": pd.DataFrame([row for rows, _ in some for row in rows]),
        "gradients_agreement": pd.DataFrame([row for _, rows in some for row in rows]),
    }
    figure = FIGURES["gradients"](tables)
    assert figure.get_suptitle() == "value corrupted, restore"
    points = [line.get_xydata().tolist() for line in figure.axes[0].lines[1:]]
    assert points == [[[0.5, 0.5]]]
    assert "rank correlation 0.25" in figure.axes[0].get_title(loc="left")


def test_circuits_are_of_the_corruption_that_was_measured():
    """Catches a figure of key corruption where the task has another, which has no curve."""
    rows = [
        {"corruption": "value", "circuit": "eap", "edges": edges, "value": edges / 4}
        | {"low": 0.0, "high": 1.0}
        for edges in (1, 2)
    ]
    axes = FIGURES["circuits"]({"circuits": pd.DataFrame(rows)}).axes[0]
    assert axes.get_title(loc="left") == "value corrupted"
    (line,) = (line for line in axes.lines if line.get_label() == "best edges by EAP")
    assert list(line.get_ydata()) == [0.25, 0.5]


def test_the_lens_is_named_by_the_mixer():
    """Catches a line that says nothing of the model it is of."""
    rows = [
        {"mixer": "based", "layer": layer, "metric": name, "value": 0.5, "low": 0.4, "high": 0.6}
        for layer in (0, 1)
        for name in ("probability", "rank")
    ]
    figure = FIGURES["lens"]({"lens": pd.DataFrame(rows)})
    assert [line.get_label() for line in figure.axes[0].lines] == ["based"]


def test_probes_are_of_values():
    """Catches a figure of another target, by whose classes its title would be wrong."""
    rows = [
        {"site": "block_0/block_output", "role": "value", "metric": metric, "target": target}
        | {"classes": classes, "value": 0.5}
        for target, classes in (("key", 8), ("value", 16))
        for metric in ("accuracy", "control")
    ]
    figure = FIGURES["probes"]({"probes": pd.DataFrame(rows)})
    assert " ".join(figure.get_suptitle().split()) == "Linear probes of the value, 16 classes"
    figure = FIGURES["probes"]({"probes": pd.DataFrame(rows[:2])})  # as probes.targets may ask
    assert " ".join(figure.get_suptitle().split()) == "Linear probes of the key, 8 classes"


def test_faithfulness_over_edges():
    """Catches rows of another corruption, and a line that goes back and forth."""
    rows = [
        {"corruption": corruption, "circuit": circuit, "edges": edges, "value": share * edges}
        | {"low": 0.0, "high": 1.0}
        for corruption, share in (("key", 0.1), ("value", 0.2))
        for circuit in ("random", "eap")
        for edges in (4, 1, 2)
    ]
    figure = analyses.faithfulness_curves(pd.DataFrame(rows))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for label in ("random edges", "best edges by EAP"):
        assert list(lines[label].get_xdata()) == [1, 2, 4]
        assert list(lines[label].get_ydata()) == [0.1, 0.2, 0.4]


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
    figure = analyses.probe_heat_map(probe_table(), "pair")
    for axes, base in zip(figure.axes, (0.5, 0.1), strict=True):
        expected = base + 0.01 * np.arange(6.0).reshape(2, 3)
        expected[1, 1] = np.nan
        np.testing.assert_allclose(axes.images[0].get_array().filled(np.nan), expected)
        assert [label.get_text() for label in axes.get_xticklabels()] == list(ROLES)
        texts = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
        assert texts[(2, 0)] == f"{base + 0.02:.2f}"
        assert (1, 1) not in texts
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(SITES)
    assert "pair, 64 classes" in " ".join(figure.get_suptitle().split())


# Catches a transposed matrix, a panel on another's scale, and colours that hide a sign.
def test_attention_images():
    matrices = {
        "attention": np.array([[1.0, 0, 0], [0.2, 0.8, 0], [0.5, 0.25, 0.25]]),
        "delta net": 10 * np.array([[1.0, 0, 0], [-2.0, 1, 0], [0.5, 0.25, 1.0]]),
        "silent": np.zeros((3, 3)),
    }
    figure = analyses.attention_images(matrices, ["<bos>", "k1", "v2", "<eos>"])
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in panels] == list(matrices)
    for axes, matrix in zip(panels, matrices.values(), strict=True):
        image = axes.images[0]
        np.testing.assert_allclose(image.get_array(), matrix / (np.abs(matrix).max() or 1))
        assert (image.norm.vmin, image.norm.vmax) == (-1, 1)
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            assert [label.get_text() for label in labels] == ["<bos>", "k1", "v2"]
    positive = analyses.attention_images({"attention": matrices["attention"]}, ["a"] * 3)
    assert positive.axes[0].images[0].norm.vmin == 0


# Catches words that leave no room for the images beside them, and a scale that grows with the page.
def test_attention_images_of_long_words_and_many_heads():
    words = ["order", "Donaudampfschifffahrtsgesellschaft", "paid"]
    heads = {f"head {head}": np.tril(np.ones((3, 3))) for head in range(24)}
    figure = analyses.attention_images(heads, words)
    figure.draw_without_rendering()
    *panels, bar = (axes.get_window_extent() for axes in figure.axes if axes.has_data())
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["order", "Donaudampfsch…", "paid"]
    assert bar.width < 0.4 * figure.dpi
    assert all(panel.width > figure.dpi and panel.x1 < bar.x0 for panel in panels)


# Catches layers one off, and a metric on the other's axes.
def test_lens_curves(tmp_path):
    rows = []
    for layer, probability, rank in ((None, 0.01, 900.0), (0, 0.2, 30.0), (1, 0.9, 1.0)):
        for metric, value in (("probability", probability), ("rank", rank), ("accuracy", 0.5)):
            ends = {"low": value / 2, "high": value * 1.1}
            rows.append({"layer": layer, "metric": metric, "value": value, **ends})
    figure = analyses.lens_curves(pd.DataFrame(rows).assign(mixer="a$run"))
    left, right = figure.axes
    for axes, values in ((left, [0.01, 0.2, 0.9]), (right, [900, 30, 1])):
        (line,) = axes.lines
        assert list(line.get_xdata()) == [-1, 0, 1]
        assert list(line.get_ydata()) == values
        assert axes.xaxis.get_major_formatter()(-1) == "embedding"
    assert right.get_yscale() == "log"
    assert right.yaxis_inverted()  # better is higher
    assert right.yaxis.get_major_formatter()(1000) == "1,000"
    saving.save(figure, tmp_path, "lens")
    assert "mathdefault" not in (tmp_path / "lens.svg").read_text()
