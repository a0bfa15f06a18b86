"""The arguments after a config file's name: ``configs/recall.py:mixer=mamba,width=64``."""

from typing import Any

from mecheval_jax.errors import UserError, choose


def parse(text: str, defaults: dict[str, Any]) -> dict[str, Any]:
    """`defaults` with what `text` changes, each value read as the type of its default.

    Raises:
        UserError: an unknown name, or a value of another type.
    """
    values = dict(defaults)
    for part in filter(None, text.split(",")):
        name, given, value = part.partition("=")
        if not given:
            raise UserError(f"config argument {part!r}: write name=value, separated by commas")
        choose("config argument", name, defaults)
        values[name] = _read(name, value, type(defaults[name]))
    return values


def _read(name: str, value: str, kind: type) -> Any:
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"config argument {name}={value}: True or False")
        return value.lower() == "true"
    try:
        return kind(value)
    except ValueError:
        raise UserError(f"config argument {name}={value}: it takes a {kind.__name__}") from None
