"""What is wrong with a command line, in one line: flags, and the config file behind one of them."""

import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from types import TracebackType

from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from mecheval_jax import machine
from mecheval_jax.errors import UserError, choose, one_line
from mecheval_jax.programs import CONFIG, WORKDIR

CANNOT_BE_READ = {
    # what Python says of a text -> what the flag takes
    "invalid literal for int()": "a whole number",
    "could not convert string to float": "a number",
    "Error while parsing string": "a tuple as Python writes it",
    "Failed to parse": "a value as Python writes it, texts in quotes",
    "Non-boolean argument": "True or False",
}

IN_CONFIG = "whilst parsing config file"
"""What the flags' library says of an error that the config file has raised."""

TAKES_A_TEXT = 'must be a function of one text, def get_config(arg="")'


def check_values() -> None:
    """Refuse what no flag can mean: nothing where something belongs, and no finite number.

    Fields of a config have bounds of their own, and may well be empty.

    Raises:
        UserError: If a flag has such a value, or is given again where that would lose the first.
    """
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if not flag.present or name.startswith(f"{CONFIG}."):
            continue
        if flag.present > 1 and not isinstance(flag, flags.MultiFlag):
            # Of other single values the last one counts, so that a script may be overruled.
            if name in (CONFIG, WORKDIR):
                raise UserError(f"--{name} is given {flag.present} times: this program takes one")
            if isinstance(flag.value, list):
                raise UserError(
                    f"--{name} is given {flag.present} times: give all values in one, with commas "
                    "between them"
                )
        if name == CONFIG:
            continue
        values = flag.value if isinstance(flag.value, list) else [flag.value]
        if not values or any(isinstance(value, str) and not value.strip() for value in values):
            raise UserError(f"--{name} is empty: give a value ({_help(name)})")
        for value in values:
            if isinstance(value, str) and _is_flag(value):
                raise UserError(_without_value(name, value))
        if any(isinstance(value, float) and not math.isfinite(value) for value in values):
            raise UserError(f"--{name} is {values[0]}: it must be a finite number")


def _is_flag(text: str) -> bool:
    """Whether a text is a flag of this program, which another one took for its value."""
    name = text.removeprefix("--").partition("=")[0]
    return text.startswith("--") and (name in flags.FLAGS or name.startswith(f"{CONFIG}."))


def _without_value(name: str, follows: str) -> str:
    return f"--{name} is given without a value, and {follows} follows: {_help(name)}"


def _taken_for_values(arguments: Sequence[str]) -> Iterator[str]:
    """What to say of each flag that takes the next flag for its value."""
    for argument, follows in itertools.pairwise(arguments):
        name = argument.removeprefix("--")
        takes_one = argument.startswith("--") and name in flags.FLAGS
        if takes_one and not flags.FLAGS[name].boolean and _is_flag(follows):
            yield _without_value(name, follows)


def _help(name: str) -> str:
    """The help of a flag in one line, without what absl adds to that of flags that repeat."""
    return one_line(str(flags.FLAGS[name].help)).partition("; repeat this option")[0]


def explain(error: BaseException, path: str | None, arguments: Sequence[str]) -> object:
    """What to tell the user of an error in parsing; raises what is no mistake of the user's.

    Args:
        error: The error. The config file runs inside the parser, which wraps some of what it
            raises.
        path: The value of ``--config`` as it was typed; None if it was not given.
        arguments: The command line.
    """
    if told := next(_taken_for_values(arguments), None):
        return told
    links = list(_all_links(error))
    mistakes = [link for link in links if isinstance(link, UserError)]
    if mistakes:
        return mistakes[-1]  # the first that was raised
    if isinstance(error, flags.CantOpenFlagFileError):
        return f"--flagfile cannot be read: {links[-1]}"
    of_flag = isinstance(error, flags.IllegalFlagValueError) and IN_CONFIG not in str(error)
    if path is not None and not of_flag and (told := _of_config_file(error, path, arguments)):
        return told
    missing = re.search(r"Flag --(\S+) must have a value other than None", str(error))
    if missing and missing[1] == CONFIG and path is not None:
        return f"config file {path!r}: get_config returned None, and not the config"
    if missing:
        return f"--{missing[1]} is missing: {_help(missing[1])}"
    if isinstance(error, flags.UnrecognizedFlagError):
        return _of_unknown_flag(error, path)
    if isinstance(error, flags.Error) and IN_CONFIG not in str(error):
        return _in_our_words(str(error))
    # A config file may be the first to import jax, which reads its variables then.
    if refused := machine.explain(_raised(error)):
        return refused
    raise error


def _all_links(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those in whose handling it was raised, suppressed or not; the first is last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_config_file(error: BaseException, path: str, arguments: Sequence[str]) -> object | None:
    """What is wrong with the config file; None if nothing is, or it is a fault inside it."""
    raised = _raised(error)
    if isinstance(raised, SyntaxError):
        where = f"{raised.filename}, line {raised.lineno}" if raised.filename else f"{path!r}"
        return f"config file {where}: {raised.msg}"
    if isinstance(raised, ImportError):
        return f"config file {path!r} cannot be imported: {raised}"
    if isinstance(raised, TypeError) and _is_of_the_call(raised.__traceback__):
        return f"config file {path!r}: get_config {TAKES_A_TEXT} ({raised})"
    if "no attribute 'get_config'" in str(error):
        return f"config file {path!r} has no function get_config"
    if "no attribute 'loader'" in str(error):
        return f"config file {path!r} cannot be read: its name must end in .py"
    if isinstance(error, (AttributeError, KeyError)):
        try:
            _check_fields(path, arguments)
        except UserError as unknown_field:
            return unknown_field
    if isinstance(error, OSError):
        cause = error.__cause__ or error
        file = getattr(cause, "filename", None)
        own = file is None or os.path.abspath(file) == os.path.abspath(path.partition(":")[0])
        return f"config file {path!r}{' cannot be read' if own else ''}: {cause}"
    return None


def _raised(error: BaseException) -> BaseException:
    """The error that the flags' libraries have wrapped, or the error itself."""
    return next(link for link in _all_links(error) if not _is_wrapper(link))


def _is_wrapper(link: BaseException) -> bool:
    """Whether the flags' libraries have raised an error in the place of another."""
    inner = link.__cause__ or link.__context__
    return inner is not None and (isinstance(link, flags.Error) or IN_CONFIG in str(link))


def _is_of_the_call(trace: TracebackType | None) -> bool:
    """Whether the call of get_config was wrong, and not something inside of it."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename == config_flags.__file__


def _of_unknown_flag(error: flags.UnrecognizedFlagError, path: str | None) -> str:
    """The error of a flag that no program has, or that is a field of the config."""
    name = error.flagname
    if CONFIG not in flags.FLAGS:
        return str(error)
    if name.startswith(f"{CONFIG}.") and path is None:
        return f"--{CONFIG} is missing, of which --{name} is a field: {_help(CONFIG)}"
    if path is None:
        return str(error)
    config = config_flags.ConfigFileFlagParser(CONFIG).parse(path)
    fields = [
        f"--{CONFIG}.{section}.{name}"
        for section, values in (config.items() if isinstance(config, ConfigDict) else ())
        if isinstance(values, ConfigDict) and name in values
    ]
    if name == "mixer" and fields:  # the argument sets its positions, too
        fields.insert(0, f"--{CONFIG}={path.partition(':')[0]}:{name}=...")
    hint = f" (say {' or '.join(fields)})" if fields else ""
    return f"{error}{hint}"


def _in_our_words(text: str) -> str:
    """The error of a flag whose value cannot be read, with what it takes."""
    if last := re.fullmatch(r"Missing value for flag --(\S+)", text.strip()):
        return f"--{last[1]} is given without a value: {_help(last[1])}"
    for said, takes in CANNOT_BE_READ.items():
        if flag := re.match(rf"flag (--\S+?=.*?): \W*{re.escape(said)}", text, re.DOTALL):
            return f"{flag[1]}: it takes {takes}"
    return text


def _check_fields(path: str, arguments: Sequence[str]) -> None:
    """Raise UserError for a ``--config.section.field`` that the config does not have."""
    config = config_flags.ConfigFileFlagParser(CONFIG).parse(path)
    for argument in arguments:
        name = argument.lstrip("-").partition("=")[0]
        if not (argument.startswith("-") and name.startswith(f"{CONFIG}.")):
            continue
        section, where = config, CONFIG
        for field in name.split(".")[1:]:
            if not isinstance(section, ConfigDict):
                raise UserError(f"{where} has no fields, but {name} was given")
            if not section and field not in section:
                raise UserError(
                    f"{where} has no field {field!r}: set it whole, "
                    f"--{where}=\"{{'{field}': ...}}\""
                )
            choose(f"field of {where}", field, section)
            section, where = section[field], f"{where}.{field}"
