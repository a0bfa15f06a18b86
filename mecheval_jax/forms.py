"""The form of values that come from a file: types, words, ranges and names, checked in one place.

A form is

    int, float, bool, str, dict, list   a value of that type
    range(2**31)                        a whole number of a range
    {"a", "b"}                          one of some words
    None                                null
    (form, form)                        one of several forms
    [form]                              a list of such values
    [form, form]                        a list of two, and likewise of more
    {"name": form, "other?": form}      an object with these fields, of which "other" may be absent
    {...: form}                         an object of any fields, all of one form
    {"name": form, ...: form}           the same, with some fields that it must have

Fields that a form does not name, where it has no ..., are let through: a later version may have
written them.
"""

from typing import Any

from mecheval_jax.errors import shown

COUNT = range(2**31)
"""Form of steps, numbers of documents, and the like."""

NUMBER = (float, None)
"""Form of a score, null where it could not be told."""

NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "an object",
    list: "a list",
}


def mismatch(value: Any, form: Any, name: str = "it") -> str | None:
    """Where a value is not of a form, in words; None if it is of that form.

    Args:
        value: Value that was read.
        form: Form that it must have; see the module.
        name: Name of the value, for the message.
    """
    if isinstance(form, dict):
        return _mismatch_of_object(value, form, name)
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is {_short(value)}, and not a list"
        if 1 < len(form) != len(value):
            return f"{name} has {len(value)} values, and not {len(form)}"
        found = (mismatch(one, form[i % len(form)], f"{name}[{i}]") for i, one in enumerate(value))
        return next(filter(None, found), None)
    if isinstance(form, tuple):
        found = [mismatch(value, one, name) for one in form]
        if None in found:
            return None
        # A value of the right type, with something wrong inside, was meant as that one.
        return next((one for one in found if not one.startswith(f"{name} is ")), found[0])
    return None if _is(value, form) else f"{name} is {_short(value)}, and not {_words(form)}"


def _mismatch_of_object(value: Any, form: dict[Any, Any], name: str) -> str | None:
    if not isinstance(value, dict):
        return f"{name} is {_short(value)}, and not an object"
    named = {key.removesuffix("?"): of for key, of in form.items() if key is not ...}
    every = dict.fromkeys(value, form[...]) | named if ... in form else named
    for field, of_field in every.items():
        if field in value:
            inner = field if name == "it" else f"{name}.{field}"
            wrong = mismatch(value[field], of_field, inner)
            if wrong:
                return wrong
        elif field in form:  # and not with a question mark
            return f"{name} lacks {field!r}"
    return None


def _is(value: Any, form: Any) -> bool:
    if form is None:
        return value is None
    if isinstance(form, range):
        return type(value) is int and value in form
    if isinstance(form, (set, frozenset)):
        return isinstance(value, str) and value in form
    if form is float:
        # A run that diverged has scores that are nan; whole numbers beyond floats are none.
        return type(value) is float or (type(value) is int and abs(value) < 1e300)
    if form is int:
        return type(value) is int and abs(value) < 2**63
    return isinstance(value, form)


def _words(form: Any) -> str:
    if form is None:
        return "null"
    if isinstance(form, range):
        return f"a whole number from {form.start} to {form.stop - 1}"
    if isinstance(form, (set, frozenset)):
        return f"one of {', '.join(sorted(form))}"
    return NAMES[form]


def _short(value: Any) -> str:
    """A value for a message, cut where it is long."""
    return NAMES[type(value)] if isinstance(value, (dict, list)) else shown(value, 60)
