"""A table of results in which everything is as the study says: what findings are tested on."""

import functools

import numpy as np
import pandas as pd

from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.judgement import judge
from mecheval_jax.study.published.tables import WIDTHS, published
from mecheval_jax.study.results import SITES, table_of

FLOORS = {"ATR L=5 S=8192": 0.87, "ATR L=10 S=20": 0.78, "ATR held-out": 0.67}
TREECALL_FLOOR, COPYING = 0.84, 0.51
"""Best heuristic, and copying, on the documents of the grammar here."""

GAP = 0.3
"""What the corruption of the key takes away on treecall."""

INPUT = "block_1/block_input"
VALUE, KEY, QUERY = (f"{INPUT}@{role}" for role in ("value", "key", "query"))
TWO_LAYERS = {"task": "AR", "layers": 2}

AT_VALUE = {"value": 1.0, "key": 0.0, "query": 0.0, "writer": 1}
AT_QUERY = {"value": 0.0, "key": 0.0, "query": 1.0, "writer": 0}
RECALL = {
    # what is restored at the input of layer 1, and which layer writes the answer
    "attention": AT_VALUE,
    "based": AT_VALUE,
    "base_conv": {"value": 0.57, "key": 0.1, "query": 0.0, "writer": 1},
    "hyena": AT_QUERY,
    "h3": AT_QUERY,
    "mamba": AT_QUERY,
    "delta_net": AT_QUERY,
    "mamba d_conv=2": {"value": 0.0, "key": 0.87, "query": 0.04, "writer": 1},
    "mamba d_conv=3": {"value": 0.0, "key": 0.2, "query": 0.75, "writer": 0},
}


def world(documents: int = 10_000_000, half_width: float = 0.01, seeds: int = 2) -> pd.DataFrame:
    """The study's grid, each cell at its best learning rate and once at a worse one.

    The table is one's own.

    Args:
        documents: that every accuracy rests on.
        half_width: of the intervals of restored shares.
        seeds: of every cell.
    """
    return _world(documents, half_width, seeds).copy()


@functools.cache
def _world(documents: int, half_width: float, seeds: int) -> pd.DataFrame:
    cells = published("accuracies").drop_duplicates(
        ["task", "split", "layers", "mixer", "positions", "option", "width"]
    )
    found = {
        (c.task, c.split, c.layers, c.mixer, c.positions, c.option, c.width): c.accuracy
        for c in cells.itertuples()
    }
    for width in WIDTHS:
        for layers in (1, 2):
            based = found["AR", "test", 2, "based", "none", "", width]
            found["AR", "test", layers, "delta_net", "none", "", width] = based
        found["ATR L=5 S=20", "test", 2, "mamba", "none", "d_conv=0", width] = 0.8
    rows = []
    for (task, split, layers, mixer, positions, option, width), accuracy in found.items():
        if split == "test":
            dev = found.get((task, "dev", layers, mixer, positions, option, width), accuracy)
            base = {
                "regime": task, "task": task, "mixer": mixer, "width": width, "layers": layers,
                "positions": positions, "option": option, "beta2": 0.999,
                "steps": 1, "split": "test", "documents": documents, "dev_documents": documents,
                "accuracy": accuracy, "accuracy_low": accuracy - 0.001,
                "accuracy_high": accuracy + 0.001, "floor": FLOORS.get(task, TREECALL_FLOOR),
                "verdict": "induction", "copying": COPYING, "gap": GAP,
            }  # fmt: skip
            if task.startswith("AR"):
                base |= {"floor": 1 / 16, "copying": None, "gap": None}
            cell = f"{task} {layers} {mixer} {positions} {option} {width}"
            for rate, seed in (*((1e-3, seed) for seed in range(seeds)), (1e-4, 0)):
                worse = 0.0 if rate == 1e-3 else min(dev, 1e-6)
                base |= {"learning_rate": rate, "seed": seed, "data_seed": seed}
                base |= {"dev_accuracy": dev - worse, "config_hash": f"{cell} {rate} {seed}"}
                for on in ("test", "dev") if task == "ATR held-out" else ("test",):
                    shares = _shares(task, mixer, option, layers, on)
                    rows.append(base | {"split": on} | _with_ends(shares, half_width))
    return table_of(rows)


def _shares(task: str, mixer: str, option: str, layers: int, split: str) -> dict[str, float]:
    """Restored shares at `SITES` as the study has them."""
    named = f"{mixer} {option}".strip()
    at = dict(RECALL.get(named, RECALL[mixer]))
    if task == "AR reverse":
        at |= {"value": 0.0, "key": 0.6} if mixer == "attention" else {}
    if task.startswith("ATR"):
        of = task if task in set(published("attributions")["task"]) else "ATR L=5 S=20"
        boxes = published("attributions")
        boxes = boxes[(boxes["task"] == of) & (boxes["mixer"] == mixer)]
        at |= {box.role: float(box.value) for box in boxes.itertuples()}
    if (task, mixer, split) == ("ATR held-out", "base_conv", "test"):
        at["value"] = 0.14
    if (task, option) == ("ATR L=5 S=20", "d_conv=0"):
        at["value"] = 0.9
    shares = {f"{INPUT}@{role}": at[role] for role in ("value", "key", "query")}
    for layer in range(layers):
        shares[f"block_{layer}/mixer_output@query"] = float(layer == at["writer"])
    if mixer == "mamba":
        bound = "value" if option == "d_conv=2" else "next_key"
        for role in ("key", "value", "next_key", "query"):
            shares[f"block_0/mixer/conv_output@{role}"] = float(role == bound)
            shares[f"block_0/mixer/conv_input@{role}"] = 0.0
    return shares


def _with_ends(shares: dict[str, float], half_width: float) -> dict[str, float]:
    assert set(shares) <= {f"{site}@{role}" for site, role in SITES}
    ends = {f"{name}_low": value - half_width for name, value in shares.items()}
    return shares | ends | {f"{name}_high": value + half_width for name, value in shares.items()}


def changed(table, where, **values):
    """A table with other values in the rows that agree with `where`; intervals move along."""
    table = table.copy()
    rows = np.ones(len(table), bool)
    for column, wanted in where.items():
        rows &= table[column].isin(wanted if isinstance(wanted, tuple) else (wanted,)).to_numpy()
    assert rows.any()
    for column, value in values.items():
        new = value(table.loc[rows, column]) if callable(value) else value
        for end in ("_low", "_high") if f"{column}_low" in table else ():
            table.loc[rows, column + end] += new - table.loc[rows, column]
        table.loc[rows, column] = new
    return table


def case(where, **values):
    """What makes of a table one that is `changed`."""
    return lambda table: changed(table, where, **values)


def both(accuracy):
    """An accuracy on documents of both splits."""
    return {"accuracy": accuracy, "dev_accuracy": accuracy}


def verdicts(table, findings):
    """What is judged of each finding, by its number."""
    return {one.finding: one.verdict for one in judge(StudyCells(table), findings)}
