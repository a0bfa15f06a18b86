"""Groups of a sweep as jobs: processes of this machine, or an array job of Slurm.

Nothing here knows how a group is trained. One process submits a job for each group through
submitit (optional), waits, and reports how each ended.
"""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax

from mecheval_jax.command_line import REQUEUE
from mecheval_jax.errors import Stopped, UserError, choose
from mecheval_jax.experiment import field_value_of_text
from mecheval_jax.store.status import without_flags

LAUNCHERS = ("none", "local", "slurm")
"""Who runs groups: this process, processes of this machine, or an array job of Slurm."""

TIMEOUT_MINUTES = {"local": 365 * 24 * 60, "slurm": 24 * 60}
"""Time limit of a job whose ``timeout_min`` is not given; submitit's own are minutes."""

LAUNCHER_FLAGS = ("launcher", "slurm", "shard", "groups", "jobs_at_once", "retries")
"""Flags that a job's command does not repeat."""

MAX_REQUEUES = 1000
"""How often Slurm may end a job for its time and submitit requeue it; each time it resumes."""

POLL_SECONDS = 0.5


@contextlib.contextmanager
def _handlers(wanted: Mapping[signal.Signals, Any]) -> Iterator[dict[signal.Signals, Any]]:
    """Where signals have other handlers; the handlers before, which come back at the end."""
    before = {number: signal.signal(number, one) for number, one in wanted.items()}
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Command:
    """A command as a job of submitit, which asks for it by calling.

    Before Slurm ends a job for its time, submitit calls `checkpoint`: the program is told to save
    (SIGTERM) and waited for, and the job requeued to run the same command, which resumes. So it is
    where Slurm told the program itself, and it ends with the code of `REQUEUE`.

    Args:
        arguments: Program and its arguments.
    """

    def __init__(self, arguments: Sequence[str]):
        self._arguments = list(arguments)
        self._process: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Run the command and return its exit code; what ends this job tells it to save and end.

        A scheduler's or a launcher's SIGTERM, a terminal's SIGINT or SIGHUP: the program gets one
        SIGTERM and is waited for.
        """
        told: list[int] = []

        def tell(number: int, frame: Any = None) -> None:
            if not told:
                self._tell_to_save()
            told.append(number)

        # Slurm warns every process of the job, and children inherit that a signal is ignored.
        # A shell that starts a program in the background lets it ignore SIGINT.
        wanted = {signal.SIGUSR2: signal.SIG_IGN, signal.SIGTERM: tell, signal.SIGINT: tell}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            wanted[signal.SIGHUP] = tell  # the terminal was closed
        with _handlers(wanted) as before:
            # In a session of its own a terminal's SIGINT comes to this job alone, which tells it.
            self._process = subprocess.Popen(self._arguments, start_new_session=True)
            signal.signal(signal.SIGUSR2, before[signal.SIGUSR2])
            if told:  # while the process was made
                self._tell_to_save()
            code = self._process.wait()
        if code == REQUEUE and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
            signal.raise_signal(signal.SIGUSR2)  # submitit then does as at the end of the time
        return code

    def checkpoint(self) -> Any:
        """What to submit again, once the program has saved."""
        from submitit.helpers import DelayedSubmission

        if process := self._tell_to_save():
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Command(self._arguments))

    def _tell_to_save(self) -> subprocess.Popen | None:
        """Send SIGTERM to the program, if it runs, and return its process.

        Not by Popen's methods: signals' handlers come here, while those hold their lock.
        """
        if self._process is None or self._process.returncode is not None:
            return None
        os.kill(self._process.pid, signal.SIGTERM)
        return self._process


@dataclasses.dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        name: Name of its group.
        job: Id that the scheduler, or this machine, knew it by.
        code: Exit code of the command, negative for a signal; None if the job left none.
        log: File of what it said.
    """

    name: str
    job: str
    code: int | None
    log: pathlib.Path

    @property
    def state(self) -> str:
        """One of ``finished``, ``preempted`` (the same command resumes) and ``failed``."""
        return {0: "finished", REQUEUE: "preempted"}.get(self.code, "failed")

    def __str__(self) -> str:
        if self.state == "finished":
            return f"{self.name}: finished (job {self.job})"
        code = "no exit code" if self.code is None else f"exit code {self.code}"
        hint = "the same command goes on" if self.state == "preempted" else f"see {self.log}"
        return f"{self.name}: {self.state} (job {self.job}, {code}); {hint}"


@dataclasses.dataclass(frozen=True)
class Jobs:
    """How groups become jobs, or that they are run in this process.

    Attributes:
        launcher: One of `LAUNCHERS`.
        arguments: Arguments of this program; jobs get them but for those in `LAUNCHER_FLAGS`.
        slurm: Parameters for `parse_parameters`.
        at_once: Number of jobs beside each other on this machine; 1 if None.
        retries: How often a group that fails, but for a user's mistake, is run again.

    Raises:
        UserError: If the launcher is unknown or lacks what it needs, or if what is said of jobs is
            wrong or has no launcher that reads it.
    """

    launcher: str = "none"
    arguments: tuple[str, ...] = ()
    slurm: str = ""
    at_once: int | None = None
    retries: int = 1

    def __post_init__(self):
        launcher = choose("launcher", self.launcher, LAUNCHERS)
        if self.slurm and launcher == "none":
            raise UserError(
                f"--slurm={self.slurm} is of jobs, and none are launched: give --launcher=slurm"
            )
        if self.at_once is not None and launcher != "local":
            raise UserError(
                f"--jobs_at_once={self.at_once} is of --launcher=local, and the launcher is "
                f"{launcher!r}; for Slurm give --slurm=array_parallelism=N"
            )
        if launcher == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise UserError("launcher 'slurm' needs sbatch and srun: this machine is of no Slurm")
        if launcher != "none" and importlib.util.find_spec("submitit") is None:
            raise UserError(
                f"launcher {launcher!r} needs the package submitit: pip install submitit "
                "(the extra 'slurm')"
            )
        if launcher != "none":
            parse_parameters(self.slurm)

    def leave_accelerators(self) -> None:
        """Keep this process off accelerators where they are for the jobs to take."""
        if self.launcher != "none":
            jax.config.update("jax_platforms", "cpu")

    def command(self, group: str) -> list[str]:
        """The command that runs one group."""
        arguments = without_flags(self.arguments, LAUNCHER_FLAGS)
        own = f"--groups={group}", "--retries=0"
        return [sys.executable, "-m", "launch.sweep", *arguments, *own]


def parse_parameters(text: str) -> dict[str, Any]:
    """What Slurm is asked for: ``partition=gpu,gpus_per_node=8,timeout_min=720``.

    Names are submitit's (its shared ones, and Slurm's own as ``sbatch`` has them). On this
    machine the shared ones alone count.

    Raises:
        UserError: If there is no such name, or no value.
    """
    from submitit import AutoExecutor
    from submitit.slurm.slurm import SlurmExecutor

    shared = AutoExecutor._typed_parameters()
    valid = sorted(shared.keys() | SlurmExecutor._valid_parameters())
    parameters: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        choose("parameter of --slurm", name, valid)
        if not value:
            raise UserError(f"--slurm: {name} has no value: give {name}=VALUE")
        kind = bool if value in ("True", "False") else shared.get(name, str)
        typed = field_value_of_text(f"--slurm: {name}", value, kind)
        parameters[name if name in shared else f"slurm_{name}"] = typed
    return parameters


def launch_jobs(
    commands: Mapping[str, Sequence[str]],
    jobs: Jobs,
    folder: pathlib.Path,
    say: Callable[[str], None],
    stop: Callable[[], bool] = lambda: False,
) -> list[JobEnd]:
    """Run each command as a job, wait for all, and report how each ends.

    On Slurm they are one array job. On this machine, where all would share its devices, they run
    one after the other, or some beside each other.

    Args:
        commands: Commands, by the name of the group.
        jobs: How they are launched: by ``local`` or ``slurm``.
        folder: Folder of the jobs' scripts and logs.
        say: Function that takes one line for each job's end.
        stop: Function that says whether to wait no longer, asked again and again. Jobs of this
            machine, and only they, are then told to save and end, as by any other interruption.

    Raises:
        UserError: If submitit is not installed, or Slurm does not take the jobs.
        Stopped: If `stop` said so.
    """
    launcher, parameters = jobs.launcher, parse_parameters(jobs.slurm)
    import submitit

    executor = submitit.AutoExecutor(
        folder=folder, cluster=launcher, slurm_max_num_timeout=MAX_REQUEUES
    )
    executor.update_parameters(
        **{"timeout_min": TIMEOUT_MINUTES[launcher], "name": "mecheval_jax"} | parameters
    )
    if launcher == "local" and "gpus_per_node" not in parameters:
        commands = {name: [*_same_gpus(), *command] for name, command in commands.items()}

    # Jobs are started as there is room, and looked at until all have ended.
    waiting, running, ended = list(commands.items()), {}, []
    try:
        while waiting or running:
            if stop():
                raise Stopped
            room = len(waiting) if launcher == "slurm" else (jobs.at_once or 1) - len(running)
            batch, waiting = waiting[:room], waiting[room:]
            started = _submit(executor, dict(batch)) if batch else {}
            running |= started
            for name, job in started.items():
                say(f"{name}: job {job.job_id}, log {job.paths.stdout}")
            for name, job in list(running.items()):
                if job.done():
                    del running[name]
                    ended.append(_end(name, job))
                    say(str(ended[-1]))
            time.sleep(POLL_SECONDS)
    except BaseException:  # whatever ends this program, its jobs are told or named
        ids = [str(job.job_id) for job in running.values()]
        if launcher == "slurm" and ids:
            say(f"the jobs go on without this program; to end them: scancel {' '.join(ids)}")
        elif ids:
            say(f"waiting until the jobs have saved (processes {', '.join(ids)})")
            _end_local(running.values())
        raise
    return ended


def _end_local(jobs: Iterable[Any]) -> None:
    """Tell the jobs of this machine to save and end, and wait until they have.

    Not `job.cancel`: its SIGINT means nothing to what runs in the background of a shell, and
    leaves a program one second to save.
    """
    left = list(jobs)
    while left := [job for job in left if not job.done()]:
        for job in left:
            # Again and again: a job that only begins may not listen yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)
        time.sleep(POLL_SECONDS)


def _same_gpus() -> list[str]:
    """What stands before a command so that it sees this process's GPUs; submitit hides them."""
    name = "CUDA_VISIBLE_DEVICES"
    return ["env", f"{name}={os.environ[name]}"] if name in os.environ else ["env", "-u", name]


def _submit(executor: Any, commands: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Submit commands, together as one array where there are arrays.

    submitit's own processes ignore SIGINT for good: a terminal sends it to all, and they would end
    their jobs within a second.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    main = threading.current_thread() is threading.main_thread()  # others cannot set handlers
    jobs = []
    try:
        with _handlers({signal.SIGINT: signal.SIG_IGN} if main else {}), executor.batch():
            jobs += [executor.submit(Command(command)) for command in commands.values()]
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"the scheduler did not take the jobs: {text}") from error
    return dict(zip(commands, jobs, strict=True))


def _end(name: str, job: Any) -> JobEnd:
    from submitit.core.utils import UncompletedJobError

    try:
        code = next((code for code in job.results() if code != 0), 0)  # of each of its tasks
    except UncompletedJobError:  # killed, or out of time or memory: its log tells
        code = None
    return JobEnd(name, str(job.job_id), code, job.paths.stdout)
