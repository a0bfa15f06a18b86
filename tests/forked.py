"""Programs that start where their imports are done, in a tenth of the time.

For what a program says and does; that it starts at all, `tests.small.start` shows.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

from tests.compilation import ROOT

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["mecheval_jax.runs", "mecheval_jax.reporting.report"])


def start(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """What `tests.small.start` does for ``-m module ...``, in a fork of a process of its own."""
    option, module, *rest = arguments
    assert option == "-m"
    with tempfile.TemporaryDirectory() as folder:
        said = [pathlib.Path(folder) / name for name in ("stdout", "stderr")]
        process = _SERVER.Process(target=_run, args=(module, rest, said))
        process.start()
        process.join(600)
        assert process.exitcode is not None, f"{arguments} does not end"
        stdout, stderr = (path.read_text() for path in said)
    return subprocess.CompletedProcess(arguments, process.exitcode, stdout, stderr)


def _run(module: str, arguments: list[str], said: list[pathlib.Path]) -> None:
    os.chdir(ROOT)
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
