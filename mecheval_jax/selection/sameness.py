"""Whether the runs of a folder are of the choice that is asked for, so that it may go on there."""

import re
from collections.abc import Sequence

from mecheval_jax.errors import UserError
from mecheval_jax.experiment import ANALYSES, Experiment, difference_words
from mecheval_jax.selection.plan import Size, changes_of
from mecheval_jax.selection.request import ChoiceRequest
from mecheval_jax.store.choice import ChoiceFolder
from mecheval_jax.sweeps.plan import Sweep, plan


def check_same(folder: ChoiceFolder, sweep: Sweep, request: ChoiceRequest) -> None:
    """Check that a folder's runs are of the choice that is asked for.

    Args:
        folder: Folder of the choice.
        sweep: Its runs.
        request: What is asked for.

    Raises:
        UserError: If they are not, or are no choice's.
    """
    given_up = folder.read_plan().get("given_up", [])
    what = _other_experiment(sweep, request) or _other_runs(sweep, request, given_up)
    if what:
        raise UserError(f"workdir {folder.path} holds {what}: take another workdir")


def _other_experiment(sweep: Sweep, request: ChoiceRequest) -> str | None:
    """What is said of runs of another experiment."""
    ours, theirs = request.experiment, Experiment.from_config(sweep.base)
    # Of a file of documents the content counts, and not where it lies.
    field = ours.task.hash_field
    is_same_file = field and getattr(ours.task, field) == getattr(theirs.task, field, None)
    ignored = (ANALYSES, "task.path") if is_same_file else (ANALYSES,)
    found = difference_words(theirs, ours, ignored=ignored)
    if not found:
        return None
    return f"a choice of another task, model, training or evaluation ({'; '.join(found)[:300]})"


def _other_runs(sweep: Sweep, request: ChoiceRequest, given_up: Sequence[str]) -> str | None:
    """What is said of runs of other architectures, widths, learning rates or seeds.

    A budget may have left some of what was asked for, but nothing else is planned.
    """
    models = [group.experiments[0].model for group in sweep.groups]
    mixers = dict.fromkeys(model.mixer for model in models)
    widths = tuple(dict.fromkeys(model.width for model in models))
    rates = tuple(dict.fromkeys(one.training.learning_rate for one in sweep.experiments))
    seeds = len({one.training.seed for one in sweep.experiments})
    if set(mixers) != set(request.mixers):
        return f"a choice of the architectures {'; '.join(mixers)}"
    for flag, kind, there, here in (
        ("--widths", "width", widths, request.widths),
        ("--learning_rates", "learning rate", rates, request.rates),
    ):
        planned, asked = ([f"{value:g}" for value in values] for values in (there, here))
        left = _values(given_up, kind)
        if not set(planned) <= set(asked):
            return f"a choice of {flag}={','.join(planned)}"
        if further := [one for one in asked if one not in (*planned, *left)]:
            return f"a choice of {flag}={','.join(planned)}, without {', '.join(further)}"
    numbers = (re.fullmatch(r"\d+ of (\d+) seeds", one) for one in given_up)
    most = max([seeds, *(int(number[1]) for number in numbers if number)])
    if not seeds <= request.seeds <= most:
        return f"a choice of --seeds={seeds}"
    # Runs that differ in anything else would count as seeds of one setting.
    shapes = [*dict.fromkeys((model.width, model.mixer) for model in models)]
    changes = changes_of(request, Size(widths, rates, seeds), shapes)
    expected = plan(request.experiment.as_dict(), changes).experiments
    if [(one.model, one.training) for one in expected] != [
        (one.model, one.training) for one in sweep.experiments
    ]:
        return (
            "a sweep that is no choice, of runs that differ in more than architecture, width, "
            "learning rate and seed"
        )
    return None


def _values(given_up: Sequence[str], kind: str) -> list[str]:
    """Widths or learning rates that a plan has given up, from its words."""
    texts = (one.removeprefix(f"{kind} ") for one in given_up if one.startswith(f"{kind} "))
    return [value for text in texts for value in text.split(", ")]
