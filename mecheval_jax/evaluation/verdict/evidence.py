"""The evidence of a verdict, document by document: the content of ``evidence.npz``.

Documents to which the rule does not apply, because key and value are one token, are counted and
left out. The evidence of several runs is pooled. If these are on the same documents, runs and
documents are resampled crossed; otherwise runs are resampled first, and then the documents of each,
and what those have in common that are on the same documents is added to the variance.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mecheval_jax import programs
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.accuracy import names_of
from mecheval_jax.evaluation.config import RESTORE, EvaluationConfig
from mecheval_jax.evaluation.patching.effects import Gap
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.exchanges import CORRUPTED, cases_of
from mecheval_jax.evaluation.verdict.places import (
    in_either_order,
    name_of_single,
    places_of,
    silent_layers,
)
from mecheval_jax.files import damaged, read_arrays, write_arrays
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate
from mecheval_jax.statistics.crossed import order_as
from mecheval_jax.tasks.geometry import geometry
from mecheval_jax.tasks.scoring import MEASURES

FEWEST_DOCUMENTS = 20
"""Number of documents below which the bootstrap's intervals are too short for a verdict."""


class EvidenceCell(NamedTuple):
    """One exchange: the place, the direction, and the set or the single position."""

    kind: str
    layer: int
    direction: str
    role: str
    site: str


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Scores of the right answer in all runs, and the numbers of right answers.

    Attributes:
        cells: Exchanges, in the order of the computation.
        ends: [measure, run, document] `MEASURES` of the clean and the corrupted run.
        patched: [measure, cell, document] `MEASURES` after each exchange.
        present: [cell, document] Whether the document has positions to exchange.
        documents: Number of judged documents of each run; the documents of a run are adjacent.
        left_out: Number of documents of each run to which the rule does not apply.
        names: [document] A number for the text of the document.
        correct: Number of right answers of each run, to query 0 of all documents.
        asked: Number of answers of each run.
        floor: Accuracy of the best heuristic without recall.
        layers: Depth of the model.
        silent: Layers whose mixers do not declare what they mix locally.
    """

    cells: tuple[EvidenceCell, ...]
    ends: np.ndarray
    patched: np.ndarray
    present: np.ndarray
    documents: np.ndarray
    left_out: np.ndarray
    names: np.ndarray
    correct: np.ndarray
    asked: np.ndarray
    floor: float
    layers: int
    silent: tuple[int, ...]

    @classmethod
    def of_raw(
        cls, raw: Mapping[str, Any], subject: Subject, counts: tuple[int, int], floor: float
    ) -> "Evidence":
        """Evidence from the result of `Exchanges.on_device`.

        Args:
            raw: Result of `Exchanges.on_device`, as arrays on the host.
            subject: Model and documents.
            counts: Number of right answers to query 0, and of all answers.
            floor: Accuracy of the best heuristic without recall.
        """
        kept, found = np.asarray(raw["applies"]), geometry(subject.task, subject.batch)
        cells, patched, present = [], [], []
        for place in places_of(subject.config, subject.task.usual_length):
            measured = raw[str((place.kind, place.layer))]
            for direction, name in cases_of(place):
                role = name if isinstance(name, str) else name_of_single(name, found)
                cells.append(EvidenceCell(place.kind, place.layer, direction, role, place.site))
            patched.append(np.stack([measured[name] for name in MEASURES]))
            present.append(measured["present"])
        return cls(
            cells=tuple(cells),
            ends=np.stack([raw["runs"][name] for name in MEASURES])[..., kept],
            patched=np.concatenate(patched, axis=1)[..., kept],
            present=np.concatenate(present)[:, kept],
            documents=np.array([kept.sum()]),
            left_out=np.array([(~kept).sum()]),
            names=names_of(subject.batch)[kept],
            correct=np.array([counts[0]]),
            asked=np.array([counts[1]]),
            floor=floor,
            layers=subject.config.layers,
            silent=silent_layers(subject.config),
        )

    @classmethod
    def pool(cls, runs: Sequence["Evidence"]) -> "Evidence":
        """The evidence of several runs as one, with their highest floor.

        Runs that have drawn the same documents in different orders get them in one order.

        Raises:
            UserError: If models or tasks of the runs have different places.
        """
        if len({run.cells for run in runs}) > 1:
            # Where a pair stands in either order, the draw of documents decides the names.
            runs = [dataclasses.replace(run, cells=_in_either_order(run.cells)) for run in runs]
        first = runs[0]
        for other in runs[1:]:
            if (other.cells, other.silent) != (first.cells, first.silent):
                words = [", ".join(dict.fromkeys(cell.site for cell in one.cells)) for one in runs]
                raise UserError(
                    "runs of different architectures, depths or tasks cannot be pooled: one is "
                    f"read at {words[0]}, another at {words[runs.index(other)]}"
                )
        texts = [np.sort(run.names).tobytes() for run in runs]
        same = [runs[texts.index(text)] for text in texts]  # the first run on the same documents
        orders = [order_as(run.names, one.names) for run, one in zip(runs, same, strict=True)]
        joined = {
            name: np.concatenate(
                [getattr(run, name)[..., at] for run, at in zip(runs, orders, strict=True)], axis=-1
            )
            for name in ARRAYS
        } | {name: np.concatenate([getattr(run, name) for run in runs]) for name in COUNTS}
        return dataclasses.replace(first, floor=max(run.floor for run in runs), **joined)

    def runs(self) -> list["Evidence"]:
        """The evidence of each of several runs that are pooled, with the floor of all."""
        ends = np.cumsum(self.documents)[:-1]
        parts = {name: np.split(getattr(self, name), ends, axis=-1) for name in ARRAYS}
        parts |= {name: np.split(getattr(self, name), len(self.documents)) for name in COUNTS}
        return [
            dataclasses.replace(self, **{name: part[run] for name, part in parts.items()})
            for run in range(len(self.documents))
        ]

    @property
    def sets(self) -> list[int]:
        """For each run the number of the first one that is on the same documents."""
        parts = [part.tobytes() for part in np.split(self.names, np.cumsum(self.documents)[:-1])]
        return [parts.index(part) for part in parts]

    @property
    def different(self) -> int:
        """Number of judged documents, of which one that several runs share counts once."""
        return int(self.documents[np.unique(self.sets)].sum())

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.correct.sum() / self.asked.sum())

    def bootstrap(self, evaluation: EvaluationConfig) -> Bootstrap:
        """The resamples of documents that all estimates share."""
        runs = tuple(map(int, self.documents))
        return Bootstrap(runs, evaluation.resamples, evaluation.seed, sets=self.sets)

    def gap(self, measure: str, bootstrap: Bootstrap) -> Gap:
        """The effect of the corruption on the answer."""
        ends = self.ends[MEASURES.index(measure)]
        return Gap(ends[CLEAN], ends[CORRUPTED], bootstrap)

    def share(self, index: int, measure: str, gap: Gap) -> Estimate:
        """Share of the gap that an exchange restores, or takes from the clean run."""
        restores = self.cells[index].direction == RESTORE
        share = gap.restored if restores else gap.taken
        scores = self.patched[MEASURES.index(measure), index]
        return share(np.where(np.isfinite(scores), scores, np.nan), self.present[index])

    def write(self, path: pathlib.Path) -> None:
        """Write ``evidence.npz``, which pooling reads."""
        write_arrays(path, dataclasses.asdict(self) | {"cells": np.array(self.cells)})

    @classmethod
    def read(cls, path: pathlib.Path) -> "Evidence":
        """Read a file that `write` wrote.

        Raises:
            UserError: If there is no such file, or it is damaged or of an earlier version.
        """
        again = f"{programs.command('intervene')} --workdir={path.parent} measures anew"
        if not path.exists():
            raise UserError(f"there is no {path}: {again}")
        values = read_arrays(path, again)
        if set(values) != {field.name for field in dataclasses.fields(cls)}:
            raise UserError(
                f"{path} is of version 0.4 or before, which looked at fewer positions: {again}"
            )
        try:
            listed = values["cells"].tolist()
            cells = tuple(
                _told_apart(EvidenceCell(kind, int(at), *rest) for kind, at, *rest in listed)
            )
            plain = {"floor": float(values["floor"]), "layers": int(values["layers"])}
            silent = tuple(map(int, values["silent"]))
            found = cls(**{**values, **plain, "cells": cells, "silent": silent})
            found._check_shapes()
        except (ValueError, TypeError, IndexError) as error:
            raise damaged(path, error, again) from None
        return found

    def _check_shapes(self) -> None:
        """Raise ValueError where arrays are not those of the cells and the documents."""
        cells, documents, runs = len(self.cells), int(self.documents.sum()), len(self.documents)
        for name, shape in {
            "ends": (len(MEASURES), 2, documents),
            "patched": (len(MEASURES), cells, documents),
            "present": (cells, documents),
            "names": (documents,),
            **dict.fromkeys(COUNTS, (runs,)),
        }.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind not in "bif":
                raise ValueError(f"{name} has the shape {array.shape}, and should have {shape}")
        if min(self.documents) < 0 or min(self.asked) < 1 or not 0 <= self.floor <= 1:
            raise ValueError("numbers of documents and the floor cannot be")


ARRAYS = ("ends", "patched", "present", "names")
"""Fields whose last axis is the document."""

COUNTS = ("documents", "left_out", "correct", "asked")
"""Fields with a number for each run."""


def _in_either_order(cells: Iterable[EvidenceCell]) -> tuple[EvidenceCell, ...]:
    """Cells whose single positions have the names that do not say which token of a pair is last."""
    return tuple(cell._replace(role=in_either_order(cell.role)) for cell in cells)


def _told_apart(cells: Iterable[EvidenceCell]) -> Iterator[EvidenceCell]:
    """Cells of a file in which the single later token may have the name of the set ``pair``.

    Where key and value stand in either order, both were called so at first; the set comes first.
    """
    seen: set[EvidenceCell] = set()
    for cell in cells:
        yield cell._replace(role=f"{cell.role}+0") if cell in seen else cell
        seen.add(cell)
