"""Put what was found about memory among the documents: tables, figures, the page.

    python -m tools.memory_results --run=NAME=WORKDIR [--run=NAME=WORKDIR ...]
    python -m tools.memory_results --sweep=WORKDIR --name=NAME

Adds runs under their names (members of a sweep as NAME_MIXER_SEED) to docs/results/memory:
``runs.csv``, and for each analysis of `TABLES` that a run has the rows of these metrics. Then
figures are drawn and docs/experiments.md is written, from the tables alone; without a run or a
sweep nothing but that is done.
"""

import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
from absl import flags

from mecheval_jax.errors import UserError
from tools import blocks
from tools.blocks import put_block, table_lines
from tools.memory_figures import ELSEWHERE, MEASURES, RUNS, draw, mixer_of, named
from tools.sweep_results import accuracy_of, learned, members_of, merged, share

if TYPE_CHECKING:
    from mecheval_jax.experiment import Experiment
    from mecheval_jax.store.run_folder import RunFolder

TABLES = {
    "capacity": ["recall", "recall_by_place", "threshold", "hashing", "additive_threshold"],
    "overwriting": [*MEASURES],
    "editing": ["accuracy", "change", "new_answer", "read", "closed_form_error", "interference"],
    "components": ["kept"],
    "generalization": ["accuracy", "floor"],
}
"""Analyses, and the metrics of each that are kept."""

FOLDER = pathlib.Path("docs", "results", "memory")

SHOWN = (4, 8, 16, 32, 64, 128)
"""Numbers of pairs whose recall the page shows; the first shows whether it was learned."""

BOUNDS: dict[str, tuple[float, dict[str, float]]] = {
    "others": (0.13, {"mamba3": 0.18}),
    "donor": (0.16, {"gla": 0.30, "gated_delta_product": 0.42}),
}
"""Greatest loss of accuracy by an edit or an erasure that the page states for each kind of pair,
as the lower ends of 95 % intervals, and the mixers for which it is another."""


def summary_of(name: str, run: "RunFolder", experiment: "Experiment") -> dict[str, Any]:
    """The row of a run in `RUNS`."""
    from mecheval_jax.study.results import row_of

    row = row_of(run, experiment)
    model, training = experiment.model, experiment.training
    return {
        "run": name,
        "task": experiment.task_name,
        "mixer": model.mixer,
        "canon": model.canon,
        "width": model.width,
        "layers": model.layers,
        "learning_rate": training.learning_rate,
        "seed": training.seed,
        "step": run.read_summary().get("step"),
        **{name: row.get(name) for name in ("accuracy", "accuracy_low", "accuracy_high", "floor")},
        "verdict": row.get("verdict"),
        "probability": row.get("verdict_probability"),
    }


def add(root: pathlib.Path, name: str, run: "RunFolder", experiment: "Experiment") -> None:
    """Add a run's rows to the tables, in place of those that are there under its name."""
    from mecheval_jax.files import read_table, write_table

    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    one = pd.DataFrame([summary_of(name, run, experiment)])
    write_table(folder / RUNS, merged(folder / RUNS, one, ["run"]))
    for analysis, metrics in TABLES.items():
        path, table = run.analysis(analysis), folder / f"{analysis}.csv"
        parts = []
        if table.exists():
            before = read_table(table)
            parts.append(before[before["run"] != name].astype(object))
        if path.exists():
            rows = read_table(path)
            parts.append(rows[rows["metric"].isin(metrics)].assign(run=name))
        if parts:
            write_table(table, pd.concat(parts))


Lines = Iterator[list[str]]
"""Rows of a table of the page, the first of them its heads."""


def task_lines(runs: pd.DataFrame) -> Lines:
    """How each of the other tasks that tell memories apart was learned."""
    yield ["task", "layers", "accuracy [95 %]", "best floor", "steps", "verdict"]
    others = runs[~runs["task"].isin(ELSEWHERE)].sort_values("task", kind="stable")
    for name, row in others.iterrows():
        verdict = "" if pd.isna(row["verdict"]) else f"`{row['verdict']}`"
        yield [named(name, row), f"{row['layers']} x {mixer_of(row)}", *reached(row), verdict]


def forgetting_lines(runs: pd.DataFrame, rows: pd.DataFrame) -> Lines:
    """Whether a pair whose key is bound again is erased or outweighed, run by run."""
    measures = TABLES["overwriting"]
    yield ["mixer", "seed", "accuracy [95 %]", "steps", *measures, "reading", "verdict"]
    for name, found in rows.groupby("run", sort=False):
        row, by_metric = runs.loc[name], found.set_index("metric")
        accuracy, _, steps = reached(row)
        measured = (interval_of(by_metric.loc[metric]) for metric in measures)
        where = by_metric.loc["uncovered"]
        reading = f"{where['reading']}, layer {where['layer']:.0f}"
        first = [mixer_of(row), str(row["seed"]), accuracy, steps]
        yield [*first, *measured, reading, f"`{row['verdict']}`"]


def editing_lines(runs: pd.DataFrame, rows: pd.DataFrame) -> Lines:
    """What editing and erasing one association do to it and to the others, mixer by mixer."""
    yield ["mixer", "accuracy", "layer", "read", "own answer after edit", "new answer after edit",
           "donor after edit", "others after edit", "own answer after erasing",
           "others after erasing", "closed form"]  # fmt: skip
    for name, found in rows.groupby("run", sort=False):
        row = runs.loc[name]
        accuracy = f"{100 * row['accuracy']:.1f} %"
        if not learned(row):  # what is not recalled cannot be edited
            yield [mixer_of(row), f"{accuracy}, not learned", *["-"] * 9]
            continue
        cell = found.set_index(["operation", "question", "metric"]).sort_index()

        def of(*place: str, cell: pd.DataFrame = cell) -> pd.DataFrame:
            return cell.loc[[place]]

        measured = [
            f"{100 * of('none', 'edited', 'read')['value'].item():.0f} %",
            percent(of("edit", "edited", "accuracy").iloc[0]),
            percent(of("edit", "edited", "new_answer").iloc[0]),
            points(of("edit", "donor", "change").iloc[0]),
            points(of("edit", "others", "change").iloc[0]),
            percent(of("erase", "edited", "accuracy").iloc[0]),
            points(of("erase", "others", "change").iloc[0]),
            f"{of('none', 'edited', 'closed_form_error')['value'].item():.0e}",
        ]
        yield [mixer_of(row), accuracy, f"{found['layer'].iloc[0]:.0f}", *measured]


def interference_lines(runs: pd.DataFrame, rows: pd.DataFrame) -> Lines:
    """What the others feel of an edit by the cosine of their keys, mixer by mixer."""
    yield ["mixer", "opposite or far", "between", "near"]
    felt = rows[(rows["metric"] == "interference") & (rows["operation"] == "edit")]
    for name, found in felt.groupby("run", sort=False):
        row, by_cosine = runs.loc[name], found.sort_values("cosine")
        if learned(row):
            cells = [f"{points(each)} at {each['cosine']:.2f}" for _, each in by_cosine.iterrows()]
            # Of three parts the middle one is empty where most keys are alike.
            yield [mixer_of(row), cells[0], cells[1] if len(cells) > 2 else "-", cells[-1]]


def generalization_lines(runs: pd.DataFrame, rows: pd.DataFrame) -> Lines:
    """Accuracy on documents of other sizes than in training, run by run."""
    yield ["task", "layers", "documents", "tokens", "accuracy [95 %]", "best floor"]
    for (name, setting), found in rows.groupby(["run", "setting"], sort=False):
        row, by_metric = runs.loc[name], found.set_index("metric")
        accuracy, floor = by_metric.loc["accuracy"], by_metric.loc["floor", "value"]
        layers = f"{row['layers']} x {mixer_of(row)}"
        cells = [setting, f"{accuracy['length']}", percent(accuracy), f"{100 * floor:.1f} %"]
        yield [named(name, row), layers, *cells]


def capacity_lines(runs: pd.DataFrame, rows: pd.DataFrame) -> Lines:
    """The threshold of each run, and its recall at some numbers of pairs."""
    yield ["mixer", "seed", "steps", "bytes of the state", "threshold [95 %]", "additive memory",
           *(f"{n} pairs" for n in SHOWN), f"of {SHOWN[-1]} by place"]  # fmt: skip
    for name, found in rows.groupby("run", sort=False):
        row, last = runs.loc[name], found.set_index("metric")
        threshold = last.loc["threshold"]
        known = not pd.isna(threshold["value"])
        recall = found[found["metric"] == "recall"].set_index("pairs")["value"]
        measured = interval_of(threshold, 1)
        if not known:
            ends = {"below": recall.index.min(), "above": recall.index.max()}
            measured = f"{threshold['beyond']} {ends[threshold['beyond']]:.0f}"
        shares = (f"{100 * recall[n]:.0f} %" if n in recall else "" for n in SHOWN)
        additive = f"{last.loc['additive_threshold', 'value']:.0f}"
        held = f"{threshold['state_bytes']:,.0f}"
        steps = f"{row['step']:,}"
        places = found[found["metric"] == "recall_by_place"].sort_values("place")["value"]
        by_place = ", ".join(f"{100 * each:.0f}" for each in places)
        first = [mixer_of(row), str(row["seed"]), steps, held, measured, additive]
        yield [*first, *shares, f"{by_place} %"]


PARTS, WAYS = ("attention", "recurrent"), ("zero", "mean", "resample")
"""Components of a hybrid that are switched off together, and ways of it."""


def components_lines(runs: pd.DataFrame, rows: pd.DataFrame) -> Lines:
    """What is left of the answer without all attention or all recurrent layers, run by run."""
    places = rows["where"].unique()
    yield ["layers", "seed", "without", *places]
    for (name, part), found in rows[rows["component"].isin(PARTS)].groupby(
        ["run", "component"], sort=False
    ):
        row = runs.loc[name]
        if learned(row):  # of what is not recalled nothing could be lost
            kept = found.set_index(["where", "ablation"])["value"]
            cells = (" / ".join(f"{kept[place, way]:.2f}" for way in WAYS) for place in places)
            yield [mixer_of(row), str(row["seed"]), part, *cells]


def reached(row: pd.Series) -> tuple[str, str, str]:
    """Accuracy, best floor and steps of a run."""
    return accuracy_of(row), f"{100 * row['floor']:.1f} %", f"{row['step']:,}"


def interval_of(row: pd.Series, digits: int = 2) -> str:
    """A value with its interval."""
    return f"{row['value']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def percent(row: pd.Series) -> str:
    """A share with its interval."""
    return share(row["value"], row["low"], row["high"])


def points(row: pd.Series) -> str:
    """A difference of shares with its interval."""
    return f"{100 * row['value']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def put(root: pathlib.Path) -> None:
    """Write the tables into the page of experiments."""
    from mecheval_jax.files import read_table

    folder, page = root / FOLDER, root / "docs" / "experiments.md"
    runs = read_table(folder / RUNS).set_index("run")

    def block(name: str, lines: Lines) -> None:
        heads, *rows = lines
        text = list(table_lines(heads, rows))
        put_block(
            page,
            text,
            (f"<!-- {name}: written by tools/memory_results.py -->", f"<!-- /{name} -->"),
        )

    parts: dict[str, tuple[str, Callable[[pd.DataFrame, pd.DataFrame], Lines]]] = {
        "forgetting": ("overwriting", forgetting_lines),
        "editing": ("editing", editing_lines),
        "interference": ("editing", interference_lines),
        "capacity": ("capacity", capacity_lines),
        "parts of hybrids": ("components", components_lines),
        "other sizes": ("generalization", generalization_lines),
    }
    block("memory tasks", task_lines(runs))
    for name, (analysis, lines) in parts.items():
        if (folder / f"{analysis}.csv").exists():
            rows = read_table(folder / f"{analysis}.csv").sort_values("run", kind="stable")
            block(name, lines(runs, rows))


def main() -> None:
    """Run the program."""
    from mecheval_jax.store.run_folder import RunFolder

    values = flags.FLAGS
    root = blocks.root()
    for text in values.run:
        name, given, workdir = text.partition("=")
        if not given:
            raise UserError(f"--run={text}: write NAME=WORKDIR")
        run = RunFolder(workdir)
        add(root, name, run, run.experiment())
    if values.sweep:
        if not values.name:
            raise UserError("--sweep needs --name, with which the names of its members begin")
        named: dict[str, tuple[RunFolder, Experiment]] = {}
        for run, row in members_of(values.sweep):
            experiment = run.experiment()
            name = f"{values.name}_{experiment.model.mixer}_{row['seed']}"
            if name in named:
                raise UserError(
                    f"{named[name][0].path} and {run.path} would both be {name}: add them by "
                    "--run=NAME=WORKDIR, each under a name of its own"
                )
            named[name] = run, experiment
        for name, member in named.items():
            add(root, name, *member)
    draw(root / FOLDER)
    put(root)


if __name__ == "__main__":
    flags.DEFINE_multi_string("run", [], "A name and the folder of a run: NAME=WORKDIR.")
    flags.DEFINE_string("sweep", None, "Folder of a sweep, finished or under way.")
    flags.DEFINE_string("name", None, "What the names of the sweep's members begin with.")
    blocks.run(main)
