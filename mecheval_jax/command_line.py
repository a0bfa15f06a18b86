"""How every program starts: flags, the compilation cache, one line for a user's mistake."""

import gc
import io
import itertools
import os
import select
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn, TextIO

from absl import app, flags, logging
from ml_collections.config_flags import config_flags

from mecheval_jax import machine, programs, trust, usage_errors
from mecheval_jax.allocator import keep_memory
from mecheval_jax.errors import USAGE_ERROR, Interrupted, Stopped, UserError, one_line
from mecheval_jax.programs import CONFIG, WORKDIR

ERROR = "error: "
"""Start of the line with which a program ends that could not go on."""

REQUEUE = 75
"""Exit code of work that stopped before its end and that the same command resumes (EX_TEMPFAIL)."""

INTERRUPTED = 130
"""Exit code after Ctrl-C where nothing is saved, as shells give it."""

FAULT = 1
"""Exit code of a fault of ours, after its traceback."""

WEEK = 7 * 24 * 3600
"""Seconds; jax's own time limits hold ten of them, not any number."""

MOST_CPU_DEVICES = 1024
"""Beyond it jax takes minutes to begin, and any CPU's cores are used."""

OTHERS = r"(?!mecheval_jax|launch|configs)"
"""Modules that are not this repository's."""


def define_config() -> flags.FlagHolder:
    """The flag ``--config`` of programs that take an experiment."""
    try:
        return config_flags.DEFINE_config_file(CONFIG, None, "Config file.", lock_config=True)
    except flags.Error as error:  # it looks into the command line for the file already here
        _fail(usage_errors.explain(error, None, sys.argv))


def define_writers() -> flags.FlagHolder:
    """The flag ``--writers`` of programs that train."""
    return flags.DEFINE_list(
        "writers",
        [],
        "Where metrics go beside metrics.jsonl and metrics.csv: tensorboard, wandb, mlflow.",
    )


def define_cpu_devices() -> flags.FlagHolder:
    """The flag ``--cpu_devices`` of programs that train members side by side."""
    return flags.DEFINE_integer("cpu_devices", None, "Devices of a CPU; its cores if not given.")


def given(*holders: flags.FlagHolder) -> dict[str, Any]:
    """Values of those flags that are set, by name, as fields of a config take them."""
    return {
        holder.name: tuple(holder.value) if isinstance(holder.value, list) else holder.value
        for holder in holders
        if holder.value is not None
    }


def run(
    main: Callable[[], None],
    *,
    many_hosts: bool = False,
    cpu_devices: flags.FlagHolder | None = None,
) -> None:
    """Parse the flags and run `main`; a UserError is one line and exit code 2.

    Args:
        main: Program that is run.
        many_hosts: Whether it may run as several processes, which flags or a cluster tell of each
            other.
        cpu_devices: Flag whose value is the number of devices into which a CPU is divided; without
            a value they are its cores. A program without the flag has a single device.
    """
    flags.DEFINE_bool(
        trust.FLAG,
        False,
        "Trust folders: import what their configs name as mixers (module:Class), follow links "
        "that lead out of them, read data elsewhere whose content they do not vouch for by a hash.",
    )
    if many_hosts:
        _define_host_flags()
    for flag in flags.FLAGS.flags_by_module_dict()[__name__]:  # --help lists them with its own
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)

    def program() -> None:
        if flags.FLAGS[trust.FLAG].value:
            trust.allow_code()
        if cpu_devices is not None:  # before hosts connect, which sets up the devices
            _make_cpu_devices(cpu_devices.value)
        if many_hosts:
            _join_hosts()
        main()

    keep_memory()
    # Imports and traces make a million objects that stay. By default they are searched for garbage
    # after every 700, for half a second in all. A sweep collects what its groups leave behind.
    gc.set_threshold(300_000, 10, 10)
    shown = sys.modules["__main__"]  # Its docstring is printed by --help.
    shown.__doc__ = programs.in_users_words(shown.__doc__ or "")
    sys.unraisablehook = _unraisable
    if any(option.startswith("error") for option in sys.warnoptions):
        # Ours are errors then; those of other packages are theirs to mend.
        warnings.filterwarnings("default", module=OTHERS)
    # Before and after `Preemption` listens there is nothing to save.
    signal.signal(signal.SIGTERM, _end_at_once)
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter shows its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def guarded(arguments: Sequence[str]) -> None:
        try:
            _guarded(program, arguments)
        finally:
            # The exit code is settled: a SIGTERM during Python's shutdown must not change it.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            gc.freeze()  # the shutdown would search all modules for garbage, twice

    app.run(guarded, flags_parser=_parse)


def _unraisable(report: Any) -> None:
    """Report what nobody can catch, but for what follows a write of orbax that has failed."""
    if "Event loop is closed" not in str(report.exc_value):
        sys.__unraisablehook__(report)


def _make_cpu_devices(count: int | None) -> None:
    """Let jax see a CPU as several devices, unless the environment says how many."""
    import jax

    if count is not None and not 1 <= count <= MOST_CPU_DEVICES:
        raise UserError(f"--cpu_devices is {count}: it must be 1 to {MOST_CPU_DEVICES}")
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if count is not None or not (told or "JAX_NUM_CPU_DEVICES" in os.environ):
        cores = machine.usable_cores()
        try:
            jax.config.update("jax_num_cpu_devices", count or cores)
        except RuntimeError:
            raise UserError(
                f"{config_file()}: it computes with jax as it is read, before devices are set "
                "up; numpy, or a function that is called later, can be used in a config file"
            ) from None


def config_file() -> str:
    """The value of ``--config``: the file, with its arguments."""
    return config_flags.get_config_filename(flags.FLAGS[CONFIG])


def _define_host_flags() -> None:
    flags.DEFINE_string("coordinator", None, "Of several processes: host:port of process 0.")
    flags.DEFINE_integer("processes", None, "How many there are; 1: alone, in a cluster too.")
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
    flags.DEFINE_integer(
        "hosts_timeout", None, "Seconds in which all of them have to come.", 1, WEEK
    )


def _join_hosts() -> None:
    """Meet the other processes."""
    from mecheval_jax.partitioning import multihost

    values = flags.FLAGS
    timeout = values.hosts_timeout or multihost.TIMEOUT
    multihost.initialize(values.coordinator, values.processes, values.process_id, timeout, _stop)


def _parse(arguments: Sequence[str]) -> Sequence[str]:
    path = None
    logging.set_verbosity(logging.FATAL)  # what is wrong is said in our own words
    try:
        arguments = with_names(arguments)
        sys.argv[:] = arguments  # Flags inside the config file read sys.argv, and so do jobs.
        path = _config_path(arguments)
        rest = flags.FLAGS(arguments)
        usage_errors.check_values()
        if CONFIG in flags.FLAGS:
            # A file that cannot be read raises its error only when the config is used.
            hasattr(flags.FLAGS[CONFIG].value, "to_dict")
        return rest
    except SystemExit as end:
        if _asks_for_help(arguments):
            sys.exit(0)
        said = f": {end.code}" if isinstance(end.code, str) else ""
        _fail(f"config file {path!r} ends the program (sys.exit){said}")
    except Exception as error:
        _fail(usage_errors.explain(error, path, arguments))


def _asks_for_help(arguments: Sequence[str]) -> bool:
    names = {argument.lstrip("-").partition("=")[0] for argument in arguments[1:]}
    return bool(names & {"help", "helpfull", "helpshort", "helpxml", "?"})


def with_names(arguments: Sequence[str]) -> list[str]:
    """Arguments of a program with flags for its leading words, and files for names of configs.

    ``train recall:width=64 --workdir=DIR`` becomes ``train --config=configs/recall.py:width=64
    --workdir=DIR``; leading words of a program that takes no config are folders.

    Raises:
        UserError: If a config that is named is unknown.
    """
    program, *rest = arguments
    flag = CONFIG if CONFIG in flags.FLAGS else WORKDIR
    if flag in flags.FLAGS:
        words = list(itertools.takewhile(lambda word: not word.startswith("-"), rest))
        if flag == CONFIG:
            del words[1:]
        rest = [f"--{flag}={word}" for word in words] + rest[len(words) :]
    for i, argument in enumerate(rest):
        name, given, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == CONFIG and CONFIG in flags.FLAGS:
            if not given and rest[i + 1 :]:
                value = rest.pop(i + 1)
            if given or value:
                rest[i] = f"--{CONFIG}={programs.config_file(value)}"
    return [program, *rest]


def _config_path(arguments: Sequence[str]) -> str | None:
    """The value of ``--config`` as it was typed, with the file's arguments."""
    flag = f"--{CONFIG}="  # as `with_names` writes it
    return next((word.removeprefix(flag) for word in arguments if word.startswith(flag)), None)


def _guarded(main: Callable[[], None], arguments: Sequence[str]) -> None:
    if len(arguments) > 1:
        _fail(f"unexpected argument {arguments[1]!r}: all settings are flags, --name=value")
    # The libraries' own talk drowns ours, with tracebacks for errors that they raise as well.
    logging.set_verbosity(logging.FATAL)
    try:
        machine.allow_open_files()
        set_up_compilation_cache()
        main()
        sys.stdout.flush()
    except UserError as error:
        _fail(error)
    except Interrupted as error:
        _stop(error)
    except KeyboardInterrupt as error:
        print("interrupted; the same command resumes", file=sys.stderr)
        _end(INTERRUPTED, error)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _has_lost_its_reader(sys.stdout):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _end(FAULT, error)  # which the reader has asked for: without a word
        refused = machine.explain(error, _workdir())
        if refused is not None:
            _fail(refused)
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        _end(FAULT, error)


def _workdir() -> str | None:
    """The folder that the program was given, the first of several."""
    value = flags.FLAGS[WORKDIR].value if WORKDIR in flags.FLAGS else None
    return value[0] if isinstance(value, list) and value else value


def _fail(error: object) -> NoReturn:
    text = str(error) if isinstance(error, UserError) else one_line(error)  # ours may break lines
    from mecheval_jax.console import printable

    print(f"{ERROR}{printable(text)}", file=sys.stderr)
    _end(USAGE_ERROR, error)


_stopping = threading.Lock()


def _stop(error: Interrupted) -> NoReturn:
    """End what can be resumed; from whichever thread, where another process is gone."""
    if _is_one_of_several():
        _stopping.acquire()  # for good: the first thread that knows says why
    print(error, file=sys.stderr, flush=True)
    _end(REQUEUE, error)


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    # No exception: one raised in the middle of an import, or of the collection of garbage, is
    # turned into another or lost. Files are written whole or not at all.
    os.write(2, f"{Stopped()}\n".encode())
    os._exit(REQUEUE)


def _has_lost_its_reader(stream: TextIO) -> bool:
    """Whether nobody reads any more what goes into a stream, as behind ``| head``."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _is_one_of_several() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _end(code: int, error: object) -> NoReturn:
    """End the program, and see that no other process waits for it."""
    if _is_one_of_several():
        from mecheval_jax.partitioning import multihost

        multihost.exit_all(code, error)
    sys.exit(code)


def set_up_compilation_cache() -> None:
    """Keep compiled programs between runs of a program."""
    import jax

    folder = machine.cache_folder() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written costs only time
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A start compiles some hundred small programs beside the few large ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
