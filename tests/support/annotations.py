"""Annotations checked at every call, each argument once.

`jaxtyping.jaxtyped` looks at every argument twice, for the arguments and for the result, and
writes and compiles the check of a nested function anew whenever the outer one is called: a
seventh of the tests' time. Here a check is compiled once for each place in the source.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import beartype
import jaxtyping
from jaxtyping._decorator import _destring_annotation

# An int is a float here, as PEP 484 has it.
CONFIG = beartype.BeartypeConf(is_pep484_tower=True, violation_type=jaxtyping.TypeCheckError)

_OTHERWISE = inspect.CO_GENERATOR | inspect.CO_VARKEYWORDS
"""Functions that jaxtyping checks itself: few, and no nested ones."""

_jaxtyped = jaxtyping.jaxtyped
_checks: dict[Any, Callable] = {}


def install() -> None:
    """Check the package from here on; it must not be imported yet."""
    if "mecheval_jax" in sys.modules:
        raise RuntimeError("mecheval_jax is imported: annotations of its modules go unchecked")
    jaxtyping.install_import_hook("mecheval_jax", "beartype.beartype")
    jaxtyping.jaxtyped = checked


def checked(function: Any = None, *, typechecker: Any) -> Any:
    """What the import hook calls for every function and class of the package."""
    if function is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isclass(function) or function.__code__.co_flags & _OTHERWISE:
        return _jaxtyped(function, typechecker=beartype.beartype(conf=CONFIG))
    place = (function.__code__, *function.__annotations__.items())
    check = _checks.get(place)
    if check is None:
        check = _checks[place] = _check_of(function)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with _jaxtyped("context"):
            return check(*arguments, **named, _function=function)

    return call


def _check_of(function: Callable) -> Callable:
    """The check of a signature around whatever function of that signature it is given."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        return named.pop("_function")(*arguments, **named)

    # Names that the module does not have, such as those for type checkers alone, are not checked.
    call.__annotations__ = {
        name: _destring_annotation(hint, function.__globals__)
        for name, hint in function.__annotations__.items()
    }
    return beartype.beartype(conf=CONFIG)(call)
