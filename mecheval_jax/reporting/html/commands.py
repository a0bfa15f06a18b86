"""The commands of a run that its page shows: those that go on with it, and make it again."""

import pathlib
import shlex
import sys

from mecheval_jax import programs, trust
from mecheval_jax.evaluation.verdict.measurement import sites_of_evidence
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.reporting.html.reading import Reported
from mecheval_jax.store.provenance import command_of


def commands(run: Reported) -> list[str]:
    """Commands that train the run, intervene on it and report it."""
    workdir = shlex.quote(f"--workdir={run.folder.path}")
    arguments = run.provenance.get("arguments", [])
    # A run that was trained from Python has no command line of its own, which earlier versions
    # did not say.
    known = any(argument.lstrip("-").startswith("config") for argument in arguments)
    named = known or "program" in run.provenance
    made = command_of(run.provenance, "train") if named else None
    found = [
        made or f"{programs.command('train')} --config=CONFIG {workdir}",
        f"{programs.command('intervene')} {workdir}",
        f"{programs.command('report')} {workdir}",
    ]
    where = python_path(run.experiment.model.mixer)
    return [f"{where}{command}" for command in found]


def again(run: Reported) -> list[str]:
    """The same, with the flags by which interventions measure what this run's did."""
    train, intervene, report = commands(run)
    flags = _flags(run)
    return [train, f"{intervene} {flags}" if flags else intervene, report]


def python_path(mixer: str) -> str:
    """How a command begins that has to import mixers of the user's own; empty if none has to.

    Args:
        mixer: Value of ``model.mixer``, whose modules have been imported.
    """
    folders = []
    for name in trust.imports_of(mixer):
        module = name.partition(":")[0]
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is not None:
            file = pathlib.Path(file)
            inside = module.count(".") + (file.name == "__init__.py")  # a package is its folder
            folders.append(_as_typed(file.parents[inside]))
    return f"PYTHONPATH={shlex.quote(':'.join(dict.fromkeys(folders)))} " if folders else ""


def _as_typed(folder: pathlib.Path) -> str:
    """A folder as one would type it here: relative where it is below this one."""
    here = pathlib.Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def _flags(run: Reported) -> str:
    """Flags of the interventions whose results the run has; none without any.

    Their documents and roles stand in the config by now, and did not where training had others.
    """
    if run.table is None:
        return ""
    used, model = run.experiment.evaluation, run.experiment.model
    sites, whole = set(run.table["site"]), site_paths(model)
    flags = {}
    if sites == set(whole):
        flags["sites"] = "all"
    elif sites != set(sites_of_evidence(model)):
        flags["sites"] = ",".join(path for path in whole if path in sites)
    if run.history is not None:
        flags["steps"] = ",".join(str(int(step)) for step in sorted(set(run.history["step"])))
    flags |= {name: ",".join(getattr(used, name)) for name in ("roles", "corruptions")}
    flags |= {"directions": ",".join(used.directions), "documents": str(used.documents)}
    flags["split"] = used.split
    given = (f"--{name}={value}" for name, value in flags.items() if value)
    return " ".join(map(shlex.quote, given))
