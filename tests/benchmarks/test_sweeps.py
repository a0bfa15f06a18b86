"""Benchmarks of sweeps: the commands that they run, and the strategies that they measure."""

from configs import recall
from mecheval_jax.benchmarks import sweeps
from mecheval_jax.benchmarks.measured import Measured
from mecheval_jax.experiment import Experiment
from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from tests.support.compilation import ROOT


# Catches a config or an argument of it that is no more, and runs of other lengths than the sweep.
def test_commands(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(sweeps, "_run", commands.append)
    sweeps._train(tmp_path, 3, 20)
    sweeps._sweep(tmp_path, 20)
    made = []
    for module, config, *flags in commands:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
        assert f"--workdir={tmp_path}" in flags
        path, _, argument = config.removeprefix("--config=").partition(":")
        assert (ROOT / path).is_file()
        made.append(Experiment.from_config(recall.get_config(argument)))
    alone, together = made
    assert (alone.training.seed, alone.training.steps) == (3, 20)
    assert together.training.steps == 20
    assert alone.model == together.model
    (grid,) = (flag for flag in commands[1] if flag.startswith("--grid="))
    assert len(grid.split(",")) == sweeps.MEMBERS


# Catches a strategy that is no more, and a time that is not of one member's step.
def test_strategies(rows, monkeypatch):
    measured = []

    def seconds_of(programs, kind):
        measured.append(kind)
        return 2e-3 * programs.measured_steps * sweeps.MEMBERS

    monkeypatch.setattr(MemberPrograms, "seconds_of", seconds_of)

    def alone(what, *_):
        return Measured(what, "alone", (4e-3,))

    row = rows(sweeps, sweeps.strategies, MIXERS=("mamba",), whole_step=alone)["mamba"]
    kinds = ("vmap", "vmap of 4", "scan", "loop")
    assert row == {"alone": 4e-3} | dict.fromkeys(kinds, 2e-3)
    assert [kind.kind for kind in measured] == ["vmap", "vmap", "scan", "loop"]
