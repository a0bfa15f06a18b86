"""Commands that a run's page prints are those that make it again."""

import dataclasses
import importlib
import shlex

from mecheval_jax.reporting.html import commands, reading
from mecheval_jax.store.run_folder import RunFolder
from tests.support.reported_runs import make_run, table_of

MIXER = """
from mecheval_jax.mixers.gla import GatedLinearAttention


class Own(GatedLinearAttention):
    pass
"""


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
    """Catches a command that cannot import the mixer of its run."""
    package = tmp_path / "my code" / "inner"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "own_again.py").write_text(MIXER)
    monkeypatch.syspath_prepend(package.parent)
    importlib.import_module("inner.own_again")
    begins = f"PYTHONPATH={shlex.quote(str(package.parent))} "
    assert commands.python_path("attention,inner.own_again:Own,inner.own_again:Own") == begins
    assert commands.python_path("attention") == ""
    monkeypatch.chdir(tmp_path)
    assert commands.python_path("inner.own_again:Own") == "PYTHONPATH='my code' "
