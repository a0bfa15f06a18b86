"""The commands of a run that its page shows: those that go on with it, and make it again."""

import shlex

from mecheval_jax import programs
from mecheval_jax.evaluation.verdict.measurement import sites_of_evidence
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.reporting.html.reading import Reported
from mecheval_jax.store import own_code
from mecheval_jax.store.provenance import command_of, found_from


def commands(run: Reported) -> list[str]:
    """Commands that train the run, intervene on it and report it."""
    workdir = shlex.quote(f"--workdir={run.folder.path}")
    arguments = run.provenance.get("arguments", [])
    # A run that was trained from Python has no command line of its own, which earlier versions
    # did not say.
    known = any(argument.lstrip("-").startswith("config") for argument in arguments)
    named = known or "program" in run.provenance
    where = own_code.python_path(run.experiment.model.mixer)
    made = command_of(run.provenance | {"python_path": where}, "train") if named else None
    return [
        made or found_from(where, f"{programs.command('train')} --config=CONFIG {workdir}"),
        found_from(where, f"{programs.command('intervene')} {workdir}"),
        found_from(where, f"{programs.command('report')} {workdir}"),
    ]


def again(run: Reported) -> list[str]:
    """The same, with the flags by which interventions measure what this run's did."""
    train, intervene, report = commands(run)
    flags = _flags(run)
    return [train, f"{intervene} {flags}" if flags else intervene, report]


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
