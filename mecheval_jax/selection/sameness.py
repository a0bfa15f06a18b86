"""Whether the runs of a folder are of the choice that is asked for, so that it may go on there."""

from collections.abc import Sequence
from typing import Any

from mecheval_jax.errors import UserError
from mecheval_jax.experiment import ANALYSES, Experiment, difference_words
from mecheval_jax.selection.plan import Size, changes_of
from mecheval_jax.selection.request import ChoiceRequest
from mecheval_jax.store.choice import ChoiceFolder
from mecheval_jax.store.folder import GROUPS
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
    first = folder.read_plan().get("asked", {})
    if not (folder.plan.exists() or (folder.path / GROUPS).exists()):
        first = request.asked  # the making of the folder was broken off before its plan
    what = _other_experiment(sweep, request) or _other_runs(sweep, request, first)
    if what:
        raise UserError(f"workdir {folder.path} holds {what}: take another workdir")


def _other_experiment(sweep: Sweep, request: ChoiceRequest) -> str | None:
    """What is said of runs of another experiment."""
    ours, theirs = request.experiment, Experiment.from_config(sweep.base)
    found = difference_words(theirs, ours, ignored=(ANALYSES,))
    if not found:
        return None
    return f"a choice of another task, model, training or evaluation ({'; '.join(found)[:300]})"


def _other_runs(sweep: Sweep, request: ChoiceRequest, first: dict[str, Any]) -> str | None:
    """What is said of runs of other architectures, widths, learning rates or seeds.

    A budget may have left out some of what was asked for at first, and the same may be asked for
    again; nothing else is planned.
    """
    models = [group.experiments[0].model for group in sweep.groups]
    mixers = dict.fromkeys(model.mixer for model in models)
    widths = tuple(dict.fromkeys(model.width for model in models))
    rates = tuple(dict.fromkeys(one.training.learning_rate for one in sweep.experiments))
    seeds = len({one.training.seed for one in sweep.experiments})
    if set(mixers) != set(request.mixers):
        return f"a choice of the architectures {'; '.join(mixers)}"
    for flag, planned, asked, before in (
        ("--widths", widths, request.widths, first.get("widths", [])),
        ("--learning_rates", rates, request.rates, first.get("learning_rates", [])),
    ):
        words = f"a choice of {flag}={_listed(planned, ',')}"
        if not {*planned} <= {*asked}:
            return words
        if further := [one for one in asked if one not in (*planned, *before)]:
            return f"{words}, without {_listed(further, ', ')}"
    if not seeds <= request.seeds <= max(seeds, first.get("seeds", 0)):
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


def _listed(values: Sequence[float], between: str) -> str:
    return between.join(f"{value:g}" for value in values)
