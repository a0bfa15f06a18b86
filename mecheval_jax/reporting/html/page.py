"""Pages: HTML files of one style, each from a template beside this module."""

import json
import pathlib
import shlex
from typing import Any

import jinja2
from flax.traverse_util import flatten_dict

from mecheval_jax.reporting.terminal import tables


def render(template: str, **values: Any) -> str:
    """The text of a page.

    Args:
        template: Name of the template's file.
        **values: What the page shows; one that it lacks is an error, and every text is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "flat": _flat,
        "percent": tables.percent,
        "quoted": shlex.quote,
        "whole": "{:,.0f}".format,
    }
    environment.globals |= {"percents": tables.percents}
    return environment.get_template(template).render(**values)


def text_of(value: Any) -> str:
    """A value of a config as a page shows it."""
    return value if isinstance(value, str) else json.dumps(value)


def _flat(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Nested values as rows of a name with dots and a text."""
    flat = flatten_dict(values, sep=".", is_leaf=lambda _, node: not node)
    return [(name, text_of(value)) for name, value in flat.items()]
