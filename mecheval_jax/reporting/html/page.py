"""Pages: HTML files of one style, each from a template beside this module."""

import pathlib
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """The text of a page.

    Args:
        template: name of its file.
        values: what it shows; one that it lacks is an error, and every text is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
