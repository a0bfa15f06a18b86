"""What the verdict reads: a few cells of the grid, document by document, and the accuracy.

Under key corruption, clean activations put into the corrupted run: the residual stream between the
layers and after each of them, and what the convolutions inside the mixers give, at the roles
key, value, next_key and query. All of it is measured for every verdict, whatever grid was asked
for beside it: without one of the places a verdict could be confident and wrong. The evidence of
several runs is pooled, and resampled by runs and then by documents.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from mecheval_jax import programs
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.effects import EXACT, Effects
from mecheval_jax.evaluation.patching.grid import CLEAN, Grid
from mecheval_jax.files import write_arrays
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import Batch, Task

CORRUPTION = "key"
ROLES = ("key", "value", "next_key", "query")
NEEDED_ROLES = ("key", "value", "query")
"""Those that a task must have to be judged; it may lack the next key."""

FEWEST_DOCUMENTS = 20
"""With a role; of fewer, the bootstrap's intervals are too short to rest a verdict on."""

CONVOLUTIONS = ("conv_output", "shift_output")
"""Sites inside mixers that hold what a convolution over positions gives."""

CONVOLVED = ("k", "v")
"""Those that hold it where the mixer has a convolution for each, and a site before it."""


def convolution_sites(config: ModelConfig) -> tuple[str, ...]:
    """What the convolutions of every layer give: vectors that may hold key and value together.

    ``mixer/conv_output`` (Mamba, Hyena, BaseConv), ``mixer/shift_output`` (H3), ``mixer/k`` and
    ``mixer/v`` of the delta nets, whose queries are left out because nothing is stored in them,
    and ``canon_output`` before a mixer.
    """
    paths = site_paths(config)
    kinds = {f"mixer/{name}" for name in CONVOLUTIONS} | {"canon_output"}
    return tuple(
        path
        for path in paths
        if (name := SitePath.parse(path).component) in kinds
        or (name in {f"mixer/{part}" for part in CONVOLVED} and f"{path}_input" in paths)
    )


def verdict_sites(config: ModelConfig) -> tuple[str, ...]:
    """The sites that a verdict looks at, in the order of the computation."""
    wanted = {SitePath(layer, "block_output").path for layer in range(config.layers)}
    wanted |= {SitePath(layer, "block_input").path for layer in range(1, config.layers)}
    wanted |= set(convolution_sites(config))
    return tuple(path for path in site_paths(config) if path in wanted)


def roles_of_verdict(batch: Batch) -> tuple[str, ...]:
    """The roles that a verdict looks at: all of `ROLES` that the documents' task has."""
    return tuple(role for role in ROLES if role in batch.roles)


def can_be_judged(task: Task, batch: Batch) -> bool:
    """Whether a task can corrupt keys, and has the roles of a pair and its question."""
    return CORRUPTION in task.corruptions and set(NEEDED_ROLES) <= set(batch.roles)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Probabilities of the right answer, and how many answers were right.

    Attributes:
        sites: Paths, in the order of the computation.
        roles: Those of `ROLES` that the task has.
        clean: [document] Probability in the clean run.
        corrupted: [document] Probability with the key corrupted.
        restored: [site, role, document] Probability with one clean activation put into the
            corrupted run.
        present: [role, document] Whether the document has the role.
        runs: Documents of each run; documents of one run stand together.
        correct: [document] Right answers to its queries.
        asked: [document] Answers to its queries.
        floor: Accuracy of the best heuristic without recall.
    """

    sites: tuple[str, ...]
    roles: tuple[str, ...]
    clean: np.ndarray
    corrupted: np.ndarray
    restored: np.ndarray
    present: np.ndarray
    runs: np.ndarray
    correct: np.ndarray
    asked: np.ndarray
    floor: float

    @classmethod
    def of_grid(
        cls, grid: Grid, sites: Sequence[str], correct: np.ndarray, asked: np.ndarray, floor: float
    ) -> "Evidence":
        """What a grid holds of it.

        Args:
            grid: Grid of one run; it holds the sites, all of `ROLES` that the task has, key
                corruption and the direction restore.
            sites: Sites that are read, `verdict_sites` of the model.
            correct: [document] Right answers.
            asked: [document] Answers.
            floor: Accuracy of the best heuristic without recall.
        """
        roles = tuple(role for role in ROLES if role in grid.evaluation.roles)
        d, c, index = grid.evaluation.index(CORRUPTION, "restore", *roles)
        probability = grid.runs["probability"]
        return cls(
            sites=tuple(sites),
            roles=roles,
            clean=np.asarray(probability[CLEAN]),
            corrupted=np.asarray(probability[1 + c]),
            restored=np.stack([grid.patched[s]["probability"][d, c][index] for s in sites]),
            present=grid.present[index],
            runs=np.array([grid.present.shape[1]]),
            correct=np.asarray(correct, float),
            asked=np.asarray(asked, float),
            floor=floor,
        )

    @classmethod
    def pool(cls, runs: Sequence["Evidence"]) -> "Evidence":
        """The evidence of several runs as one; their highest floor counts.

        Raises:
            UserError: If models or tasks of the runs have different sites or roles.
        """
        first = runs[0]
        for other in runs[1:]:
            if (other.sites, other.roles) != (first.sites, first.roles):
                raise UserError(
                    "runs of different architectures, depths or tasks cannot be pooled: "
                    f"{', '.join(first.sites)} at {', '.join(first.roles)} in one, "
                    f"{', '.join(other.sites)} at {', '.join(other.roles)} in another"
                )

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(run, name) for run in runs], axis=-1)

        arrays = ("clean", "corrupted", "restored", "present", "runs", "correct", "asked")
        floor = max(run.floor for run in runs)
        return dataclasses.replace(first, floor=floor, **{name: joined(name) for name in arrays})

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.correct.sum() / self.asked.sum())

    @property
    def thin(self) -> dict[str, int]:
        """Roles that too few documents have, and how many do; a next key may be in none."""
        counts = dict(zip(self.roles, map(int, self.present.sum(axis=1)), strict=True))
        return {
            role: count
            for role, count in counts.items()
            if count < FEWEST_DOCUMENTS and (count or role in NEEDED_ROLES)
        }

    def effects(self, evaluation: EvaluationConfig) -> Effects:
        """What restoring each site at each role does to the answer.

        Args:
            evaluation: Resamples, confidence and seed.
        """
        measured = {"roles": self.roles, "corruptions": (CORRUPTION,), "directions": ("restore",)}
        changes = (self.restored - self.corrupted)[:, None, None]
        return Effects(
            EXACT,
            "probability",
            dataclasses.replace(evaluation, **measured),
            np.stack([self.clean, self.corrupted]),
            self.sites,
            self.present,
            dict(zip(self.sites, changes, strict=True)),
            documents=tuple(map(int, self.runs)),
        )

    def write(self, path: pathlib.Path) -> None:
        """Write ``evidence.npz``, from which runs can be pooled."""
        write_arrays(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: pathlib.Path) -> "Evidence":
        """Read what `write` wrote.

        Raises:
            UserError: If there is no such file, or it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {field.name: file[field.name] for field in dataclasses.fields(cls)}
        except FileNotFoundError:
            raise UserError(
                f"there is no {path}: {programs.command('intervene')} writes it"
            ) from None
        except Exception as error:  # whatever a damaged archive makes numpy raise
            raise UserError(f"{path} is damaged ({error}): intervene again") from None
        if values["correct"].shape != values["clean"].shape:
            raise UserError(f"{path} is of an earlier version: intervene again")
        names = {name: tuple(map(str, values[name])) for name in ("sites", "roles")}
        return cls(**{**values, **names, "floor": float(values["floor"])})
