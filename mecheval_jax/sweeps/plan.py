"""The plan of a sweep: its runs, and the groups of one shape that train together."""

import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mecheval_jax import trust
from mecheval_jax.changes import (
    Changes,
    changed_sections,
    changes_of_file,
    changes_of_grid,
    listed,
)
from mecheval_jax.errors import UserError, choose
from mecheval_jax.experiment import BOOKKEEPING, Experiment, difference_words, differences
from mecheval_jax.fields import pythons_own
from mecheval_jax.files import read_json
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.store.task_files import moved, of_member, other_content
from mecheval_jax.tasks import content_of, fields_of_files, files_of, with_content
from mecheval_jax.training.state import HYPERPARAMETERS


@dataclasses.dataclass(frozen=True)
class GroupPlan:
    """A group: members of one shape, which train together.

    Attributes:
        name: Name of the group's folder.
        title: Mixer, width and depth, and further fields that distinguish it from other groups.
        members: Numbers of the members in the sweep.
        experiments: Experiments of the members, in the same order.
    """

    name: str
    title: str
    members: tuple[int, ...]
    experiments: tuple[Experiment, ...]

    @property
    def steps(self) -> int:
        """Number of steps of the longest schedule."""
        return max(experiment.training.steps for experiment in self.experiments)

    @property
    def cost(self) -> int:
        """Number of steps of all members: a rough measure of the group's time."""
        return sum(experiment.training.steps for experiment in self.experiments)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """All runs of a sweep, in groups.

    Attributes:
        base: Config that the members change, as plain values.
        changes: Changes of each member.
        groups: Groups of one shape each, in the order of their first members.
        hashes: Hash of the content of each member's files; empty if they read none, or all read
            those of the base config, which has the hash then.
    """

    base: dict[str, Any]
    changes: tuple[Changes, ...]
    groups: tuple[GroupPlan, ...]
    hashes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for ``sweep.json``."""
        values = {
            "base": self.base,
            "members": list(self.changes),
            "groups": [
                {"name": group.name, "title": group.title, "members": list(group.members)}
                for group in self.groups
            ],
        }
        return values | ({"hashes": list(self.hashes)} if self.hashes else {})

    @property
    def experiments(self) -> list[Experiment]:
        """The experiments of all groups, group after group."""
        return [one for group in self.groups for one in group.experiments]

    def chosen(
        self, names: Sequence[str] | None, shard: tuple[int, int] | None = None
    ) -> tuple[GroupPlan, ...]:
        """The groups with some names or, of these, those that belong to one shard.

        A shard is a part of the groups, all of about the same cost, for one of several machines.
        Groups are given out whole, the costliest first, each to the shard that has the least so
        far. Every process finds the same shards; with more shards than groups some are empty.

        Args:
            names: Names of groups; None for all.
            shard: Number of the shard and number of shards, as `parse_shard` gives them; None for
                all.

        Raises:
            UserError: If a name is unknown, or the list of names is empty.
        """
        known = {group.name: group for group in self.groups}
        if names is not None and not names:
            raise UserError(f"no group is named: give some of {', '.join(known)}, or none at all")
        groups = [known[choose("group", name, known)] for name in dict.fromkeys(names or known)]
        index, count = shard or (0, 1)
        loads, mine = [0] * min(count, len(groups)), set()
        for group in sorted(groups, key=lambda group: -group.cost):  # a stable order of equal costs
            least = loads.index(min(loads))
            loads[least] += group.cost
            if least == index:
                mine.add(group.name)
        return tuple(group for group in groups if group.name in mine)


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Number of a shard and number of shards: ``0/4`` to ``3/4``, as Slurm's arrays count.

    Without a text there are no shards, and the result is None.

    Raises:
        UserError: If the text has another form.
    """
    if text is None:
        return None
    numbers = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    index, count = map(int, numbers.groups()) if numbers else (0, 0)
    if index >= count:
        raise UserError(f"shard {text!r} is none: give i/n with i from 0 to n - 1, such as 0/4")
    return index, count


def shape_of(experiment: Experiment) -> Experiment:
    """An experiment without the fields in which members of a group may differ."""
    neutral = dict.fromkeys(HYPERPARAMETERS, 0) | {"steps": 1}
    training = dataclasses.replace(experiment.training, **neutral)
    return dataclasses.replace(experiment, training=training)


def plan(
    base: ConfigDict | Mapping[str, Any], changes: Sequence[Changes], hashes: Sequence[str] = ()
) -> Sweep:
    """Build every run, and group those of one shape.

    Args:
        base: Config that is changed.
        changes: Changes of each member, field -> value.
        hashes: Hash that the content of each member's files must have; empty if it may be any.

    Raises:
        UserError: If there are no members, a field is not in the config, a value is not possible,
            or two members are the same run; the message names the member.
    """
    sections = pythons_own(base.to_dict() if isinstance(base, ConfigDict) else dict(base))
    if not changes:
        raise UserError("the sweep has no members: sweep() gives an empty list")

    # Every run, built and checked.
    typed: list[Changes] = []
    experiments: list[Experiment] = []
    built: dict[str, Experiment] = {}  # a task may have to read files: build each once
    for number, change in enumerate(changes):
        try:
            changed, values = changed_sections(sections, change)
            typed.append(values)
            if hashes:
                changed["task"] = with_content(changed["task"], hashes[number])
            shape = json.dumps({**changed, "training": None}, sort_keys=True, default=str)
            if shape not in built:
                built[shape] = Experiment.from_config(changed)
            experiments.append(built[shape].with_training(changed["training"]))
        except UserError as error:
            raise UserError(f"member {number} ({listed(change)}): {error}") from None

    # Groups of one shape, after a check that no run occurs twice.
    seen: dict[str, int] = {}
    groups: dict[Experiment, list[int]] = {}
    for number, experiment in enumerate(experiments):
        text = json.dumps(_as_computed(experiment.as_dict()), sort_keys=True)
        same = seen.setdefault(text, number)
        if same != number:
            raise UserError(f"members {same} and {number} are the same run: {listed(typed[same])}")
        groups.setdefault(shape_of(experiment), []).append(number)
    first = next(iter(groups))
    plans = []
    for index, (shape, numbers) in enumerate(groups.items()):
        own = tuple(experiments[number] for number in numbers)
        title = _title(shape, first)
        if any(title == plan.title for plan in plans):
            title += f" ({index})"
        plans.append(GroupPlan(_name(index, shape), title, tuple(numbers), own))
    base_as_json_has_it = json.loads(json.dumps(sections))
    of_all, of_each = _hashes_of_files(sections["task"], experiments)
    base_as_json_has_it["task"] |= of_all
    return Sweep(base_as_json_has_it, tuple(typed), tuple(plans), of_each)


def _as_computed(value: Any) -> Any:
    """A value of a config with numbers as they are computed with, in float32: 1 and 1.0 are one."""
    if isinstance(value, Mapping):
        return {name: _as_computed(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_computed(one) for one in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(np.float32(value))
    return value


def _hashes_of_files(
    values: Mapping[str, Any], experiments: Sequence[Experiment]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The hash of the files that members read, so that one that has changed is noticed.

    Args:
        values: Section ``task`` of the base config.
        experiments: The members' experiments.

    Returns:
        The task's field with the hash, for the base config, if all members read its files, and
        no others; or else the hash of each member's.
    """
    tasks = [one.task for one in experiments]
    files = {
        task: (tuple(task.files_of(vars(task))), getattr(task, task.hash_field, ""))
        for task in set(tasks)
    }
    field, (named, found) = tasks[0].hash_field, files[tasks[0]]
    if len(set(files.values())) == 1 and list(named) == tasks[0].files_of(values):
        return ({field: found} if field and found else {}), ()
    hashes = tuple(found if named else "" for named, found in map(files.__getitem__, tasks))
    return {}, hashes if any(hashes) else ()


def _name(index: int, shape: Experiment) -> str:
    mixer = re.sub(r"[^a-z0-9]+", "_", shape.model.mixer.lower()).strip("_")[:40]
    return f"{index:03d}_{mixer}_width_{shape.model.width}"


LONGEST_NAMED = 40
"""Characters of a value in a title; that of a longer one is left out."""


def _title(shape: Experiment, first: Experiment) -> str:
    model = shape.model
    title = f"{model.mixer}, width {model.width}, {model.layers} layers"
    named = {"model.mixer", "model.width", "model.layers", "model.positions"} | BOOKKEEPING
    others = [
        f"{name} {ours}"
        for name, _, ours in differences(first, shape)
        if name not in named and len(str(ours)) <= LONGEST_NAMED
    ]
    return ", ".join((title, *others[:3]))


def read_sweep(base: ConfigDict, path: str, grid: Sequence[str] = ()) -> Sweep:
    """The sweep of a config file, or a grid from the command line in its place.

    Args:
        base: Config of the file, as changed by the command line.
        path: Path of the file, which may be followed by arguments.
        grid: Axes of a grid, texts for `changes_of_grid`; they replace the sweep of the file.

    Raises:
        UserError: If there is no sweep, or it is not possible.
    """
    return plan(base, changes_of_grid(grid, base) if grid else changes_of_file(path))


def open_folder(folder: SweepFolder, sweep: Sweep, *, here: bool = True) -> None:
    """Make a folder this sweep's, or check that it is this sweep's already.

    Args:
        folder: Folder of the sweep.
        sweep: The sweep.
        here: Whether this process computes it, so that its devices are noted.

    Raises:
        UserError: If it holds another sweep or other files, or cannot be made.
    """
    for experiment in {one.model.mixer: one for one in sweep.experiments}.values():
        trust.remember(experiment.model.mixer)
    for task in {one.task for one in sweep.experiments}:
        trust.use_files(task.files_of(vars(task)))
    content = folder.open(sweep.as_dict(), sweep.groups[0].experiments[0], here=here)
    if content == sweep.as_dict():
        return
    there = sweep_in(folder, sweep.as_dict())
    ours, theirs = sweep.experiments, there.experiments
    if found := list(itertools.chain.from_iterable(map(difference_words, theirs, ours))):
        what = "; ".join(found)
    else:  # numbers of members are names of folders and stand in tables
        numbers = [[group.members for group in one.groups] for one in (there, sweep)]
        what = "" if numbers[0] == numbers[1] else "the same members, in another order"
    if what:
        raise _is_another(folder, what)
    folder.note_places(there.as_dict())


def sweep_in(folder: SweepFolder, given: Mapping[str, Any]) -> Sweep:
    """The sweep of a folder, with its files where a user's own sweep has the same content.

    Args:
        folder: Folder of the sweep.
        given: Content of a ``sweep.json`` for that user's sweep, of which the files count: those of
            each member or, if it has none, those of the base config for all.

    Raises:
        UserError: As of `plan_of`; and if the user's sweep has another number of members, or files
            of another content.
    """
    content = _with_hashes(folder.read(), folder)
    members, here = content["members"], given["members"]
    if here and len(here) != len(members):
        raise _is_another(folder, f"{len(members)} members there and {len(here)} here")
    of_all = given["base"]["task"]
    sections = [
        (of_member(content, n), of_member(given, n) if here else of_all)
        for n in range(len(members))
    ]
    if other := next(filter(None, itertools.starmap(other_content, sections)), None):
        theirs, ours = (sorted(map(content_of, side)) for side in zip(*sections, strict=True))
        what = "the same files, in another order" if theirs == ours else "; ".join(other)
        raise _is_another(folder, what)
    # The new place of a file is noted where the old one stands: in a member, or the base config.
    base, found = {**content["base"]["task"]}, [dict(changes) for changes in members]
    for changes, (there, ours) in zip(found, sections, strict=True):
        now = moved(there, ours)
        for name in fields_of_files(there):
            if f"task.{name}" in changes:
                changes[f"task.{name}"] = now[name]
            else:
                base[name] = now[name]
    whole = {**content, "base": {**content["base"], "task": base}, "members": found}
    return plan_of(whole, folder.sweep)


def _with_hashes(content: dict[str, Any], folder: SweepFolder) -> dict[str, Any]:
    """The content of a ``sweep.json``; of an older one with the hashes that its members know."""
    hashes = [""] * len(content["members"])
    reads = any(files_of(of_member(content, number)) for number in range(len(hashes)))
    if "hashes" in content or content_of(content["base"]["task"]) or not reads:
        return content
    for group in content["groups"]:
        for number in group["members"]:
            config = RunFolder(folder.group(group["name"]).member(number)).config
            hashes[number] = content_of(read_json(config, absent={}).get("task"))
    return {**content, "hashes": hashes} if any(hashes) else content


def _is_another(folder: SweepFolder, what: str) -> UserError:
    return UserError(
        f"workdir {folder.path} holds another sweep ({what[:300]}): choose another workdir"
    )


def plan_of(content: Mapping[str, Any], source: pathlib.Path) -> Sweep:
    """The sweep that a ``sweep.json`` describes.

    Args:
        content: Content of the file.
        source: The file.

    Raises:
        UserError: If it is damaged, or would run code of its own (`trust`).
    """
    base, members = content["base"], content["members"]
    for number, changes in enumerate(members):
        trust.check(changes.get("model.mixer", base["model"].get("mixer")), source)
        trust.check_files(files_of(of_member(content, number)), source)
    try:
        return plan(base, members, content.get("hashes", ()))
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
