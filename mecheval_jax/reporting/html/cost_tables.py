"""Tables of costs: of a run's model from its config alone, and of all that was measured."""

import functools
from typing import Any

import pandas as pd

from mecheval_jax.models.decoding import known_state_bytes
from mecheval_jax.models.language_model import ModelConfig, parameter_count, parameter_shapes
from mecheval_jax.reporting.html.reading import Reported
from mecheval_jax.reporting.html.run_tables import count
from mecheval_jax.reporting.numbers import quantity
from mecheval_jax.reporting.table import Column, Table, with_ends
from mecheval_jax.store.cost_folder import NAME, CostFolder, rows_of
from mecheval_jax.store.run_folder import RunFolder


def seconds(value: Any) -> str:
    """A time with a prefixed unit."""
    return quantity(value, "s")


def size(value: Any) -> str:
    """A number of bytes with a prefixed unit."""
    return quantity(value, "B")


TRAINING = (
    Column("training_flops_per_token", "training, FLOPs a token", quantity),
    Column("training_bytes_per_token", "training, traffic a token", size),
)
"""What a token of training costs, wherever costs of a model were measured."""

MODEL = (
    Column("parameters", form=count),
    Column("length", "tokens of a document, at most", count),
    Column("state_bytes", "state after so many", size),
    *TRAINING,
)
MEASURED = (
    Column("model"),
    Column("length", "tokens", count),
    Column("program"),
    Column("flops_per_token", "FLOPs a token", quantity),
    Column("bytes_per_token", "traffic a token", size),
    Column("temporary_bytes", "temporary", size),
    Column("state_bytes", "state", size),
    Column("tokens_per_second", "tokens a second", count),
    Column("seconds_per_token", "time a token", seconds, ends=True),
    Column("joules_per_token", "energy a token", functools.partial(quantity, unit="J")),
    Column("reason", "not measured because"),
)
CROSSINGS = (
    *map(Column, ("model", "against", "program", "quantity")),
    Column("length", "cheaper from, tokens", count, ends=True),
    Column("note"),
)


def of_run(run: Reported) -> dict[str, Any]:
    """What the model of a run costs, for the template.

    The table ``cost`` follows from the config, but for what a token of training costs. That, and
    the table ``measured`` with the ``machine``, is there if costs of such a model, by its mixer,
    width and layers, were measured in the folder ``cost`` of the run or of its sweep.

    Raises:
        UserError: If a file is damaged.
    """
    model, length = run.experiment.model, run.experiment.task.max_length
    parameters, state = _counted(model, length)
    row = {"parameters": parameters, "length": length, "state_bytes": state}
    further: dict[str, Any] = {}
    for folder in _folders(run.folder):
        costs = folder.read_costs()
        table = None if costs is None else rows_of(costs, model.shape)
        if table is not None and len(table):
            row |= of_training(table, length)
            further = {"measured": measured(table), "machine": folder.read_machine()}
            break
    columns = MODEL if further else MODEL[: -len(TRAINING)]
    return {"cost": Table("cost", "What the model costs", columns, [row])} | further


def of_training(table: pd.DataFrame, length: int | float) -> dict[str, Any]:
    """What a token of training costs, at the measured length that is nearest; see `TRAINING`.

    Args:
        table: Rows of ``cost.csv`` of one model.
        length: Tokens of context; NaN where that is not known.
    """
    rows = table[(table["program"] == "training") & table["flops_per_token"].notna()]
    if rows.empty or pd.isna(length):
        return {}
    nearest = rows.loc[(rows["length"] - length).abs().idxmin()]
    return {
        f"training_{name}": float(nearest[name]) for name in ("flops_per_token", "bytes_per_token")
    }


def _folders(run: RunFolder) -> list[CostFolder]:
    """Folders that may have measured costs, of the run itself first."""
    homes = [run.path]
    if run.member.exists():  # SWEEP/groups/NAME/members/INDEX
        homes.append(run.path.resolve().parents[3])
    return [CostFolder(home / NAME) for home in homes]


@functools.lru_cache(maxsize=64)
def _counted(model: ModelConfig, length: int) -> tuple[int, int | None]:
    """Number of parameters, and bytes of the state after `length` tokens, if the model has one."""
    shapes = parameter_shapes(model)
    return parameter_count(model, shapes), known_state_bytes(model, length, shapes)


def measured(table: pd.DataFrame) -> Table:
    """Every measurement of costs; of a time a token also the shortest and the longest call.

    Args:
        table: Rows of ``cost.csv``.
    """
    rows = []
    for row in table.to_dict("records"):
        # The ends are of a call, of as many tokens as the median time is of.
        share = row["seconds_per_token"] / row["seconds"] if row.get("seconds") else None
        ends = {end: row[end] * share if share else None for end in ("low", "high")}
        rows.append(with_ends(row | ends, "seconds_per_token"))
    return Table("measured", "Measured costs", MEASURED, rows)


def crossings(table: pd.DataFrame) -> Table:
    """From which length of context on a model costs less than another.

    Args:
        table: Rows of ``crossovers.csv``.
    """
    rows = [with_ends(row, "length") for row in table.to_dict("records")]
    caption = "From which length on a model is cheaper than another"
    return Table("crossings", caption, CROSSINGS, rows)
