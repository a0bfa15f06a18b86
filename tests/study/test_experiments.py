"""The study's experiments, and the members that their configs list."""

import pytest

from configs.study import atr_languages, config_of
from mecheval_jax.errors import UserError
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.experiments import (
    ALL,
    EXPERIMENTS,
    RATES,
    SCALES,
    experiment_named,
    ranked_rates,
)
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.published.tables import WIDTHS
from mecheval_jax.study.results import config_hash, config_values, table_of
from mecheval_jax.study.tables import read_tables
from mecheval_jax.sweeps.plan import plan
from tests.support.compilation import ROOT


def members(name, scale):
    module = config_of(name)
    sweep = plan(module.get_config(), module.runs(scale))
    return [one for group in sweep.groups for one in group.experiments]


def test_every_finding_is_decided():
    """Catches a finding that no experiment gives results for."""
    decided = {number for experiment in EXPERIMENTS for number in experiment.findings}
    assert decided == {finding.number for finding in FINDINGS}


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_low_at_one_rate_is_tried_at_another(scale):
    """Catches an experiment that could never decide that something fails, or differs."""
    for experiment in EXPERIMENTS:
        if experiment.findings:
            assert experiment.grid(scale).rates >= 2, experiment.name


class _Asked(StudyCells):
    """Cells that keep for which runs they are asked."""

    def __init__(self, table):
        super().__init__(table)
        self.cells = set()

    def accuracy(self, mixer, width, task="AR", **where):
        self._note(mixer, task, **where)
        return super().accuracy(mixer, width, task, **where)

    def fall(self, mixer, width, task):
        self._note(mixer, task)
        return super().fall(mixer, width, task)

    def learned(self, mixer, task="AR", **which):
        self._note(mixer, task, **which)
        return super().learned(mixer, task, **which)

    def _note(self, mixer, task, layers=2, option="", positions=None, **_):
        self.cells.add((mixer, task, layers, option, positions or positions_of(mixer)))


def test_findings_of_an_experiment_are_those_that_ask_for_its_runs():
    """Catches an experiment that is said to decide less, or more, than it does."""
    asked = {}
    for finding in FINDINGS:
        cells = _Asked(table_of([]))
        list(finding.claims(cells))
        asked[finding.number] = cells.cells
    for experiment in (one for one in EXPERIMENTS if one.findings):
        columns = ("mixer", "task", "layers", "option", "positions")
        rows = [config_values(one) for one in members(experiment.name, "laptop")]
        made = {tuple(row[name] for name in columns) for row in rows}
        needed = [number for number, cells in asked.items() if cells & made]
        assert needed == list(experiment.findings), experiment.name


def test_those_that_decide_most_come_first():
    """Catches an experiment added at the end."""
    counts = [len(experiment.findings) for experiment in EXPERIMENTS]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("family", RATES)
def test_full_has_all_rates(family):
    """Catches a rate that is left out, or there twice."""
    for width in WIDTHS:
        assert sorted(ranked_rates(family, "mamba", width, ALL)) == sorted(RATES[family])
    assert ranked_rates("AR", "attention", 64, 2) == (3e-4, 1e-3)
    assert ranked_rates("AR", "mamba", 256, 1) == (1e-3,)
    assert ranked_rates("ATR", "mamba", 256, 3)[0] == 1e-3


def test_scales():
    """Catches a scale that is larger than the next."""
    for experiment in EXPERIMENTS:
        module = config_of(experiment.name)
        sizes = [len(module.runs(scale)) for scale in SCALES]
        assert sizes == sorted(sizes)
    with pytest.raises(UserError, match=r"'lap'.*'laptop'"):
        EXPERIMENTS[0].grid("lap")
    with pytest.raises(UserError, match=r"'ar_two'.*ar_two_layers"):
        experiment_named("ar_two")


@pytest.mark.parametrize("name", ["ar_two_layers", "based_kernels"])
def test_runs_that_were_made_before_are_not_made_again(name):
    """Catches a member of the laptop scale that is not that of a table there is, by rate or
    field."""
    made = {*read_tables([ROOT / "docs" / "results"])["config_hash"]}
    assert {config_hash(one) for one in members(name, "laptop")} <= made


@pytest.mark.parametrize(
    ("name", "task", "values"),
    [
        ("ar_two_layers", "AR", {"layers": 2, "steps": 50_016, "option": ""}),
        ("ar_reverse", "AR reverse", {"layers": 3}),
        ("ar_filler", "AR filler", {}),
        ("ar_beta2", "AR", {"beta2": 0.95}),
        ("mamba_taps", "AR", {"mixer": "mamba"}),
        ("atr_two_layers", "ATR L=5 S=20", {"steps": 100_032}),
        ("atr_one_layer", "ATR L=5 S=20", {"layers": 1}),
        ("atr_without_convolution", "ATR L=5 S=20", {"option": "d_conv=0"}),
        ("atr_held_out", "ATR held-out", {}),
        ("atr_siblings", "ATR siblings", {}),
    ],
)
def test_members_are_what_findings_look_for(name, task, values):
    """Catches an experiment whose rows no finding would take."""
    for one in members(name, "laptop"):
        row = config_values(one)
        assert row["task"] == task
        assert {column: row[column] for column in values} == values


def test_languages_and_positions():
    """Catches a language of other sizes, and positions that are the study's own."""
    made = atr_languages.runs("laptop")
    sizes = {(change["task.symbols"], change["task.terminals"]) for change in made}
    assert sizes == {(10, 20), (5, 8192), (10, 8192)}
    for one in members("ar_positions", "laptop"):
        assert (one.model.positions == "none") == (one.model.mixer == "attention")
    taps = {config_values(one)["option"] for one in members("mamba_taps", "laptop")}
    assert taps == {f"d_conv={taps}" for taps in (0, 1, 2, 3, 6, 8, 16)}
