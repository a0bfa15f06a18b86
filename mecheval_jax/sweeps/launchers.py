"""Groups of a sweep as jobs: processes of this machine, or an array job of Slurm.

Nothing here knows how a group is trained. One process submits a job for each group through
submitit (an optional package), waits, and reports how each job ended.
"""

import contextlib
import dataclasses
import importlib.util
import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any

import jax

from mecheval_jax import machine, programs
from mecheval_jax.command_line import ERROR, REQUEUE
from mecheval_jax.errors import USAGE_ERROR, Stopped, UserError, choose, one_line
from mecheval_jax.fields import field_value_of_text

LAUNCHERS = ("none", "local", "slurm")
"""Where groups run: in this process, in processes of this machine, or as an array job of Slurm."""

TIMEOUT_MINUTES = {"local": 365 * 24 * 60, "slurm": 24 * 60}
"""Time limit, in minutes, of a job whose ``timeout_min`` is not given; submitit's own is short."""

LAUNCHER_FLAGS = ("launcher", "slurm", "shard", "groups", "jobs_at_once", "retries")
"""Flags of this program that the command of a job does not repeat."""

KINDS = dict.fromkeys(("array_parallelism", "ntasks_per_node", "signal_delay_s", "time"), int)
KINDS |= {"use_srun": bool}
"""Types of Slurm's own parameters that submitit computes with; others are written as given."""

LINES = ("setup", "teardown", "srun_args")
"""Those that are lists, of which a text gives one entry."""

MAPPING = "additional_parameters"
"""The one that is a mapping, which a text cannot give."""

MAX_REQUEUES = 1000
"""How often submitit may requeue a job that Slurm ended at its time limit; each time it resumes."""

POLL_SECONDS = 0.5


@contextlib.contextmanager
def _handlers(wanted: Mapping[signal.Signals, Any]) -> Iterator[dict[signal.Signals, Any]]:
    """Other handlers of signals while the context lasts; gives the handlers from before."""
    before = {number: signal.signal(number, one) for number, one in wanted.items()}
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Command:
    """A command as a job of submitit, which runs it by a call.

    Before Slurm ends a job at its time limit, submitit calls `checkpoint`: the program is told to
    save (SIGTERM) and waited for, and the job is requeued with the same command, which resumes. The
    same happens if Slurm told the program directly, and it ends with the exit code `REQUEUE`.

    Args:
        arguments: Program and its arguments.
        cores: Cores on which it may run; if None, those of whoever starts it.
    """

    def __init__(self, arguments: Sequence[str], cores: Collection[int] | None = None):
        self._arguments, self.cores = list(arguments), cores
        self._process: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Run the command and return its exit code; signals to this job tell the command to end.

        On SIGTERM from a scheduler or launcher, or on SIGINT or SIGHUP from a terminal, the command
        gets one SIGTERM, saves, and is waited for.
        """
        if self.cores is not None:
            os.sched_setaffinity(0, self.cores)  # a program starts on the cores of its parent
        told: list[int] = []

        def tell(number: int, frame: Any = None) -> None:
            if not told:
                self._tell_to_save()
            told.append(number)

        # Slurm sends its warning to every process of the job; children inherit that it is ignored.
        # A shell that starts a program in the background makes it ignore SIGINT.
        wanted = {signal.SIGUSR2: signal.SIG_IGN, signal.SIGTERM: tell, signal.SIGINT: tell}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            wanted[signal.SIGHUP] = tell  # the terminal was closed
        with _handlers(wanted) as before:
            # In its own session the command gets no SIGINT of the terminal; this job passes it on.
            self._process = subprocess.Popen(self._arguments, start_new_session=True)
            signal.signal(signal.SIGUSR2, before[signal.SIGUSR2])
            if told:  # the signal came while the process was being started
                self._tell_to_save()
            code = self._process.wait()
        if code == REQUEUE and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
            signal.raise_signal(signal.SIGUSR2)  # submitit then acts as at the time limit
        return code

    def checkpoint(self) -> Any:
        """Tell the program to save, wait until it has, and return the job that resumes it."""
        from submitit.helpers import DelayedSubmission

        if process := self._tell_to_save():
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Command(self._arguments, self.cores))

    def _tell_to_save(self) -> subprocess.Popen | None:
        """Send SIGTERM to the program, if it runs, and return its process.

        Popen's own methods are avoided: a signal handler may interrupt them while they hold a lock.
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
        job: Id of the job, given by the scheduler or by this machine.
        code: Exit code of the command, negative for a signal; None if the job left none.
        log: Path of the job's output.
    """

    name: str
    job: str
    code: int | None
    log: pathlib.Path

    @property
    def state(self) -> str:
        """One of ``finished``, ``preempted`` (the same command resumes) and ``failed``."""
        return {0: "finished", REQUEUE: "preempted"}.get(self.code, "failed")

    @property
    def error(self) -> Exception:
        """The error with which it failed: a user's mistake as its own last line says it."""
        if self.code != USAGE_ERROR:
            return RuntimeError(f"see {self.log}")
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
        told = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        return UserError(f"{told[-1]} ({self.log})" if told else f"see {self.log}")

    def __str__(self) -> str:
        if self.state == "finished":
            return f"{self.name}: finished (job {self.job})"
        code = "no exit code" if self.code is None else f"exit code {self.code}"
        hint = "the same command goes on" if self.state == "preempted" else f"see {self.log}"
        return f"{self.name}: {self.state} (job {self.job}, {code}); {hint}"


def check_retries(retries: int) -> None:
    """Raise UserError if groups cannot be run again so often."""
    if retries < 0:
        raise UserError(f"retries are {retries}: at least 0")


@dataclasses.dataclass(frozen=True)
class Jobs:
    """How groups are run: as jobs, or in this process.

    Attributes:
        launcher: One of `LAUNCHERS`.
        arguments: Arguments of this program; jobs get all but those in `LAUNCHER_FLAGS`.
        slurm: Text with the parameters of Slurm, as `parse_parameters` reads it.
        at_once: Number of jobs that run at the same time on this machine; 1 if None.
        retries: How often a group is run again after a failure that is not the user's mistake.

    Raises:
        UserError: If the launcher is unknown or lacks something it needs, or if an option of jobs
            is wrong or is of another launcher.
    """

    launcher: str = "none"
    arguments: tuple[str, ...] = ()
    slurm: str = ""
    at_once: int | None = None
    retries: int = 1

    def __post_init__(self):
        launcher = choose("launcher", self.launcher, LAUNCHERS)
        check_retries(self.retries)
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
        """Keep this process off accelerators that the jobs on this machine will use."""
        if self.launcher != "none":
            jax.config.update("jax_platforms", "cpu")

    def command(self, group: str) -> list[str]:
        """The command that runs one group."""
        arguments = programs.without_flags(self.arguments, LAUNCHER_FLAGS)
        own = f"--groups={group}", "--retries=0"
        return [*programs.child_command("sweep"), *arguments, *own]


def parse_parameters(text: str) -> dict[str, Any]:
    """The parameters of Slurm in a text such as ``partition=gpu,gpus_per_node=8,timeout_min=720``.

    Names are submitit's shared ones, or Slurm's own as ``sbatch`` has them. For jobs on this
    machine only the shared ones have an effect.

    Raises:
        UserError: If a name is unknown or has no value, or the value is of another type.
    """
    from submitit import AutoExecutor
    from submitit.slurm.slurm import SlurmExecutor

    shared = AutoExecutor._typed_parameters()
    valid = sorted((shared.keys() | SlurmExecutor._valid_parameters()) - {MAPPING})
    kinds = KINDS | shared
    parameters: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        choose("parameter of --slurm", name, valid)
        if not value:
            raise UserError(f"--slurm: {name} has no value: give {name}=VALUE")
        kind = kinds.get(name, bool if value in ("True", "False") else str)
        typed = field_value_of_text(f"--slurm: {name}", value, kind)
        typed = [typed] if name in LINES else typed
        parameters[name if name in shared else f"slurm_{name}"] = typed
    return parameters


def launch_jobs(
    commands: Iterable[tuple[str, Sequence[str]]],
    jobs: Jobs,
    folder: pathlib.Path,
    say: Callable[[str], None],
    stop: Callable[[], bool] = lambda: False,
) -> Generator[JobEnd, None, None]:
    """Run commands as jobs; yields how each ended, as soon as it has.

    On Slurm they are one array job. On this machine, whose devices they would share, they run one
    after another, or some at the same time, each on its share of the cores. Whoever closes this
    generator before its end tells the jobs on this machine to save and end; jobs on Slurm go on.

    Args:
        commands: Names of groups with their commands. On this machine each is taken when its job
            can begin, on Slurm all are taken at once.
        jobs: How the jobs are launched: by ``local`` or ``slurm``.
        folder: Folder of the scripts and logs of the jobs.
        say: Function that takes one line for each job that begins or ends.
        stop: Function that is asked repeatedly whether to stop waiting. Jobs on this machine are
            then told to save and end, as on any other interruption.

    Raises:
        UserError: If submitit is not installed, or Slurm refuses the jobs.
        Stopped: If `stop` asked for it.
    """
    parameters = parse_parameters(jobs.slurm)
    executor = _executor(jobs.launcher, parameters, folder)
    on_slurm = jobs.launcher == "slurm"
    prefix = [] if on_slurm or "gpus_per_node" in parameters else _same_gpus()
    # On this machine a place for a job is a share of the cores. Slurm has one for each job, and
    # chooses the cores itself.
    waiting = iter(list(commands) if on_slurm else commands)
    places = deque(machine.shares_of_cores(jobs.at_once or 1))
    running: dict[str, tuple[Any, Any]] = {}
    try:
        while True:
            if stop():
                raise Stopped
            batch = {
                name: Command([*prefix, *command], None if on_slurm else places.popleft())
                for name, command in itertools.islice(waiting, None if on_slurm else len(places))
            }
            for name, job in (_submit(executor, batch) if batch else {}).items():
                running[name] = job, batch[name].cores
                say(f"{name}: job {job.job_id}, log {job.paths.stdout}")
            if not running:
                return
            for name in [name for name, (job, _) in running.items() if job.done()]:
                job, cores = running.pop(name)
                places.append(cores)
                end = _end(name, job)
                say(str(end))
                yield end
            time.sleep(POLL_SECONDS)
    except BaseException:  # however this ends, local jobs are told to save, Slurm's are named
        left = [job for job, _ in running.values()]
        ids = [str(job.job_id) for job in left]
        if on_slurm and ids:
            say(f"the jobs go on without this program; to end them: scancel {' '.join(ids)}")
        elif ids:
            say(f"waiting until the jobs have saved (processes {', '.join(ids)})")
            _end_local(left)
        raise


def _executor(launcher: str, parameters: dict[str, Any], folder: pathlib.Path) -> Any:
    """What starts jobs, with its parameters."""
    import submitit

    executor = submitit.AutoExecutor(
        folder=folder, cluster=launcher, slurm_max_num_timeout=MAX_REQUEUES
    )
    # Programs say everything on stderr, and the log that is named has to hold it.
    defaults = {"name": "mecheval_jax", "stderr_to_stdout": True}
    defaults["timeout_min"] = TIMEOUT_MINUTES[launcher]
    executor.update_parameters(**defaults | parameters)
    return executor


def _end_local(jobs: Iterable[Any]) -> None:
    """Tell the jobs on this machine to save and end, and wait until they have.

    `job.cancel` does not serve: a program in the background of a shell ignores its SIGINT, and any
    program gets only one second to save.
    """
    left = list(jobs)
    while left := [job for job in left if not job.done()]:
        for job in left:
            # Repeated, because a job that has just begun may not listen yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)
        time.sleep(POLL_SECONDS)


def _same_gpus() -> list[str]:
    """Command prefix that shows this process's GPUs to a job; submitit hides them otherwise."""
    name = "CUDA_VISIBLE_DEVICES"
    return ["env", f"{name}={os.environ[name]}"] if name in os.environ else ["env", "-u", name]


def _submit(executor: Any, commands: Mapping[str, Command]) -> dict[str, Any]:
    """Submit commands, as one array if the scheduler has arrays.

    submitit's own processes ignore SIGINT from here on: a terminal sends it to all processes, and
    they would end their jobs within a second.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    main = threading.current_thread() is threading.main_thread()  # others cannot set handlers
    jobs = []
    try:
        with _handlers({signal.SIGINT: signal.SIG_IGN} if main else {}), executor.batch():
            jobs += [executor.submit(command) for command in commands.values()]
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise UserError(f"the scheduler did not take the jobs: {one_line(error)}") from error
    return dict(zip(commands, jobs, strict=True))


def _end(name: str, job: Any) -> JobEnd:
    from submitit.core.utils import UncompletedJobError

    try:
        code = next((code for code in job.results() if code != 0), 0)  # of each of its tasks
    except UncompletedJobError:  # killed, or out of time or memory: see its log
        code = None
    return JobEnd(name, str(job.job_id), code, job.paths.stdout)
