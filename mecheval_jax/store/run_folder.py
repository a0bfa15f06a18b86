"""The folder of one run: what it is, where it came from, what it found.

config.json        the experiment             interchange.csv  the causal evidence
provenance.json    versions, commit, device   controls.csv     the same where nothing should be
metrics.jsonl      metrics over steps         evidence.npz     what the verdict rests on
metrics.csv        the same                   transitions.csv  changes of the verdict in training
checkpoints/       orbax                      slices.csv       accuracy by length, pairs, ...
summary.json       accuracy and verdict       analyses/        tables of further analyses
figures/           PNG and SVG                report.html      all of it, to look at
trackers.json      ids of --writers           tensorboard/, wandb/, mlruns/   theirs

A member of a sweep's group has ``member.json`` in place of checkpoints: the group has them.
"""

import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
from typing import Any

import jax

from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment, from_config

PACKAGES = ("mecheval_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class RunFolder:
    """Paths and files of a run."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.config = self.path / "config.json"
        self.grammar = self.path / "grammar.json"
        self.provenance = self.path / "provenance.json"
        self.metrics = self.path / "metrics.jsonl"
        self.member = self.path / "member.json"
        self.interchange = self.path / "interchange.csv"
        self.controls = self.path / "controls.csv"
        self.evidence = self.path / "evidence.npz"
        self.transitions = self.path / "transitions.csv"
        self.summary = self.path / "summary.json"
        self.slices = self.path / "slices.csv"
        self.analyses = self.path / "analyses"
        self.figures = self.path / "figures"
        self.report = self.path / "report.html"

    @property
    def checkpoints(self) -> pathlib.Path:
        """Where the parameters are: the run's own, or for a member of a group the group's."""
        return (self.path / "../.." if self.member.exists() else self.path) / "checkpoints"

    def read_member(self) -> "MemberPlace | None":
        """Which part of the group's checkpoints is this run's; None for a run on its own."""
        return MemberPlace(**read_json(self.member)) if self.member.exists() else None

    @property
    def name(self) -> str:
        """The folder's own name, by which tables know the run."""
        return self.path.absolute().name

    def open(self, experiment: Experiment) -> None:
        """Make the folder this experiment's, or check that it is.

        Raises:
            UserError: it holds another experiment's run, a sweep's member, or something that
                is no run, or it cannot be made.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"workdir {self.path} is a file")
        if self.member.exists():  # its checkpoints are those of all members of its group
            raise UserError(
                f"{self.path} is a member of a sweep, which trains it: give launch.sweep its "
                "workdir, or another one here"
            )
        if self.config.exists():
            self._check_same(experiment)
        elif self.path.exists() and any(not is_draft(path) for path in self.path.iterdir()):
            raise UserError(f"workdir {self.path} is not empty and holds no run: choose another")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"workdir {self.path} cannot be made: {error.strerror}") from None
        self._write_origin(experiment)

    def open_anew(self, experiment: Experiment) -> None:
        """Make the folder this experiment's, without what was found before; other files stay."""
        self.path.mkdir(parents=True, exist_ok=True)
        found = (self.summary, self.slices, self.interchange, self.controls, self.evidence)
        for path in found:
            path.unlink(missing_ok=True)
        self._write_origin(experiment)

    def _write_origin(self, experiment: Experiment) -> None:
        """Write what the run is and, unless that is known, where it comes from."""
        write_json(self.config, experiment.as_dict())
        for name, text in experiment.task.artifacts().items():
            write_text(self.path / name, text)
        if not self.provenance.exists():
            write_json(self.provenance, provenance(experiment))

    def _check_same(self, experiment: Experiment) -> None:
        # With the defaults of fields that an older file lacks.
        different = [
            f"{name} is {theirs!r} there and {ours!r} here"
            for name, ours, theirs in differences(experiment, self.experiment())
            if not name.startswith("evaluation.")
        ]
        if different:
            raise UserError(
                f"workdir {self.path} holds the run of another config "
                f"({'; '.join(different[:5])}): choose another workdir"
            )

    def experiment(self) -> Experiment:
        """The experiment whose run this is.

        Of a grammar file that is gone the folder has a copy (`Task.artifacts`).

        Raises:
            UserError: the folder holds no run.
        """
        if not self.config.exists():
            raise UserError(f"{self.path} holds no run (no config.json): give a training workdir")
        values = read_json(self.config)
        grammar_file = values.get("task", {}).get("grammar_file")
        if grammar_file and not pathlib.Path(grammar_file).exists() and self.grammar.exists():
            values["task"]["grammar_file"] = str(self.grammar)
        return from_config(values)

    def read_summary(self) -> dict[str, Any]:
        """The summary so far; empty before there is one."""
        return read_json(self.summary) if self.summary.exists() else {}

    def update_summary(self, **values: Any) -> dict[str, Any]:
        """Add to the summary, or change it, and return it."""
        summary = self.read_summary() | values
        write_json(self.summary, summary)
        return summary

    def read_metrics(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.jsonl``; a last line that was cut off is passed over."""
        return read_rows(self.metrics)

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that will be taken again."""
        forget_after(self.metrics, step)


@dataclasses.dataclass(frozen=True)
class MemberPlace:
    """Where a member of a group stands, as in ``member.json``.

    Attributes:
        place: along the axis of members.
        of: how many members the group has.
    """

    place: int
    of: int


DRAFT = ".part"
"""Ending of a file that is being written; a kill may leave one behind."""


def is_draft(path: pathlib.Path) -> bool:
    """Whether a file is one that was not written to its end."""
    return path.name.endswith(DRAFT)


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a file whole or not at all; of several processes that do, the last one counts."""
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """The same of bytes."""
    draft = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}{DRAFT}")
    draft.write_bytes(content)
    draft.replace(path)


def write_json(path: pathlib.Path, values: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def read_json(path: pathlib.Path) -> Any:
    """Read JSON.

    Raises:
        UserError: the file is damaged.
    """
    try:
        values = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    return values


def read_rows(metrics: pathlib.Path, part: str = "") -> list[dict[str, Any]]:
    """Rows of a ``metrics.jsonl``; a last line that was cut off is passed over.

    Args:
        metrics: the file.
        part: of a line; the others, mostly very many, are not parsed.
    """
    if not metrics.exists():
        return []
    rows = []
    with metrics.open() as file:  # line by line: those of a large sweep are many
        for line in file:
            if part not in line:
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict) and "step" in row:
                rows.append(row)
    return rows


def forget_after(metrics: pathlib.Path, step: int) -> None:
    """Drop rows of steps that will be taken again.

    ``metrics.csv`` follows when it is opened to be written (`store.metrics`).
    """
    if metrics.exists():
        kept = [json.dumps(row) for row in read_rows(metrics) if row["step"] <= step]
        write_text(metrics, "".join(f"{line}\n" for line in kept))


def provenance(experiment: Experiment, *, here: bool = True) -> dict[str, Any]:
    """Where the numbers of a run come from.

    Args:
        experiment: the run's.
        here: whether this process computes them, so that its devices count.
    """
    devices: dict[str, Any] = {}
    if here:
        device = jax.devices()[0]
        devices["device"] = {"platform": device.platform, "kind": device.device_kind}
        devices["device_count"] = jax.device_count()
    return {
        "versions": {"python": platform.python_version()} | versions(),
        "commit": _commit(),
        "platform": platform.platform(),
        **devices,
        "seed": experiment.training.seed,
        "data_seed": experiment.training.data_seed,
        "config_hash": experiment.fingerprint(),
        "arguments": sys.argv[1:],
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Versions of what computes the numbers of a run."""
    import mecheval_jax

    found = {"mecheval_jax": mecheval_jax.__version__}
    for package in PACKAGES[1:]:
        found[package] = importlib.metadata.version(package)
    return found


def _commit() -> str | None:
    """The commit of the source, with ``+changes`` if it was edited; None outside git."""
    here = pathlib.Path(__file__).parent

    def git(*arguments):
        result = subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        return result.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def differences(first: Experiment, second: Experiment) -> list[tuple[str, Any, Any]]:
    """Fields of two experiments that differ: their names (``model.width``), and both values."""
    ours, theirs = flatten(first.as_dict()), flatten(second.as_dict())
    return [
        (name, ours.get(name), theirs.get(name))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one dict, by ``section.field``."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
