"""Changes that make the members of a sweep from its config, and where they come from.

A change is of a field, ``training.seed``, or of an option of one: ``model.mixer_options.d_conv``.
"""

import contextlib
import copy
import inspect
import pathlib
import runpy
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mecheval_jax.errors import UserError, choose, shown
from mecheval_jax.fields import KINDS, check_section, field_value, field_value_of_text, pythons_own
from mecheval_jax.mixers.options import OPTIONS

Changes = dict[str, Any]
"""Changes of a member to the base config: field (``training.seed``) -> value."""


Sections = dict[str, dict[str, Any]]
"""Sections of a config, each with its fields."""


def changed_sections(sections: Mapping[str, Any], change: Changes) -> tuple[Sections, Changes]:
    """The config with a change, and the change, with values of the types of the fields."""
    changed, typed = {name: copy.copy(values) for name, values in sections.items()}, {}
    # Options that are given all together are what single ones are added to.
    for path, value in sorted(change.items(), key=lambda item: str(item[0]).startswith(OPTIONS)):
        section, field, option = _place(str(path), sections)
        value = pythons_own(value)
        if not option:
            value = field_value(path, value, type(sections[section][field]))
            changed[section][field] = value
        elif isinstance(there := changed[section][field], Mapping):
            changed[section][field] = {**there, option: value}
        else:
            raise UserError(f"{section}.{field} is {shown(there)}: give options by name")
        typed[str(path)] = value
    return changed, typed


def value_at(sections: Mapping[str, Any], path: str) -> Any:
    """The value of a field, or of an option of its mixer: empty if that is the default."""
    section, field, option = _place(path, sections)
    value = sections[section][field]
    return value.get(option, "") if option else value


def _place(path: str, sections: Mapping[str, Any]) -> tuple[str, str, str]:
    """Section and field of ``section.field``, and the option of a mixer that is meant, or "".

    Raises:
        UserError: If the config has no such field.
    """
    section, dotted, field = path.partition(".")
    if not dotted:
        of_sections = ((n, v) for n, v in sections.items() if isinstance(v, Mapping))
        owners = [f"{name}.{path}" for name, fields in of_sections if path in fields]
        if owners:
            raise UserError(f"{path!r} is a field without its section: {' or '.join(owners)}")
    fields = sections[choose("section", section, sections)]
    check_section(section, fields)
    if option := path.removeprefix(OPTIONS) if path.startswith(OPTIONS) else "":
        field = field.partition(".")[0]
    return section, choose(f"field of {section}", field, fields), option


def listed(change: Changes) -> str:
    """A change in words."""
    return ", ".join(f"{field}={value}" for field, value in change.items()) or "no changes"


def changes_of_file(path: str) -> list[Changes]:
    """The changes that ``sweep()`` of a config file returns; the path may have arguments.

    Raises:
        UserError: If there is no such function, it needs arguments, or it returns anything but a
            list of dicts.
    """
    file = pathlib.Path(path.partition(":")[0])
    content = runpy.run_path(str(file))
    if "sweep" not in content:
        raise UserError(f"config file {str(file)!r} has no function sweep: add one, or give --grid")
    try:
        inspect.signature(content["sweep"]).bind()
    except TypeError as error:  # it is no function, or one of arguments
        raise UserError(
            f"config file {str(file)!r}: sweep must be a function without arguments, def sweep() "
            f"({error})"
        ) from None
    changes = content["sweep"]()
    if not isinstance(changes, list) or not all(isinstance(each, Mapping) for each in changes):
        raise UserError(f"sweep() of {str(file)!r} must give a list of dicts, field -> value")
    return [dict(each) for each in changes]


def changes_of_grid(axes: Sequence[str], base: Mapping[str, Any] | ConfigDict) -> list[Changes]:
    """Every combination of ``field=value,value`` texts, the last field the fastest.

    Values are read as the type that the field has in the base config, or as what they look like
    where only the mixer knows it (``model.mixer_options.d_conv=2,4``).

    Raises:
        UserError: If a field is unknown, occurs twice or takes no single value, or if its values
            are missing or of another type.
    """
    base = base if isinstance(base, ConfigDict) else ConfigDict(base)  # which keeps types of None
    sections, combined = base.to_dict(), [{}]
    for text in axes:
        path, given, row = text.partition("=")
        if not given or not row:
            raise UserError(f"--grid={text}: write field=value,value,... (training.seed=0,1,2)")
        section, field, option = _place(path, sections)
        if path in combined[0]:
            raise UserError(f"--grid: {path} is there twice: give all of its values in one")
        values: list[Any] = row.split(",")
        if option:
            values = list(map(_literal, values))
        else:
            kind = base[section].get_type(field)
            if kind not in KINDS:
                raise UserError(f"--grid: {path} takes a {kind.__name__}: vary it in sweep()")
            values = [field_value_of_text(f"--grid: {path}", value, kind) for value in values]
        combined = [{**change, path: value} for change in combined for value in values]
    return combined


def _literal(text: str) -> Any:
    """A value of an option, whose type its mixer knows: a number, True, False, None or a name."""
    words = {"True": True, "False": False, "None": None}
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return words.get(text, text)
