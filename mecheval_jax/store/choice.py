"""What a sweep of architectures adds to its folder: the table of the choice, and the advice.

A folder in which an architecture was chosen (`selection`) is a sweep's folder with these beside:

plan.json      what was planned, before the first step
choice.csv     a row for each shape: architecture and width
advice.json    which of them to take, in words, with the numbers that the words rest on
cost/          costs of every shape (`store.cost_folder`)

Columns of ``choice.csv``, in which a number that is not known is an empty cell:

* ``group``, ``mixer``, ``width``, ``layers``, ``parameters``: the shape, and its group.
* ``state``: ``learned`` (the accuracy's interval lies above the best floor), ``not_learned``, or
  ``unfinished``. ``memorised``: whether the model answers train documents far better than unseen
  ones, whichever its state. ``diverged``: members whose loss was not finite, of all ``runs``.
* ``member``, ``learning_rate``, ``seed``: the run that answers dev documents best. ``accuracy``
  with ``low`` and ``high`` is its accuracy on test documents, which had no part in that choice;
  ``train_accuracy`` that on the documents of its last steps; ``dev_accuracy`` that on dev documents
  at its last step, ``dev_halfway`` that at half of its steps, ``dev_peak`` the highest at any, and
  ``past_peak`` whether the last lies below the highest for certain.
* ``floor``, ``floor_name``: accuracy and name of the best heuristic without recall.
* ``members``, ``learned``: how many runs there are that differ from it in their seeds alone (it is
  one of them), and how many of these have learned. ``lowest``, ``mean``: their accuracies.
* ``judged``: how many of the learned ones have a verdict; ``verdict``: what most of them are judged
  to do; ``agreement``: the share of them that is; ``probability``: its mean share of the bootstrap
  over them. ``member_verdict``: what ``member`` is judged to do, of which all that follows is.
* ``concentration`` with ``concentration_low`` and ``concentration_high``, ``concentration_site``,
  ``concentration_role``: of ``member``, the greatest share of the answer that one vector at one
  position brings back, and where.
* ``circuit_edges``, ``edges``: of ``member``, the number of edges in the smallest faithful circuit,
  and of all edges; ``faithfulness``: the share of the answer that this circuit gives.
* ``length``: tokens of context at which costs are given. ``training_tokens_per_second``;
  ``training_seconds`` a token; ``prefill_seconds`` a document of this length; ``decode_seconds`` a
  token; each of these three with ``_low`` and ``_high``, the shortest and the longest call;
  ``state_bytes``.
* ``front_training``, ``front_prefill``, ``front_decode``, ``front_state``,
  ``front_concentration``: whether no other shape that has learned is at least as accurate and at
  least as good in this, and better in one of the two. False where a shape has not learned, or the
  number is not known.

``advice.json``: ``state`` (``recommended`` or ``abstained``), ``model`` (``group``, ``mixer``,
``width``, ``learning_rate``, ``member``; null where it abstained), ``paragraphs`` (each with its
``topic``, its ``text`` and the ``numbers`` that the text rests on, by name), ``further_runs`` (each
with ``why`` and the ``command``).

``plan.json``: ``length`` and ``lengths`` (tokens of context at which costs are measured),
``cheapest`` (the cost that decides), ``budget_seconds`` (null for none), ``estimated_seconds``,
``asked`` (``widths``, ``learning_rates`` and the number of ``seeds`` that were asked for),
``given_up`` (what of these the plan leaves out, in words), ``step_seconds`` and ``compile_seconds``
(of a training step of one run, by architecture and width), ``documents`` (by split; empty where a
task makes them anew).
"""

import dataclasses
import os
from typing import Any

import pandas as pd

from mecheval_jax.errors import UserError
from mecheval_jax.files import damaged, read_json, read_table, write_json, write_table
from mecheval_jax.store.cost_folder import NAME, CostFolder
from mecheval_jax.store.remedies import written_by
from mecheval_jax.store.sweep_folder import SweepFolder

CHOICE = "choice"
"""Name of the lock that a choice holds from its first step to its page."""

COSTS = {
    "training": "training_seconds",
    "prefill": "prefill_seconds",
    "decode": "decode_seconds",
    "state": "state_bytes",
}
"""Columns of costs by the names that users give them; less is better."""

TIMES = tuple(column for column in COSTS.values() if column.endswith("_seconds"))
"""Columns of measured times; two more columns have the shortest and the longest call of each."""


def front_of(good: str) -> str:
    """Column that says whether a shape is on the front of accuracy and another good."""
    return f"front_{good}"


FRONTS = {
    **{front_of(name): column for name, column in COSTS.items()},
    front_of("concentration"): "concentration",
}
"""Column that each Pareto front weighs against accuracy; less is better but in concentration."""

SHAPE = ("group", "mixer", "width", "layers", "parameters")
QUALITY = (
    *("state", "memorised", "runs", "diverged", "member", "learning_rate", "seed"),
    *("accuracy", "low", "high", "train_accuracy", "dev_accuracy", "floor", "floor_name"),
    *("members", "learned", "lowest", "mean", "dev_halfway", "dev_peak", "past_peak"),
)
TRANSPARENCY = (
    *("judged", "verdict", "agreement", "probability", "member_verdict"),
    *("concentration", "concentration_low", "concentration_high"),
    *("concentration_site", "concentration_role", "circuit_edges", "edges", "faithfulness"),
)
COST = (
    *("length", "training_tokens_per_second"),
    *(f"{time}{end}" for time in TIMES for end in ("", "_low", "_high")),
    "state_bytes",
)
COLUMNS = (*SHAPE, *QUALITY, *TRANSPARENCY, *COST, *FRONTS)
"""Columns of ``choice.csv``."""

LATER = ("member_verdict", "judged", "dev_halfway", "dev_peak", "past_peak")
"""Columns that tables of earlier versions lack."""

TEXTS = (
    *("group", "mixer", "state", "floor_name", "verdict", "member_verdict"),
    *("concentration_site", "concentration_role"),
)
KINDS = dict.fromkeys(COLUMNS, float) | dict.fromkeys(TEXTS, str)
KINDS |= dict.fromkeys(("memorised", "past_peak", *FRONTS), bool)
READ = {f"{name}?" if name in LATER else name: kind for name, kind in KINDS.items()}
"""Columns of ``choice.csv`` as they are read."""

ADVICE = {
    "state": str,
    "model": (dict, None),
    "paragraphs": [{"topic": str, "text": str, "numbers": dict}],
    "further_runs": [{"why": str, "command": str}],
}
"""Form of ``advice.json``."""

RECOMMENDED, ABSTAINED = "recommended", "abstained"
LEARNED, NOT_LEARNED, UNFINISHED = "learned", "not_learned", "unfinished"


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Some sentences of the advice.

    Attributes:
        topic: What they are about: ``answer``, ``cost``, ``mechanism``, ``others``,
            ``uncertain``.
        text: The sentences.
        numbers: Numbers that they rest on, by name.
    """

    topic: str
    text: str
    numbers: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class FurtherRun:
    """A run that would settle something.

    Attributes:
        why: What it would settle.
        command: Command that makes it.
    """

    why: str
    command: str


@dataclasses.dataclass(frozen=True)
class Advice:
    """Which architecture to take, or that none can be named.

    Attributes:
        state: `RECOMMENDED` or `ABSTAINED`.
        model: Group, mixer, width, learning rate and member; None where none is named.
        paragraphs: The advice in words.
        further_runs: What would make it more certain.
    """

    state: str
    model: dict[str, Any] | None
    paragraphs: tuple[Paragraph, ...]
    further_runs: tuple[FurtherRun, ...]


def is_choice(path: str | os.PathLike) -> bool:
    """Whether a folder was planned by a choice, and not as a sweep alone."""
    return ChoiceFolder(path).plan.exists()


class ChoiceFolder(SweepFolder):
    """Paths and files of a sweep in which an architecture is chosen."""

    def __init__(self, path: Any):
        super().__init__(path)
        self.plan = self.path / "plan.json"
        self.choice = self.path / "choice.csv"
        self.advice = self.path / "advice.json"
        self.cost = CostFolder(self.path / NAME)

    def write_choice(self, table: pd.DataFrame) -> None:
        """Write ``choice.csv``."""
        write_table(self.choice, table[list(COLUMNS)])

    def read_choice(self) -> pd.DataFrame:
        """The table of the choice.

        Raises:
            UserError: If there is none, or it is damaged.
        """
        again = written_by("choose")
        if not self.choice.exists():
            raise UserError(f"there is no {self.choice}: {again}")
        return read_table(self.choice, READ, again).reindex(columns=[*COLUMNS])

    def write_advice(self, advice: Advice) -> None:
        """Write ``advice.json``."""
        write_json(self.advice, dataclasses.asdict(advice))

    def read_advice(self) -> Advice:
        """The advice.

        Raises:
            UserError: If there is none, or it is damaged.
        """
        again = written_by("choose")
        if not self.advice.exists():
            raise UserError(f"there is no {self.advice}: {again}")
        values = read_json(self.advice, ADVICE, remedy=again)
        try:
            return Advice(
                values["state"],
                values["model"],
                tuple(Paragraph(**one) for one in values["paragraphs"]),
                tuple(FurtherRun(**one) for one in values["further_runs"]),
            )
        except (KeyError, TypeError) as error:
            raise damaged(self.advice, error, again) from None

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Write ``plan.json``."""
        write_json(self.plan, plan)

    def read_plan(self) -> dict[str, Any]:
        """What was planned; empty where nothing was.

        Raises:
            UserError: If the file is damaged.
        """
        asked = {"widths": [int], "learning_rates": [float], "seeds": int}
        return read_json(self.plan, {"asked?": asked}, absent={})
