"""Programs called in this process, a hundred in the time in which one would start.

For flags, configs and files that a program refuses before it computes anything.
"""

import contextlib
import io
import runpy
import signal
import sys
from collections.abc import Iterator
from typing import NamedTuple
from unittest import mock

from absl import flags, logging

from mecheval_jax import command_line
from mecheval_jax.console import CONSOLE

OWN = frozenset(flags.FLAGS)
"""Flags of absl itself."""


class Called(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Where whatever a program changes in its process is put back."""
    argv, term, hook = sys.argv, signal.getsignal(signal.SIGTERM), sys.unraisablehook
    verbosity = logging.get_verbosity()
    try:
        yield
    finally:
        sys.argv, sys.unraisablehook, CONSOLE.file = argv, hook, None
        signal.signal(signal.SIGTERM, term)
        logging.set_verbosity(verbosity)
        _forget_flags()


def _forget_flags() -> None:
    flags.FLAGS.unparse_flags()
    for name in set(flags.FLAGS) - OWN:
        with contextlib.suppress(AttributeError):  # gone with another name of the same flag
            delattr(flags.FLAGS, name)


def call(program: str, *arguments: str) -> Called:
    """Run ``launch/PROGRAM.py`` with these arguments; an error that it does not catch is raised."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        _as_before(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(command_line, "set_up_compilation_cache"),
        mock.patch.object(command_line, "_make_cpu_devices"),  # only before jax has begun
    ):
        CONSOLE.file = err
        sys.argv = [f"launch/{program}.py", *arguments]
        _forget_flags()
        try:
            runpy.run_module(f"launch.{program}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Called(code, out.getvalue(), err.getvalue())


def refused(called: Called, *named: str) -> str:
    """The message of a program that has refused: one line, and nothing beside it."""
    lines = [line for line in called.err.splitlines() if line.startswith("error: ")]
    assert called.code == 2, called
    assert len(lines) == 1, called.err
    assert "Traceback" not in called.err
    assert len(called.err) < 3000
    for words in named:
        assert words in called.err, called.err
    return lines[0]
