"""The three programs whose cost is measured, each for one model and one length of context.

    training  gradient of a loss at the last token of each document, and AdamW
    prefill   logits after a whole document, all tokens at once
    decode    the last `DECODED` tokens one after another, from the recurrent state before them

Prefill is the parallel form, which leaves no state: a program that goes on with `decode` has to
compute the state as well. Training reads logits at one query, as tasks here ask; a loss at all
tokens, as in a language model, adds 6 x width x vocabulary operations a token. The loss is that of
token 0 as the answer of every document: which token it is changes no cost.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, Int, PyTree, Scalar
from mecheval_jax.evaluation.cost import operations
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.optimizer import new_opt_state, update
from mecheval_jax.training.state import hyperparameters_of

DECODED = 8
"""Number of tokens that one call of the decode program reads, one after another."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A function with its arguments, not yet compiled.

    Attributes:
        function: Traceable function.
        make: Function that makes the arguments; their shapes are known without a call of it.
        tokens: Number of tokens that one call reads.
    """

    function: Callable[..., PyTree]
    make: Callable[[], tuple[PyTree, ...]]
    tokens: int

    def count(self) -> operations.Count:
        """Operations and traffic of one call, counted without running it."""
        return operations.count(self.function, *jax.eval_shape(self.make))

    def compile(self) -> jax.stages.Compiled:
        """The function, compiled from the shapes alone."""
        return jax.jit(self.function).lower(*jax.eval_shape(self.make)).compile()


def training(model: ModelConfig, length: int, batch: int) -> Program:
    """A step of the cost of training on `batch` documents of `length` tokens."""

    def step(params: PyTree, opt_state: PyTree, tokens: Int[Array, "batch length"]) -> PyTree:
        gradients = jax.grad(loss)(params, tokens)
        values = hyperparameters_of(TrainingConfig(steps=1))
        return update(gradients, opt_state, params, values, jnp.ones(()))

    def loss(params: PyTree, tokens: Int[Array, "batch length"]) -> Scalar:
        logits = _at_the_end(model, params, tokens)
        return -jax.nn.log_softmax(logits, axis=-1)[:, 0].mean()

    def make() -> tuple[PyTree, ...]:
        params = initialize(model, jax.random.key(0))
        return params, new_opt_state(params), _tokens(model, batch, length)

    return Program(step, make, batch * length)


def prefill(model: ModelConfig, length: int, batch: int) -> Program:
    """Logits after `batch` documents of `length` tokens."""

    def make() -> tuple[PyTree, ...]:
        return initialize(model, jax.random.key(0)), _tokens(model, batch, length)

    return Program(lambda *args: _at_the_end(model, *args), make, batch * length)


def decode(model: ModelConfig, length: int, batch: int) -> Program:
    """`DECODED` tokens one after another, as at the end of `batch` documents of `length` tokens.

    The state has the size that such a document leaves; its content does not change the time.

    Raises:
        UserError: If a mixer of the model has no recurrent form.
    """
    language_model = LanguageModel(model)

    def read(params: PyTree, state: PyTree, tokens: Int[Array, "batch tokens"]) -> PyTree:
        def one(state: PyTree, tokens_t: Int[Array, " batch"]) -> tuple[PyTree, Array]:
            return language_model.apply({"params": params}, state, tokens_t, method="step")

        state, logits = jax.lax.scan(one, state, tokens.T)
        return state, logits[-1]

    def make() -> tuple[PyTree, ...]:
        params = initialize(model, jax.random.key(0))
        state = language_model.apply({"params": params}, batch, length, method="initial_state")
        state |= {"position": jnp.asarray(max(length - DECODED, 0), jnp.int32)}
        return params, state, _tokens(model, batch, min(DECODED, length))

    return Program(read, make, batch * min(DECODED, length))


PROGRAMS = {"training": training, "prefill": prefill, "decode": decode}


def _tokens(model: ModelConfig, batch: int, length: int) -> Int[Array, "batch length"]:
    return jnp.asarray(
        np.random.default_rng(0).integers(0, model.vocabulary_size, (batch, length)), jnp.int32
    )


def _at_the_end(
    model: ModelConfig, params: PyTree, tokens: Int[Array, "batch length"]
) -> Float[Array, "batch vocabulary"]:
    last = jnp.full((len(tokens), 1), tokens.shape[1] - 1)
    logits = LanguageModel(model).apply({"params": params}, tokens, last, skip_unread=True)
    return logits[:, 0]
