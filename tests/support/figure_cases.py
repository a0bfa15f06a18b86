"""Every figure that a report draws, of tables that are made up and as large as real ones."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mecheval_jax.reporting.figures import comparison_figures, cost_figures, run_figures
from mecheval_jax.reporting.figures import sweep_figures as sweeps
from mecheval_jax.reporting.figures.analyses import FIGURES
from mecheval_jax.training.state import HYPERPARAMETERS
from tests.support import choice_tables
from tests.support.reported_runs import table_of

ROLES = ("before_key", "key", "next_key", "value", "query", "distractor", "after_query")
COMPONENTS = (
    "embedding", "block_input", "mixer_output", "mlp_output", "block_output", "mixer/conv_output",
    "mixer/state",
)  # fmt: skip
ENDS = {"low": 0.3, "high": 0.6}
SHAPES = {f"g{i}": f"gated_delta_net,attention, width {16 * 2**i}" for i in range(2)}


def metrics(share: float) -> list[dict]:
    """Rows of a run's metrics whose accuracy rises to a share."""
    steps = range(0, 2001, 200)
    return [
        {"step": step, "split": split, "accuracy": share * step / 2000}
        for step in steps
        for split in ("train", "dev")
    ]


def attributions(layers: int = 2, step: int = 2000) -> pd.DataFrame:
    """Attributions of many components and roles."""
    places = itertools.product(range(layers), COMPONENTS, ROLES)
    values = {
        (f"block_{layer}/{component}", role): round(-0.8 + 0.31 * (layer + len(role)) % 1.9, 3)
        for layer, component, role in places
    }
    rows = []
    for (site, role), value in values.items():
        block, _, component = site.partition("/")
        rows.append(
            {"corruption": "key", "direction": "restore", "step": step, "metric": "attribution"}
            | {"layer": int(block[-1]), "component": component, "site": site, "role": role}
            | {"value": value, "low": value - 0.05, "high": value + 0.05}
        )
    return pd.DataFrame(rows)


def members(groups: Iterator[str] | list[str]) -> pd.DataFrame:
    """Rows of ``members.csv`` of shapes with three learning rates and three seeds."""
    rows = []
    for number, (group, rate, seed) in enumerate(
        itertools.product(groups, (1e-4, 3e-4, 1e-3), range(3))
    ):
        own = dict.fromkeys(HYPERPARAMETERS, 0.0) | {"member": number, "group": group}
        own |= {"learning_rate": rate, "seed": seed, "data_seed": seed, "label": None}
        own |= {"mixer": "gated_delta_net,attention", "width": 16, "layers": 2}
        values = {
            "accuracy": 0.1 + 0.04 * number, "floor": 0.25, "step": 2000,
            "diverged_at": 700 if seed == 1 else None, "stopped_at": None,
        }  # fmt: skip
        rows += [own | ENDS | {"metric": name, "value": value} for name, value in values.items()]
        label = sweeps.CLASSES[number % len(sweeps.CLASSES)]
        rows.append(own | {"metric": "verdict", "value": 0.9, "label": label})
    return pd.DataFrame(rows)


def of_sweeps() -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Figures of a sweep, and of a choice among its shapes."""
    table = members(list(SHAPES))
    curves = {
        group: {
            member: [r for r in metrics(0.05 * member + 0.1) if r["split"] == "dev"]
            for member in set(table["member"][table["group"] == group])
        }
        for group in SHAPES
    }
    best, rises = {"g0": 0, "g1": 9}, {"g0": (400, 800)}
    success = pd.DataFrame(
        [{"over": "all", "group": g, "threshold": t, "value": 0.5} | ENDS
         for g in SHAPES for t in (0.5, 0.9, 0.99)]
    )  # fmt: skip
    models = [
        {"run": f"{mixer} {width}", "mixer": mixer, "width": width, "accuracy": 0.1 * i + 0.2}
        | {"accuracy_low": 0.2, "accuracy_high": 0.9, "floor": 0.25, "published": 0.8}
        for i, mixer in enumerate(("attention", "gated_delta_net", "mamba", "based", "hyena"))
        for width in (16, 32, 64, 128, 256, 512)
    ]
    shapes = {"mamba": {}, "attention": {}, "gated_delta_net": {"state_bytes": 8192}}
    choice = choice_tables.table(**shapes, based={"prefill_seconds": 2e-1})
    costs = pd.DataFrame(
        [{"model": f"{mixer}, width 64", "mixer": mixer, "length": length, "program": program}
         | {"state_bytes": 4096, "seconds": 0.1 * length, "seconds_per_token": 0.1}
         | {"low": 0.09 * length, "high": 0.11 * length}
         for mixer in ("attention", "mamba", "gated_delta_net")
         for length in (128, 256, 512, 1024, 2048, 4096, 8192)
         for program in ("training", "prefill", "decode")]
    )  # fmt: skip
    crossovers = pd.DataFrame(columns=["quantity", "program", "length", "model"])
    yield "accuracy_by_rate", lambda: sweeps.accuracy_by_rate(table, SHAPES)
    yield "success_by_shape", lambda: sweeps.success_by_shape(success, SHAPES)
    yield (
        "learning_curves",
        lambda: sweeps.learning_curves(curves, SHAPES, table, best, rises),
    )
    yield "verdicts_by_shape", lambda: sweeps.verdicts_by_shape(table, SHAPES)
    yield "accuracy_by_width", lambda: comparison_figures.accuracy_by_width(models)
    yield "cost_against_accuracy", lambda: comparison_figures.cost_against_accuracy(choice)
    yield "cost_over_length", lambda: cost_figures.cost_over_length(costs, crossovers)


def of_runs() -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Figures of one run and of several."""
    many = {f"some/folder/of/runs/number_{i}": metrics(0.1 * i) for i in range(9)}
    few = {"based": metrics(0.9), "mamba": metrics(0.5)}
    floors = dict.fromkeys([*many, *few], 0.25)
    history = pd.concat([attributions(step=step) for step in range(200, 2001, 200)])
    steps = [{"step": step, "accuracy": step / 2000} for step in range(200, 2001, 200)]
    change = {"before": "not_learned", "after": "induction (layer 1)", "step": 800}
    change |= {"low": 600, "high": 800}
    places = {
        name: table_of(
            {("block_1/block_input", role): value
             for role, value in (("value", 0.9 - 0.2 * i), ("query", 0.1 + 0.2 * i), ("key", 0.0))}
        )
        for i, name in enumerate(["attention", "based", *list(many)[:2]])
    }  # fmt: skip
    yield "accuracy_one", lambda: run_figures.accuracy_over_steps({"a": metrics(0.9)}, {"a": 0.25})
    yield "accuracy_few", lambda: run_figures.accuracy_over_steps(few, floors)
    yield "accuracy_many", lambda: run_figures.accuracy_over_steps(many, floors)
    yield (
        "heat_map",
        lambda: run_figures.attribution_heat_map(attributions(), "key", "restore"),
    )
    yield "layer_scatter", lambda: run_figures.layer_scatter(places)[0]
    yield (
        "attribution_over_steps",
        lambda: run_figures.attribution_over_steps(history, steps, [change]),
    )


def tables_of_analyses() -> dict[str, pd.DataFrame]:
    """Tables of all analyses, by the names of their files."""
    sites = ("block_0/block_output", "block_1/block_input", "block_1/mixer_output")
    places = [{"site": s, "role": r} for s in sites for r in ("key", "value", "query")]
    place = {"corruption": "key", "direction": "restore"}
    tokens = [f"k{i}" for i in range(24)]
    weights = np.tril(np.random.default_rng(0).random((24, 24)))
    rows = {
        "gradients": [
            place | at | {"method": method, "value": 0.1 * i + shift}
            for i, at in enumerate(places)
            for method, shift in (("exact", 0.0), ("eap", 0.1), ("eap_ig", 0.05))
        ],
        "gradients_agreement": [
            place | {"method": method, "metric": "rank_correlation", "value": 0.9} | ENDS
            for method in ("eap", "eap_ig")
        ],
        "circuits": [
            {"corruption": "key", "circuit": name, "edges": edges, "value": 0.1 * edges} | ENDS
            for name in ("random", "exact", "eap_ig_activations")
            for edges in (1, 2, 4, 8)
        ],
        "probes": [
            at | {"metric": metric, "target": "value", "classes": 64, "value": 0.5}
            for at in places
            for metric in ("accuracy", "control")
        ],
        "subspaces": [
            at | {"variable": "value", "subspace": kind, "dimensions": 4, "value": 0.71}
            for at in places
            for kind in ("learned", "random", "whole_space")
        ],
        "attention": [
            {"matrix": f"block_{layer}/mixer", "destination": i, "source": j, "value": value}
            | {"source_token": tokens[j]}
            for layer in range(2)
            for (i, j), value in np.ndenumerate(weights)
        ],
        "lens": [
            {"mixer": "gated_delta_net", "layer": layer, "metric": metric, "value": value}
            | {"low": 0.9 * value, "high": 1.1 * value}
            for layer in (None, 0, 1)
            for metric, value in (("probability", 0.3), ("rank", 20.0))
        ],
        "capacity": [
            {"mixer": "gla", "metric": "recall", "pairs": n, "value": 1 - n / 100, "beyond": ""}
            | {"low": 0.9 - n / 100, "high": 1.0}
            for n in (1, 2, 4, 8, 16, 32, 48, 50)
        ]
        + [{"mixer": "gla", "metric": "threshold", "pairs": 50, "value": 41.2} | ENDS],
        "generalization": [
            {"setting": setting, "metric": metric, "value": 0.5} | ENDS
            for setting in ("as trained", "pairs=8", "pairs=16+keys=64", "pairs=32+keys=128")
            for metric in ("accuracy", "floor")
        ],
        "editing": [
            {"question": "edited", "metric": metric, "operation": operation, "value": 0.42}
            | {"site": "block_1/mixer/state"}
            for metric in ("accuracy", "new_answer")
            for operation in ("none", "edit", "random edit")
        ],
        "overwriting": [
            {"metric": metric, "condition": condition, "value": 0.42, "reading": None}
            for metric in ("new_probability", "old_probability")
            for condition in ("clean", "without_new", "without_old", "without_both")
        ]
        + [{"metric": "uncovered", "value": 0.05, "reading": "erased"} | ENDS],
        "components": [
            {"component": f"block_{layer}/{part}", "where": where, "ablation": kind}
            | {"metric": "kept", "value": 0.42}
            for layer in range(2)
            for part in ("mixer", "mlp")
            for where in ("everywhere", "pair", "query")
            for kind in ("zero", "mean", "resample")
        ],
    }  # fmt: skip
    return {name: pd.DataFrame(of) for name, of in rows.items()}


def of_analyses() -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The figure of each analysis."""
    tables = tables_of_analyses()
    for name, draw in FIGURES.items():
        yield name, lambda draw=draw: draw(tables)


CASES = dict([*of_runs(), *of_sweeps(), *of_analyses()])
"""Functions that draw a figure, by its name."""
