"""How members are computed: what fits, what was chosen before, what is chosen now."""

import json

import jax
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.training.ensemble import strategy_choice
from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from mecheval_jax.training.ensemble.mesh import member_mesh
from mecheval_jax.training.ensemble.strategy import Strategy
from mecheval_jax.training.ensemble.strategy_choice import (
    MARGIN,
    Choices,
    MemoryEstimate,
    choose_strategy,
    fastest,
)
from tests.support.ensembles import ensemble_of, experiment

GIB = 2**30


def test_an_estimate_says_how_many_fit():
    """Catches members that are counted as free, and an error that does not say what would do."""
    free = int(10 * GIB / MARGIN)
    roomy = MemoryEstimate(members=4, free=free, resident=4 * GIB, working=GIB)
    assert (roomy.most, roomy.at_once) == (9, 4)
    roomy.check(4)
    tight = MemoryEstimate(members=8, free=free, resident=8 * GIB, working=GIB)
    assert tight.at_once in (1, 2)
    tight.check(None)
    with pytest.raises(UserError, match=r"5 members at once do not fit.*10\.00 GiB.*: [12] do"):
        tight.check(5)
    tight.check(at_once=None)
    roomy.check(at_once=8)  # of which the device has four
    full = MemoryEstimate(members=20, free=free, resident=20 * GIB, working=GIB)
    with pytest.raises(UserError, match=r"20 members on a device.*10\.00 GiB.*: [89] do"):
        full.check(None)


def test_choices_are_kept(tmp_path):
    """Catches a damaged file that stops a sweep, and a choice of one shape used for another."""
    path = tmp_path / "cache" / "strategies.json"
    choices = Choices(path)
    assert choices.get("a") is None
    choices.put("a", {"kind": "vmap", "at_once": 3})
    choices.put("b", {"kind": "scan", "at_once": 1})
    assert Choices(path).get("a") == {"kind": "vmap", "at_once": 3}
    assert Choices(path).get("c") is None
    path.write_text("[]")
    assert Choices(path).get("a") is None
    path.write_text(json.dumps({"a": {"kind": "vmup", "at_once": 3}, "b": 3}))
    assert Choices(path).get("a") is None
    assert Choices(path).get("b") is None
    path.write_text("{")
    assert Choices(path).get("a") is None
    Choices(tmp_path / "cache" / "strategies.json" / "no").put("a", {})  # cannot be written


def test_the_fastest_is_taken():
    """Catches the slowest, or the first."""
    times = {Strategy("vmap", 4): 3.0, Strategy("scan"): 1.0, Strategy("loop"): 2.0}
    assert fastest(list(times), times.__getitem__) == (Strategy("scan"), times)


def test_a_candidate_without_memory_is_passed_over():
    """Catches a sweep that fails because its largest batch does, and a fault that is hidden."""

    def seconds_of(strategy):
        if strategy.kind != "loop":
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return 1.0

    kinds = [Strategy("vmap", 4), Strategy("scan"), Strategy("loop")]
    assert fastest(kinds, seconds_of)[0] == Strategy("loop")
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        fastest(kinds[:2], seconds_of)
    with pytest.raises(ZeroDivisionError):
        fastest(kinds, lambda strategy: 1 / 0)


@pytest.fixture(scope="module")
def programs():
    return MemberPrograms(ensemble_of(experiment()), member_mesh(jax.devices()[:1]))


def test_a_choice_is_measured_once(programs, tmp_path, monkeypatch):
    """Catches a measurement that is ignored, made again, or made although one was asked for."""
    measured, said = [], []

    def seconds_of(self, strategy):
        measured.append(strategy)
        return {"vmap": 2.0, "scan": 3.0, "loop": 1.0}[strategy.kind]

    monkeypatch.setattr(MemberPrograms, "seconds_of", seconds_of)
    choices = Choices(tmp_path / "strategies.json")

    def chosen(at_once=None, kind="auto"):
        return choose_strategy(programs, choices, "key", at_once, kind, said.append)

    assert chosen() == Strategy("loop")
    assert measured == [Strategy("vmap", 4), Strategy("scan"), Strategy("loop")]
    assert "loop" in said[-1]
    assert "scan" in said[-1]
    assert chosen() == Strategy("loop")
    assert "measured before" in said[-1]
    assert chosen(kind="scan") == Strategy("scan")
    assert chosen(at_once=2) == Strategy("vmap", 2)
    assert chosen(at_once=8) == Strategy("vmap", 4)
    assert len(measured) == 3


def test_a_time_is_that_of_a_step(tmp_path, monkeypatch):
    """Catches a time of few steps that is divided by the usual number."""
    ensemble = ensemble_of(experiment(steps_per_dispatch=2))
    short = MemberPrograms(ensemble, member_mesh(jax.devices()[:1]))
    monkeypatch.setattr(MemberPrograms, "seconds_of", lambda self, strategy: 0.008)
    said = []
    choose_strategy(short, Choices(tmp_path / "none"), "key", None, "auto", said.append)
    assert "scan 1.00 ms" in said[-1]  # two steps of four members


def test_more_members_than_memory(programs, tmp_path, monkeypatch):
    """Catches a sweep that dies of memory in the middle, in place of saying what fits."""
    monkeypatch.setattr(strategy_choice, "free_memory", lambda device: 200_000)
    with pytest.raises(UserError, match=r"4 members on a device do not fit .*: \d+ do"):
        choose_strategy(programs, Choices(tmp_path), "key", None, "auto", print)
