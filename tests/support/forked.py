"""Programs that start where their imports are done, in a tenth of the time.

For what a program says and does; that it starts at all, `tests.support.small.start` shows.
"""

import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping

from tests.support.compilation import ROOT, trace_quickly

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "mecheval_jax.evaluation.analyses",
        "mecheval_jax.reporting.html.report",
        "mecheval_jax.selection.run",
        "mecheval_jax.study.run",
    ]
)

_PYTHON = f"""#!{sys.executable} -IS
import os, sys
from multiprocessing.connection import Client
with Client({{address!r}}) as test:
    test.send((sys.argv[1:], os.getcwd(), dict(os.environ)))
    code, said, complained = test.recv()
sys.stdout.write(said)
sys.stderr.write(complained)
sys.exit(code)
"""


def start(
    arguments: list[str],
    folder: str | os.PathLike = ROOT,
    environment: Mapping[str, str] | None = None,
    kill_after: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """What ``python -m module ...`` or ``python -c code`` does, in a fork of its own.

    Args:
        arguments: of Python.
        folder: where it starts.
        environment: its variables; those of this process if None.
        kill_after: seconds after which it gets SIGKILL; None if it is to come to its end.
    """
    option, *rest = arguments
    assert option in ("-m", "-c")
    environment = dict(os.environ if environment is None else environment)
    with tempfile.TemporaryDirectory() as outputs:
        said = [pathlib.Path(outputs) / name for name in ("stdout", "stderr")]
        for path in said:  # one that is killed as it starts has said nothing
            path.touch()
        process = _SERVER.Process(target=_run, args=(option, rest, folder, environment, said))
        process.start()
        process.join(600 if kill_after is None else kill_after)
        if kill_after is not None:
            process.kill()
            process.join()
        assert process.exitcode is not None, f"{arguments} does not end"
        stdout, stderr = (path.read_text() for path in said)
    return subprocess.CompletedProcess(arguments, process.exitcode, stdout, stderr)


@contextlib.contextmanager
def interpreter(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder for a shell's ``PATH`` whose ``python`` is `start`, called from this process."""
    with multiprocessing.connection.Listener(str(folder / "python.socket")) as listener:
        program = folder / "python"
        program.write_text(_PYTHON.format(address=listener.address))
        program.chmod(0o755)

        def serve() -> None:
            while True:
                with listener.accept() as shell:
                    request = shell.recv()
                    if request is None:
                        return
                    try:
                        done = start(*request)
                        answer = done.returncode, done.stdout, done.stderr
                    except Exception as error:  # the next program is started all the same
                        answer = 1, "", f"{error}\n"
                    with contextlib.suppress(OSError):  # a shell that was ended meanwhile
                        shell.send(answer)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield folder
        with multiprocessing.connection.Client(listener.address) as last:
            last.send(None)
        server.join()


def _run(
    option: str,
    arguments: list[str],
    folder: str | os.PathLike,
    environment: Mapping[str, str],
    said: list[pathlib.Path],
) -> None:
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    gc.freeze()  # what the server imported stays
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    trace_quickly()
    program, *sys.argv[1:] = arguments
    if option == "-m":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
