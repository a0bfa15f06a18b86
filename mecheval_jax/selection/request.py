"""What is asked of a choice: the task, the candidates, the time there is."""

import dataclasses
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mecheval_jax import programs
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.cost.measure import FEWEST_TOKENS
from mecheval_jax.experiment import Experiment
from mecheval_jax.fields import (
    LARGEST,
    LARGEST_NUMBER,
    MOST_SEEDS,
    SMALLEST_NUMBER,
    check_once,
    is_held,
)
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.selection.documents import fitted
from mecheval_jax.store.choice import COSTS
from mecheval_jax.store.provenance import found_from

MIXERS = ("attention", "based", "mamba", "gated_delta_net", "hyena")
"""Architectures that are compared by default, with the hybrid of `HYBRID`."""

HYBRID = ("mamba", "attention")
"""Mixers of the layers of the hybrid, in turn."""

SEEDS = 3
"""Runs of each setting, by default."""

MULTIPLES = (1, 4, 16)
"""Lengths of context at which costs are measured, in lengths of the user's documents."""

UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclasses.dataclass(frozen=True)
class ChoiceRequest:
    """A choice that is asked for.

    Attributes:
        experiment: Experiment whose task, shape and training candidates have but for what follows.
        mixers: Architectures, each a name as a config takes it; those of `MIXERS` and a hybrid if
            empty.
        widths: Widths, the one to be kept longest first; the config's and half of it if empty.
        rates: Learning rates, likewise; the config's, a third of it and three times it if empty.
        seeds: Number of runs of each setting.
        budget: Seconds that it may take; None for no end.
        length: Tokens of context at which costs count; 0 for those of the longest document.
        cheapest: Cost that decides between equally good ones, a name in `store.choice.COSTS`.

    Raises:
        UserError: If a value cannot be.
    """

    experiment: Experiment
    mixers: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    seeds: int = SEEDS
    budget: float | None = None
    length: int = 0
    cheapest: str = "prefill"

    def __post_init__(self):
        choose("cost of --cheapest", self.cheapest, COSTS)
        training, model = self.experiment.training, self.experiment.model
        given = {
            "mixers": self.mixers or default_mixers(model.layers),
            "widths": self.widths or tuple(dict.fromkeys((model.width, max(1, model.width // 2)))),
            "rates": self.rates or rates_around(training.learning_rate),
            "length": self.length or self.experiment.task.max_length,
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        for name, values in (
            ("--mixer", self.mixers),
            ("--widths", self.widths),
            ("--learning_rates", self.rates),
        ):
            check_once(name, values)
        for name, number, least, most in (
            ("--seeds", self.seeds, 1, MOST_SEEDS),
            ("--length", self.length, FEWEST_TOKENS, LARGEST // max(MULTIPLES)),
        ):
            if not least <= number <= most:
                raise UserError(f"{name} is {number}: {least} to {most:,}")
        for rate in self.rates:
            if not (rate > 0 and is_held(rate)):
                bounds = f"above 0, {SMALLEST_NUMBER:g} to {LARGEST_NUMBER:g}"
                raise UserError(f"--learning_rates has {rate:g}: {bounds}")
        self.shapes()  # one that cannot be is refused here

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of context at which costs are measured, in tokens."""
        return tuple(self.length * multiple for multiple in MULTIPLES)

    @property
    def asked(self) -> dict[str, Any]:
        """What the plan keeps of it: a budget may leave some out, and it may be asked for again."""
        return {"widths": self.widths, "learning_rates": self.rates, "seeds": self.seeds}

    def shapes(self) -> dict[tuple[int, str], ModelConfig]:
        """Models of all widths and architectures, by these, in the order in which widths are kept.

        Raises:
            UserError: If one cannot be.
        """
        model = self.experiment.model
        return {
            (width, mixer): dataclasses.replace(model, width=width, **model.changes_to(mixer))
            for width in self.widths
            for mixer in self.mixers
        }


def default_mixers(layers: int) -> tuple[str, ...]:
    """The architectures that are compared by default; one layer is no hybrid."""
    hybrid = ",".join(HYBRID[layer % len(HYBRID)] for layer in range(layers))
    return (*MIXERS, hybrid) if layers > 1 else MIXERS


def rates_around(rate: float) -> tuple[float, ...]:
    """A learning rate, about a third of it, and about three times it."""
    around = (rate, *(float(f"{rate * factor:.0e}") for factor in (1 / 3, 3)))
    return tuple(dict.fromkeys(around))  # of 0 there is one, which is refused as such


def experiment_of(
    config: ConfigDict | None,
    documents: str | None,
    of_documents: Callable[[], ConfigDict],
    steps: int | None = None,
) -> Experiment:
    """The experiment of a config, or of a file of documents.

    Args:
        config: Config that was given, if one was.
        documents: Path of a file of documents, if one was given.
        of_documents: Maker of the config of documents.
        steps: Steps of a run; the config's if None.

    Raises:
        UserError: If neither or both are given, or the config or the file cannot be taken.
    """
    if (config is None) == (documents is None):
        what = "both are given" if documents else "neither is"
        raise UserError(f"give either --documents=FILE.jsonl or --config=FILE.py: {what}")
    if config is not None:
        experiment = Experiment.from_config(config)
        if steps is None:
            return experiment
        return experiment.with_training(experiment.as_dict()["training"] | {"steps": steps})
    sections = of_documents().to_dict()
    sections["task"]["path"] = documents
    if steps is not None:
        sections["training"]["steps"] = steps
    return fitted(sections)


@dataclasses.dataclass(frozen=True)
class Commands:
    """The command that makes a choice.

    Attributes:
        arguments: Arguments that were given to the program.
        workdir: Folder that was given.
        python_path: Folders of the user's own mixers, as of ``PYTHONPATH``; empty if there are
            none.
    """

    arguments: tuple[str, ...]
    workdir: str
    python_path: str = ""

    @property
    def whole(self) -> str:
        """The command as it was given."""
        return self._command(self.arguments)

    def beside(self, name: str, *flags: str) -> str:
        """The command of another choice on the same task, in a folder of its own beside this one.

        Args:
            name: What is appended to the name of the folder.
            *flags: Flags with their values, in place of those that were given. What was given of
                `VARIED` is left out, so that the other choice has the default, and no budget.
        """
        replaced = (flag.lstrip("-").partition("=")[0] for flag in flags)
        kept = programs.without_flags(self.arguments, (*VARIED, *replaced))
        return self._command([*kept, f"--workdir={self.workdir}_{name}", *flags])

    def _command(self, arguments: Sequence[str]) -> str:
        command = f"{programs.command('choose')} {shlex.join(arguments)}"
        return found_from(self.python_path, command)


VARIED = ("workdir", "mixer", "widths", "learning_rates", "seeds", "budget")
"""Flags that another choice on the same task has otherwise."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What was asked for, as far as the advice speaks of it.

    Attributes:
        commands: Command that made the choice.
        cheapest: Cost that decides, a name in `store.choice.COSTS`.
        rates: Learning rates that were tried.
        seeds: Number of runs of each setting.
        steps: Steps of a run.
        epochs: How often a run of so many steps reads each train document; None where documents
            are made anew.
        documents: Number of train documents that are read again; None likewise.
        failed: Why groups have failed, by their names.
    """

    commands: Commands
    cheapest: str
    rates: tuple[float, ...]
    seeds: int
    steps: int
    epochs: float | None = None
    documents: int | None = None
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict)


def parse_budget(text: str | None) -> float | None:
    """Seconds of a text such as ``90s``, ``30m``, ``2h`` or ``1h30m``; None for no text.

    Raises:
        UserError: If it is something else, or no time at all.
    """
    if text is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    whole = "".join(number + unit for number, unit in parts) == text
    if not whole or not 0 < seconds < math.inf:
        raise UserError(f"--budget={text[:50]}: a time such as 90s, 30m, 2h or 1h30m")
    return seconds


def words_of_time(seconds: float) -> str:
    """A time in the words of `parse_budget`, rounded."""
    if seconds < 120:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{minutes}m" if minutes < 120 else f"{hours}h{rest}m" if rest else f"{hours}h"
