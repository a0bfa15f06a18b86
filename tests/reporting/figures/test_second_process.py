"""A second process writes figures, and whatever becomes of it, they are there in the end."""

import os
import pathlib
import signal

import pytest

from mecheval_jax import machine
from mecheval_jax.reporting.figures import drawing, saving, scales, second_process
from mecheval_jax.reporting.figures.look import Look, looking, styled
from tests.support import forked

LOOK = Look(font_size=7, formats=("png", "svg", "pdf"))
WITHOUT_SVG = Look(font_size=7, formats=("pdf",))

two_cores = pytest.mark.skipif(
    machine.usable_cores() == 1, reason="a program with one core writes everything itself"
)


@styled
def drawn():
    figure, axes = drawing.one_axes(3.0, 2.0)
    axes.plot([0, 1], [0, 1])
    scales.step_axis(axes)
    drawing.annotate(axes, [0], [0], ["\x07"])
    return figure


def log(folder, name):
    """Work that leaves the number of its process."""
    (folder / f"{name}.txt").write_text(str(os.getpid()))


def end_itself(parent):
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def save_figures(folder, kill, look=LOOK):
    """Program of the tests: draws beside itself, and kills its helper between two figures."""
    with looking(look), second_process.writing():
        second_process.later(log, folder, "first")
        saving.save(drawn(), folder, "one")
        if kill:
            second_process.later(end_itself, os.getpid())
        saving.picture(drawn(), folder, "two", "p", "a figure")
        second_process.later(log, folder, "last")
    second_process.later(log, folder, "after")
    log(folder, "program")


@styled
def save_bars(folder):
    """Draw a figure of which matplotlib keeps a function that cannot be pickled."""
    with looking(WITHOUT_SVG), second_process.writing():
        figure, axes = drawing.one_axes(3.0, 2.0)
        axes.bar_label(axes.barh([0], [1.0]), ["one"])
        saving.save(figure, folder, "bars")


def run(tmp_path, call):
    code = f"from tests.reporting.figures import test_second_process as t\nimport pathlib\n{call}"
    return forked.start(["-c", code.replace("FOLDER", f"pathlib.Path({str(tmp_path)!r})")])


@two_cores
@pytest.mark.parametrize("kill", [False, True])
def test_files_are_those_of_one_process(tmp_path, kill):
    """Catches another look or layout beside the program, and figures that a killed helper owed."""
    two, one = tmp_path / "two", tmp_path / "one"
    two.mkdir()
    done = run(two, f"t.save_figures(FOLDER, {kill})")
    assert (done.returncode, done.stderr) == (0, "")
    with looking(LOOK):
        for name in ("one", "two"):
            saving.save(drawn(), one, name)
    for path in one.iterdir():
        assert (two / path.name).read_bytes() == path.read_bytes(), path.name
    where = {path.stem: path.read_text() for path in two.glob("*.txt")}
    beside_it = {name for name, process in where.items() if process != where["program"]}
    assert beside_it == ({"first"} if kill else {"first", "last"})


def test_the_layout_without_an_svg(tmp_path):
    """Catches a layout that the page's text settles, or that of the PDF, by the number of cores."""
    assert run(tmp_path, "t.save_figures(FOLDER, False, t.WITHOUT_SVG)").returncode == 0
    with looking(WITHOUT_SVG):
        saving.save(drawn(), tmp_path / "one", "two")
    with looking(LOOK):
        saving.save(drawn(), tmp_path / "whole", "two")
    expected = (tmp_path / "whole" / "two.pdf").read_bytes()
    for folder in (tmp_path, tmp_path / "one"):
        assert (folder / "two.pdf").read_bytes() == expected
        assert not (folder / "two.svg").exists()


@two_cores
def test_many_jobs(tmp_path):
    """Catches two processes that wait for one another, and finished jobs that are kept."""
    code = (
        "with t.second_process.writing():\n"
        "    for _ in range(1000):\n"
        "        t.second_process.later(t.log, FOLDER, 'x' * 100)\n"
        "    helper = t.second_process._HELPER.get()\n"
        "assert not helper._owed\n"
        "assert helper._counted == 1000\n"
    )
    done = run(tmp_path, code)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_is_the_programs(tmp_path):
    """Catches a file that could not be written and of which nobody hears."""
    code = (
        "with t.second_process.writing():\n"
        "    t.second_process.later(t.log, FOLDER / 'absent', 'name')\n"
    )
    done = run(tmp_path, code + "print('unreached')")
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
    assert "unreached" not in done.stdout


def test_the_end_of_the_program_ends_the_helper(tmp_path):
    """Catches a process that waits for jobs of a program that was killed."""
    code = (
        "import os, signal\n"
        "with t.second_process.writing():\n"
        "    t.second_process.later(t.log, FOLDER, 'helper')\n"
        "    while not any(path.read_text() for path in FOLDER.glob('helper.txt')): pass\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run(tmp_path, code).returncode == -signal.SIGKILL
    helper = pathlib.Path("/proc") / (tmp_path / "helper.txt").read_text()
    for _ in range(100):
        if not helper.exists() or "Z" in (helper / "stat").read_text().split()[2]:
            break
        signal.sigtimedwait([], 0.05)
    else:
        pytest.fail(f"{helper} is still there")


def test_a_figure_that_cannot_be_handed_over(tmp_path):
    """Catches a report that ends in a traceback over the labels of bars."""
    done = run(tmp_path, "t.save_bars(FOLDER)")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bars.pdf").stat().st_size > 1000
