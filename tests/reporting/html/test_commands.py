"""Commands that a run's page prints are those that make it again."""

import dataclasses
import shlex

from mecheval_jax.reporting.html import commands, reading
from mecheval_jax.store import own_code
from mecheval_jax.store.run_folder import RunFolder
from tests.support.reported_runs import make_run, table_of


def test_interventions_are_given_as_they_were_measured(tmp_path):
    """Catches a command without the flags of the results that stand beside it."""
    folder = make_run(tmp_path / "a b")
    run = reading.read(RunFolder(folder), "a b")
    _, short, report = commands.commands(run)
    train, long, same = commands.again(run)
    assert train.startswith("python -m launch.train ")
    assert report == same == f"python -m launch.report {shlex.quote(f'--workdir={folder}')}"
    assert short == f"python -m launch.intervene {shlex.quote(f'--workdir={folder}')}"
    sites, *flags = shlex.split(long.removeprefix(short))
    assert sites.removeprefix("--sites=").split(",") == list(dict.fromkeys(run.table["site"]))
    used = run.experiment.evaluation
    assert flags == [
        f"--roles={','.join(used.roles)}",
        f"--corruptions={','.join(used.corruptions)}",
        f"--directions={','.join(used.directions)}",
        "--documents=40",
        f"--split={used.split}",
    ]
    history = table_of().assign(step=[100.0] + [200.0] * (len(table_of()) - 1))
    assert "--steps=100,200 " in commands.again(dataclasses.replace(run, history=history))[1]
    alone = make_run(tmp_path / "c", interchange=False)
    run = reading.read(RunFolder(alone), "c")
    assert commands.again(run) == commands.commands(run)


def test_a_mixer_of_ones_own_is_found_again(tmp_path, monkeypatch):
    """Catches a command that cannot import the mixer of its run, or names its folder twice."""
    folder = make_run(tmp_path / "a")
    run = reading.read(RunFolder(folder), "a")
    monkeypatch.setattr(own_code, "python_path", lambda mixer: "my code")
    provenance = run.provenance | {"python_path": "my code"}
    for command in commands.commands(dataclasses.replace(run, provenance=provenance)):
        assert command.startswith("PYTHONPATH='my code' python -m launch.")
        assert command.count("PYTHONPATH") == 1
