"""Options of the evaluation of a run, and of its further analyses."""

import dataclasses

from mecheval_jax.errors import UserError, choose
from mecheval_jax.fields import POSITIVE, SHARE, Section
from mecheval_jax.tasks.base import SPLITS, Task
from mecheval_jax.tasks.scoring import MEASURES

RESTORE, DAMAGE = DIRECTIONS = ("restore", "damage")
"""Clean activations into the corrupted run, and corrupted ones into the clean run."""

CORRUPTION = "key"
"""Corruption that figures, tables and circuits of a run show if it was measured."""

FEWEST_RESAMPLES = 50
"""Least number of bootstrap samples: of fewer, intervals of 95 % are ones of less than 90 %."""

EDGE_METHODS = ("exact", "eap", "eap_ig", "eap_ig_activations", "atp_star")
"""Methods of `patching.edge_scores`."""


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Section, section="evaluation"):
    """Documents, roles, corruptions and intervals of the evidence.

    Attributes:
        documents: Number of evaluation documents (the study: 320).
        split: Split of the documents; ``train`` gives other documents than a training has had,
            drawn alike, except of the user's own file, which has no others.
        roles: Positions at which activations are exchanged.
        corruptions: Roles whose token is replaced.
        directions: ``restore`` puts clean activations into the corrupted run,
            ``damage`` corrupted ones into the clean run.
        resamples: Number of bootstrap samples over documents.
        confidence: Confidence of all intervals.
        seed: Seed of corruptions and resamples.
        chunk: Number of patched runs computed at once; 1 skips those that change nothing.
    """

    documents: int = 320
    split: str = "test"
    roles: tuple[str, ...] = ("key", "value", "next_key", "divider", "query")
    corruptions: tuple[str, ...] = ("key", "value")
    directions: tuple[str, ...] = DIRECTIONS
    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0
    chunk: int = 1

    def check(self) -> None:
        """Check names, which are each given once, and bounds."""
        choose("evaluation.split", self.split, SPLITS)
        lists = ("roles", "corruptions", "directions")
        self.some(*lists)
        self.once(*lists)
        for direction in self.directions:
            choose("evaluation.directions", direction, DIRECTIONS)
        self.at_least(1, "documents", "chunk")
        self.at_least(FEWEST_RESAMPLES, "resamples")
        self.require(SHARE, "confidence")

    def index(self, corruption: str, direction: str, *roles: str) -> tuple[int, int, list[int]]:
        """Indices of a direction, a corruption and roles: the first axes of measured arrays."""
        return (
            self.directions.index(direction),
            self.corruptions.index(corruption),
            [self.roles.index(role) for role in roles],
        )

    def check_against(self, task: Task, *, interventions: bool = True) -> None:
        """Check that documents have the roles and the corruptions of the evaluation.

        Args:
            task: Task of the documents.
            interventions: Whether interventions will be made, which need all roles and corruptions.
                Otherwise only names that the task never has are refused.

        Raises:
            UserError: If a role or a corruption of the evaluation does not exist; it says why.
        """
        absent = task.absent()
        for kind, names, present in (
            ("role", self.roles, task.role_names),
            ("corruption", self.corruptions, task.corruptions),
        ):
            for name in names:
                if name not in absent:
                    choose(f"{kind} in evaluation.{kind}s", name, present)
                elif name not in present and interventions:
                    others = f"name others ({', '.join(present)})" if present else "there is none"
                    raise UserError(
                        f"evaluation.{kind}s: there is no {kind} {name!r}, since {absent[name]}; "
                        f"add it to the documents, or {others}"
                    )


@dataclasses.dataclass(frozen=True)
class GradientsConfig(Section, section="analyses.gradients"):
    """Attribution by gradient; see `patching.attribution_patching`.

    Attributes:
        steps: Number of equal parts of the line from the corrupted to the clean embedding.
        measure: Measure of the answer, ``probability`` or ``logit``.
    """

    steps: int = 8
    measure: str = "probability"

    def check(self) -> None:
        """Check the measure and bounds."""
        choose(f"{self.section}.measure", self.measure, MEASURES)
        self.at_least(1, "steps")


@dataclasses.dataclass(frozen=True)
class CircuitsConfig(GradientsConfig, section="analyses.circuits"):
    """Edges that carry the answer; see `patching.circuits`.

    Attributes:
        draws: Number of random circuits of every size.
        ports: Sites at which edges enter a mixer: ``auto`` for all that it has, ``none`` for mixers
            as a whole, or names of sites.
        methods: Methods by which edges are ranked, some of `EDGE_METHODS`.
    """

    draws: int = 10
    ports: tuple[str, ...] = ("auto",)
    methods: tuple[str, ...] = ("eap", "eap_ig")

    def check(self) -> None:
        """Check names and bounds."""
        super().check()
        self.at_least(1, "draws")
        self.some("ports", "methods")
        self.once("ports", "methods")
        for method in self.methods:
            choose(f"{self.section}.methods", method, EDGE_METHODS)


@dataclasses.dataclass(frozen=True)
class ProbesConfig(Section, section="analyses.probes"):
    """Fit and test of linear probes; see `representations.probes`.

    Attributes:
        documents: Least number of documents for fit and test together.
        targets: Roles whose token is read off, and ``pair`` for key and value together; those of
            key, value and pair that the documents have if None.
        test_share: Share of the documents that are held out.
        ridge: Penalty on the weights.
    """

    documents: int = 2048
    targets: tuple[str, ...] | None = None
    test_share: float = 0.25
    ridge: float = 1e-2

    def check(self) -> None:
        """Check targets and bounds."""
        self.some("targets")
        self.once("targets")
        self.at_least(1, "documents")
        self.require(SHARE, "test_share")
        self.require(POSITIVE, "ridge")


@dataclasses.dataclass(frozen=True)
class SubspacesConfig(Section, section="analyses.subspaces"):
    """Search and test of a subspace; see `representations.das`.

    Attributes:
        documents: Least number of documents for search and test together.
        dimensions: Number of dimensions of the subspace.
        steps: Number of steps of Adam.
        learning_rate: Learning rate of Adam.
        batch_size: Number of documents of a step, drawn from those that are not held out.
        test_share: Share of the documents that are held out.
    """

    documents: int = 2048
    dimensions: int = 8
    steps: int = 200
    learning_rate: float = 0.02
    batch_size: int = 64
    test_share: float = 0.25

    def check(self) -> None:
        """Check bounds."""
        self.at_least(1, "documents", "dimensions", "steps", "batch_size")
        self.require(POSITIVE, "learning_rate")
        self.require(SHARE, "test_share")


@dataclasses.dataclass(frozen=True)
class GeneralizationConfig(Section, section="analyses.generalization"):
    """Other documents than in training; see `memory.generalization`.

    Attributes:
        settings: Changes of the task, ``pairs=16`` or ``pairs=16+queries=4``; half, twice and four
            times the size, as far as they can be, if None.
    """

    settings: tuple[str, ...] | None = None

    def check(self) -> None:
        """Check that there are settings, unless they are left to the analysis."""
        self.some("settings", give="give field=value")
        self.once("settings")


@dataclasses.dataclass(frozen=True)
class CapacityConfig(Section, section="analyses.capacity"):
    """Numbers of pairs at which recall is measured; see `memory.capacity`.

    Attributes:
        pairs: Numbers of pairs, rising; powers of two up to the task's, and that, if None.
    """

    pairs: tuple[int, ...] | None = None

    def check(self) -> None:
        """Check that the numbers rise, unless they are left to the analysis."""
        pairs = self.pairs
        if pairs is None:
            return
        if len(pairs) < 2 or pairs[0] < 1 or list(pairs) != sorted(set(pairs)):
            told = ",".join(map(str, pairs))
            raise UserError(
                f"{self.section}.pairs is {told}: at least two numbers from 1 on, rising"
            )


def count_held_out(section: str, share: float, documents: int) -> int:
    """Number of documents that are held out.

    Args:
        section: Section of the config that holds the share.
        share: Its ``test_share``.
        documents: Number of all documents.

    Raises:
        UserError: If no document would be left to fit, or none to hold out.
    """
    tested = round(share * documents)
    if not 0 < tested < documents:
        raise UserError(
            f"{documents} documents with analyses.{section}.test_share {share}: there must be "
            "some to fit and some to hold out"
        )
    return tested


@dataclasses.dataclass(frozen=True)
class AnalysesConfig(Section, section="analyses"):
    """Options of those analyses in `evaluation.analyses` that have any, by the analysis's name."""

    gradients: GradientsConfig = GradientsConfig()
    circuits: CircuitsConfig = CircuitsConfig()
    probes: ProbesConfig = ProbesConfig()
    subspaces: SubspacesConfig = SubspacesConfig()
    generalization: GeneralizationConfig = GeneralizationConfig()
    capacity: CapacityConfig = CapacityConfig()
