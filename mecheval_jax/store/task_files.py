"""Where the files of a task lie by now: they count by their content, and may have been moved.

A config names a file by its path, and has the hash of its content. Where a file is not, or has
another content, it is looked for: first where the config of the folder's user has a file of the
same content, then where the run itself knows one.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment
from mecheval_jax.tasks import content_of, fields_of_files, files_of, with_content

_said: set[tuple[str, ...]] = set()
"""Folders, and places of files, of which it was said that these are read instead."""


def of_member(content: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Section ``task`` of a member, with the hash that its files must have.

    Args:
        content: Content of a sweep's ``sweep.json``.
        number: Number of the member.
    """
    changes, hashes = content["members"][number], content.get("hashes", ())
    own = {
        name.removeprefix("task."): value
        for name, value in changes.items()
        if name.startswith("task.")
    }
    known = hashes[number] if number < len(hashes) else ""
    return with_content(content["base"]["task"] | own, known)


def of_member_folder(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same of a member whose folder has this name; that of the base config, if none has."""
    known = name.isdecimal() and int(name) < len(content["members"])
    return of_member(content, int(name)) if known else dict(content["base"]["task"])


def moved(task: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """A ``task`` section with its files where another one has files of the same content.

    Args:
        task: Section of a folder's config.
        given: Section of another config; whatever is no such section has no files.
    """
    if not content_of(task) or content_of(task) != content_of(given):
        return {**task}
    both = {*fields_of_files(task)} & {*fields_of_files(given)}
    return {**task, **{name: _newer(task[name], given[name]) for name in both}}


def _newer(known: str, given: str) -> str:
    """The given path, which holds in any folder; the known one, if both are of one file."""
    same = os.path.realpath(known) == os.path.realpath(given)
    return known if same else os.path.abspath(given)


def other_content(task: Any, given: Any) -> list[str]:
    """What is said of a config whose files have not the content of a folder's; empty if they have.

    Args:
        task: Section ``task`` of the folder's config.
        given: That of the other config.
    """
    there, here = content_of(task), content_of(given)
    if not there or not here or there == here or task["name"] != given["name"]:
        return []
    before, now = ", ".join(files_of(task)), ", ".join(files_of(given))
    return [f"{now} has another content than {'it' if before == now else before} had"]


def from_anywhere(values: dict[str, Any], started: str) -> dict[str, Any]:
    """A config whose paths of files hold also in another folder than this program's.

    Args:
        values: The config. Relative paths in it are of the folder in which this program works.
        started: Folder that readers take relative paths to be of; empty if there is none.
    """
    if started in ("", os.getcwd()):
        return values
    task = values["task"]
    places = {name: os.path.abspath(task[name]) for name in fields_of_files(task)}
    return {**values, "task": {**task, **places}}


def other_places(
    task: Mapping[str, Any], started: str, further: Mapping[str, str]
) -> dict[str, str]:
    """Where else files of a task lie, by field; those that are there.

    Args:
        task: Section ``task`` of a folder's config.
        started: Folder in which training was started, of which its paths may be.
        further: Places that the folder knows, by field; they come first.
    """
    found = {field: os.path.join(started, task[field]) for field in fields_of_files(task)}
    copies = {field: at for field, at in further.items() if isinstance(task.get(field), str)}
    return {
        field: at
        for places in (found, copies)
        for field, at in places.items()
        if os.path.exists(at)
    }


def with_found(task: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """A ``task`` section with files that are not here at the places of `other_places`."""
    return {**task, **{name: at for name, at in places.items() if not os.path.exists(task[name])}}


def with_others(
    values: Mapping[str, Any], places: Mapping[str, str], folder: pathlib.Path
) -> Experiment | None:
    """The experiment of a config with files from other places, since those that it names changed.

    It is said once for each folder.

    Args:
        values: The config.
        places: Other places of its files, of `other_places`.
        folder: Folder of the run.

    Returns:
        The experiment; None if it cannot be made so either.
    """
    task = values.get("task")
    if not isinstance(task, Mapping) or all(task[name] == at for name, at in places.items()):
        return None
    try:
        found = Experiment.from_config({**values, "task": {**task, **places}})
    except UserError:
        return None
    told = (str(folder), *places.values())
    if told not in _said:
        _said.add(told)
        say(
            f"{folder}: {', '.join(task[one] for one in places)} has changed; read instead: "
            f"{', '.join(places.values())}"
        )
    return found
