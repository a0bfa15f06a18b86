"""What is said of a study before anything is run."""

import re

import pytest

from configs.study import config_of
from mecheval_jax.store.sweep_folder import GroupStatus
from mecheval_jax.study.announcement import announce
from mecheval_jax.study.plans import StudyFolder, experiments_at
from mecheval_jax.study.results import table_of
from mecheval_jax.study.tables import write_table
from mecheval_jax.study.timing import Clock
from mecheval_jax.study.work import StudyRequest, work_of


@pytest.fixture(scope="module")
def parts():
    return experiments_at("laptop", False, config_of, Clock(1), ("mamba_taps", "ar_positions"))


@pytest.fixture
def said(parts, tmp_path, capfd):
    """The lines about a budget of so many hours."""

    def lines(budget):
        request = StudyRequest(budget=budget, dry_run=True)
        folder, clock = StudyFolder(tmp_path / "work"), Clock(1)
        work = [work_of(part, folder, table_of([]), request) for part in parts]
        announce(work, folder, request, clock)
        told = capfd.readouterr().err.splitlines()
        return told[len(parts) + 1 : -1]

    return lines


def test_a_budget_without_time(said):
    """Catches a budget that a dry run passes over, and groups that only a folder's name tells."""
    total, taps, positions = said(0.0)
    assert (
        total == "the budget of 0 h has time for 0 of 13 groups, about 0.0 min, and leaves out 13:"
    )
    assert taps.startswith(
        "  mamba_taps_laptop: 000_mamba_width_64 (d_conv=2), 001_mamba_width_64 ("
    )
    assert "(positions none)" in positions


def test_a_budget_for_a_part(said):
    """Catches a sum that the budget does not hold, and later groups that go with a long one."""
    total, *left = said(3.0)
    begun, every, out = map(int, re.findall(r"for (\d+) of (\d+) .* out (\d+):", total)[0])
    assert 0 < begun < every == begun + out
    assert float(re.findall(r"about ([\d.]+) h", total)[0]) <= 3.0
    assert out == sum(line.count("_width_") for line in left)


def test_results_of_another_scale(parts, tmp_path, capfd):
    """Catches results that are there, and a plan that says nothing of them."""
    folder, clock = StudyFolder(tmp_path), Clock(1)
    write_table(folder.table("ar_layers_device"), table_of([]))
    request = StudyRequest(dry_run=True)
    announce([work_of(parts[0], folder, table_of([]), request)], folder, request, clock)
    first = capfd.readouterr().err.splitlines()[0]
    assert "has results of other scales, ar_layers_device.csv: of these a member counts" in first
    request = StudyRequest(scale="device", dry_run=True)
    announce([], folder, request, clock)
    assert "other scales" not in capfd.readouterr().err


def test_groups_at_the_same_time(parts, tmp_path, capfd):
    """Catches hours that could be saved without a word, and a promise where there is nothing to
    save."""

    def said(clock, some):
        request = StudyRequest(dry_run=True)
        folder = StudyFolder(tmp_path / "work")
        work = [work_of(part, folder, table_of([]), request) for part in some]
        announce(work, folder, request, clock)
        told = [line for line in capfd.readouterr().err.splitlines() if "about" in line]
        return [line for line in told if "jobs_at_once" in line or "in all" in line]

    both = Clock(2)
    first = parts[0].left(StudyFolder(tmp_path), set()).groups[0].experiments[0]
    both.observe(first, GroupStatus(members=2, steps=1, seconds=0.1))  # for both sums alike
    total, hint = said(both, parts)
    assert "on 2 devices, by" in total
    whole, together = (float(re.search(r"about ([\d.]+)", line)[1]) for line in (total, hint))
    assert hint.startswith("with --jobs_at_once=2 about ")
    assert 0.5 * whole < together < 0.9 * whole
    (total,) = said(both.with_groups_at_once(2), parts)
    assert "on 2 devices, 2 groups at a time" in total
    assert f"about {together:.1f} " in total
    for one, some in ((Clock(1), parts), (Clock(2, accelerator=True), parts), (both, [])):
        assert len(said(one, some)) == 1


def test_a_budget_for_all(said, parts):
    """Catches a warning where there is nothing to warn of, and one where no budget was given."""
    (line,) = said(1000.0)
    assert line.endswith("leaves out none")
    assert said(None) == []
