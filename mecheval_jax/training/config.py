"""The config of training: schedule, batches, evaluations and checkpoints."""

import dataclasses
import math

import numpy as np

from mecheval_jax.errors import UserError, choose
from mecheval_jax.fields import Section
from mecheval_jax.models.blocks import REMAT
from mecheval_jax.training.optimizer import DECAYS, MOST_PARTS, fraction
from mecheval_jax.training.replay import Replay

MOST_STEPS = 1_000_000
"""Number of steps of one program, whose losses the device holds until it ends."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Section, section="training"):
    """How a run is trained; the defaults are the study's, except for the number of steps.

    Attributes:
        steps: Number of optimizer steps.
        batch_size: Number of documents of a step.
        learning_rate: Highest rate of the schedule.
        weight_decay: Decoupled decay of every parameter.
        exempt_from_decay: Whether parameters that the authors of a mixer exempt do not decay.
        scaled_rates: Whether parameters of which the authors of a mixer multiply the learning
            rate have theirs.
        beta1: Decay of Adam's running mean of gradients.
        beta2: Decay of Adam's running mean of their squares.
        warmup_fraction: Share of the steps in which the rate rises linearly from 0.
        decay: Form of the schedule after the warm-up: ``cosine``, ``linear`` or ``constant``.
        training_batches: Number of batches of a fixed training set that is replayed; None for
            fresh documents at every step.
        shuffle: Whether the batches of the fixed set come in another order each time; the study
            replays them as they are.
        seed: Seed of the initialisation.
        data_seed: Seed of the documents.
        evaluate_every: Number of steps between evaluations on dev documents.
        evaluation_documents: Number of documents of such an evaluation.
        target_accuracy: Accuracy on them, from 0 to 1, at which training ends early; None for
            never.
        checkpoint_every: Number of steps between checkpoints.
        keep_checkpoints: Number of the newest checkpoints that are kept; all if None or 0.
        milestones: Number of checkpoints on the way, evenly spread over the steps, that are kept
            besides, so that the verdict can be followed through training.
        steps_per_dispatch: Number of steps that are dispatched as one program.
        gradient_accumulation: Number of micro-batches into which the batch of a step is cut, one
            after another, so that only one of them needs memory.
        remat: Rematerialisation, the part of the forward pass that the backward pass computes
            again: ``none`` of it, all but the outputs of dense layers (``dots``), or all but the
            residual stream between blocks (``full``).
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    exempt_from_decay: bool = False
    scaled_rates: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    warmup_fraction: float = 0.1
    decay: str = "cosine"
    training_batches: int | None = None
    shuffle: bool = False
    seed: int = 0
    data_seed: int = 0
    evaluate_every: int = 500
    evaluation_documents: int = 320
    target_accuracy: float | None = None
    checkpoint_every: int = 5000
    keep_checkpoints: int | None = 2
    milestones: int = 0
    steps_per_dispatch: int = 100
    gradient_accumulation: int = 1
    remat: str = "none"

    def check(self) -> None:
        """Check names and bounds, and that micro-batches are of one size."""
        choose("training.decay", self.decay, DECAYS)
        choose("training.remat", self.remat, REMAT)
        self.at_least(1, "steps", "batch_size", "evaluate_every", "evaluation_documents")
        self.at_least(1, "checkpoint_every", "gradient_accumulation")
        most = (f"1 to {MOST_STEPS:,}", lambda x: 1 <= x <= MOST_STEPS)
        self.require(most, "steps_per_dispatch")
        if self.batch_size % self.gradient_accumulation:
            raise UserError(
                f"training.batch_size {self.batch_size} does not divide into "
                f"{self.gradient_accumulation} micro-batches (training.gradient_accumulation)"
            )
        self.require(("at least 0, or None", lambda x: x is None or x >= 0), "keep_checkpoints")
        self.require(("at least 1, or None", lambda x: x is None or x >= 1), "training_batches")
        self.at_least(0, "milestones")
        if self.shuffle and self.training_batches is None:
            raise UserError(
                "training.shuffle True needs a fixed set, training.training_batches: fresh "
                "documents have no order"
            )
        # Steps are computed in float32, in which 0.99999999 is 1 and a mean that never moves.
        self.require(("in [0, 1), as float32", lambda x: 0 <= np.float32(x) < 1), "beta1", "beta2")
        self.require(("in [0, 1)", lambda x: 0 <= x < 1), "warmup_fraction")
        share = fraction(self.warmup_fraction)
        if not math.isclose(share, self.warmup_fraction, rel_tol=1e-12):
            raise UserError(
                f"training.warmup_fraction {self.warmup_fraction} has a denominator above "
                f"{MOST_PARTS:,}, whose number of steps is not exact: take {float(share):.4g}"
            )
        self.require(("0 or positive", lambda x: x >= 0), "learning_rate", "weight_decay")
        target = ("in (0, 1], or None", lambda x: x is None or 0 < x <= 1)
        self.require(target, "target_accuracy")

    @property
    def replay(self) -> Replay:
        """The fixed set of a run, and the order of its batches."""
        return Replay(self.training_batches, self.shuffle)

    # Stops of the loop are functions of the step alone, so that a resumed run makes the same ones.

    @property
    def _intervals(self) -> tuple[int, ...]:
        return self.steps_per_dispatch, self.evaluate_every, self.checkpoint_every

    def next_stop(self, step: int) -> int:
        """The next step at which the loop returns to the host.

        It is the next multiple of any interval: a resumed run stops where an undisturbed one does.
        """
        return min(self.steps, *((step // every + 1) * every for every in self._intervals))

    def is_saved(self, step: int) -> bool:
        """Whether a run that nothing disturbs has a checkpoint of a step."""
        return step == self.steps or step % self.checkpoint_every == 0

    def is_milestone(self, step: int) -> bool:
        """Whether the checkpoint of a step stays: the first in or behind a share of the steps.

        There is one for each of the shares i / (milestones + 1), with i from 1 to milestones.
        """
        shares = self.milestones + 1
        before = max(step - self.checkpoint_every, 0)
        return step * shares // self.steps > before * shares // self.steps

    def is_stop(self, step: int) -> bool:
        """Whether the loop returns to the host at a step."""
        return step == self.steps or any(step % every == 0 for every in self._intervals)

    def is_evaluation(self, step: int) -> bool:
        """Whether the model is evaluated on dev documents at a step."""
        return step == self.steps or step % self.evaluate_every == 0
