"""The state of training, of one run or along a leading axis of members; and divergence.

Members differ in `HYPERPARAMETERS` alone. A member that is done, has reached its target or has
diverged keeps its state from then on, whatever the others do: its steps are a loop that ends, and
under `jax.vmap` a loop that has ended keeps its values. `Policy` says what divergence leads to.
"""

import enum
import typing

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mecheval_jax.array_types import Array, Bool, Int, Key, PyTree, Shaped
from mecheval_jax.errors import UserError
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.optimizer import Hyperparameters, new_opt_state

NEVER = -1
"""Value of `diverged_at` and `stopped_at` of a member that did neither."""


@typing.no_type_check  # as a tree it also holds shapes and shardings
@flax.struct.dataclass
class TrainState:
    """Everything that a step reads and writes.

    Attributes:
        step: Number of steps taken; it also decides which documents come next.
        params: Parameters of the model.
        opt_state: Adam's running means.
        hyperparameters: Settings in which runs of one shape differ.
        key: Key of the documents; folded with the step.
        diverged_at: Step whose loss or update was not finite, or after which the loss on dev
            documents was not; `NEVER` if there was none.
        stopped_at: Step at which the target accuracy was reached; `NEVER` if it was not.
    """

    step: Int[Array, ""]
    params: PyTree
    opt_state: optax.OptState
    hyperparameters: Hyperparameters
    key: Key
    diverged_at: Int[Array, ""]
    stopped_at: Int[Array, ""]

    @property
    def learns(self) -> Bool[Array, ""]:
        """Whether there are steps left to take."""
        unfinished = self.step < self.hyperparameters.steps
        return unfinished & (self.diverged_at == NEVER) & (self.stopped_at == NEVER)


HYPERPARAMETERS = {
    "learning_rate": np.float32,
    "weight_decay": np.float32,
    "beta1": np.float32,
    "beta2": np.float32,
    "steps": np.int32,
    "seed": np.uint32,
    "data_seed": np.uint32,
}
"""Fields of `TrainingConfig` in which runs of one shape may differ, and their types as data."""


def hyperparameters_of(training: TrainingConfig) -> Hyperparameters:
    """The hyperparameters of a config, as arrays on the host."""
    return Hyperparameters(
        **{name: kind(getattr(training, name)) for name, kind in HYPERPARAMETERS.items()}
    )


def document_key(hyperparameters: Hyperparameters) -> Key:
    """The key of a run's documents. Traceable."""
    return jax.random.key(hyperparameters.data_seed)


def new_state(model: ModelConfig, hyperparameters: Hyperparameters) -> TrainState:
    """The state before the first step. Traceable."""
    params = initialize(model, jax.random.key(hyperparameters.seed))
    never = jnp.full((), NEVER, jnp.int32)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=new_opt_state(params),
        hyperparameters=jax.tree.map(jnp.asarray, hyperparameters),
        key=document_key(hyperparameters),
        diverged_at=never,
        stopped_at=never,
    )


SAVED = {
    "step": "step",
    "params": "params",
    "opt_state": "moments",
    "diverged_at": "diverged_at",
    "stopped_at": "stopped_at",
}
"""Fields that a checkpoint holds, and their names there; all else follows from the config."""


def saved_part(state: TrainState) -> dict[str, PyTree]:
    """The part of a state, or of an abstract one, that a checkpoint holds."""
    return {name: getattr(state, field) for field, name in SAVED.items()}


def restored_state(
    saved: dict[str, PyTree], hyperparameters: Hyperparameters, key: Shaped[Key, "..."]
) -> TrainState:
    """The state of a checkpoint that holds its `saved_part`."""
    fields = {field: saved[name] for field, name in SAVED.items()}
    return TrainState(**fields, hyperparameters=hyperparameters, key=key)


@jax.jit
def _copied(flags: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.copy(jnp.atleast_1d(leaf)), flags)


def flags_of(state: TrainState) -> dict[str, Int[Array, " members"] | Bool[Array, " members"]]:
    """Progress of every member for the host, in copies, as the state itself is donated."""
    names = ("step", "diverged_at", "stopped_at", "learns")
    return _copied({name: getattr(state, name) for name in names})


class Policy(enum.Enum):
    """The divergence policy: what happens when a loss or a state is not finite.

    ``RAISE``
        training ends with `Diverged`: the policy of a single run.
    ``FREEZE``
        the member keeps its state from before that step, and the others go on: the policy of a
        sweep. The step itself checks every number that it writes.
    """

    RAISE = "raise"
    FREEZE = "freeze"


class Diverged(UserError):
    """The loss, or the state that training would go on from, is no longer finite.

    Attributes:
        step: Index of the step whose loss or update was not finite.
    """

    def __init__(self, step: int, what: str, learning_rate: float, last_good: int | None):
        kept = f"the checkpoint of step {last_good} is kept" if last_good else "no checkpoint yet"
        # The first loss is that of initial parameters, on which no rate has had an effect.
        options = "" if step else ", or look at the options of the mixers"
        super().__init__(
            f"training diverged: {what} at step {step} with learning rate "
            f"{learning_rate:g} ({kept}): take a lower learning rate{options}"
        )
        self.step = step
