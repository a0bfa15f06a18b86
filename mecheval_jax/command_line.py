"""How every program starts: flags, the compilation cache, one line for a user's mistake."""

import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from mecheval_jax.errors import UserError

USAGE_ERROR = 2
"""Exit code of a user's mistake."""


def run(main: Callable[[], None]) -> None:
    """Parse the flags and run `main`; a UserError is one line and exit code 2."""
    app.run(lambda arguments: _guarded(main, arguments), flags_parser=_parse)


def _parse(arguments: Sequence[str]) -> Sequence[str]:
    try:
        return flags.FLAGS(arguments)
    # A config file runs inside the parser: what it raises about a wrong field or value
    # is about the user's flags.
    except (flags.Error, UserError, AttributeError, KeyError, TypeError, ValueError, OSError) as e:
        _fail(e)


def _guarded(main: Callable[[], None], arguments: Sequence[str]) -> None:
    if len(arguments) > 1:
        _fail(f"unexpected argument {arguments[1]!r}: all settings are flags, --name=value")
    logging.set_verbosity(logging.WARNING)  # the libraries' own talk drowns ours
    set_up_compilation_cache()
    try:
        main()
    except UserError as error:
        _fail(error)
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        sys.exit(130)


def _fail(error: object) -> None:
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    print(f"error: {message}", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def cache_folder() -> pathlib.Path:
    """The user's folder for compiled programs (``MECHEVAL_JAX_CACHE`` overrides it)."""
    override = os.environ.get("MECHEVAL_JAX_CACHE")
    if override:
        return pathlib.Path(override)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "mecheval_jax"


def set_up_compilation_cache() -> None:
    """Keep compiled programs between runs of a program."""
    import jax

    folder = cache_folder() / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written costs only time
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
