"""Pages: HTML files in one style, from the templates beside this module.

A page contains its style and its script and loads nothing else. Its content policy allows no other
address, and no script but the one beside this module, by its hash.
"""

import base64
import functools
import hashlib
import json
import pathlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

import jinja2
from flax.traverse_util import flatten_dict
from markupsafe import Markup

from mecheval_jax import programs
from mecheval_jax.reporting.figures.look import formats
from mecheval_jax.reporting.html import shades
from mecheval_jax.reporting.numbers import percent, percents
from mecheval_jax.reporting.words import machine_words
from mecheval_jax.store.left_out import told

HERE = pathlib.Path(__file__).parent

ROLES = ("key", "value", "query", "answer", "next_key")
"""Roles with a colour of their own; all others share the last colour."""


def render(template: str, left_out: Mapping[str, str] | None = None, **values: Any) -> str:
    """The text of a page.

    Args:
        template: Name of the template's file.
        left_out: Parts that the page lacks, since they are damaged, with the reasons; listed above
            its contents.
        **values: Content of the page; a missing value is an error, and all texts are escaped.
    """
    page = _environment().get_template(template).render(**values)
    # Links to every section of the page; their titles are escaped already.
    titles = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', page)
    links = "".join(f'<li><a href="#{name}">{title}</a></li>\n' for name, title in titles)
    contents = f'<nav aria-label="Contents"><ul>\n{links}</ul></nav>' if links else ""
    lacking = _environment().get_template("left_out.html.jinja").render(left_out=left_out or {})
    return page.replace("<!-- contents -->", lacking + contents, 1)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "flat": _flat,
        "heat": lambda value: shades.attribution(float(value)) if value else "",
        "pair": lambda name: (name, name),
        "machine": machine_words,
        "percent": percent,
        "quoted": shlex.quote,
        "role": lambda role: ROLES.index(role) if role in ROLES else len(ROLES),
        "whole": "{:,.0f}".format,
    }
    script = (HERE / "interaction.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()
    environment.globals |= {
        "formats": formats,
        "program": programs.command,
        "told": told,
        "percents": percents,
        "style": Markup((HERE / "style.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": f"sha256-{base64.b64encode(digest).decode()}",
    }
    return environment


def text_of(value: Any) -> str:
    """A value of a config as text for a page."""
    return value if isinstance(value, str) else json.dumps(value)


def _flat(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Nested values as rows: a name with dots and a text."""
    flat = flatten_dict(values, sep=".", is_leaf=lambda _, node: not node)
    return [(name, text_of(value)) for name, value in flat.items()]
