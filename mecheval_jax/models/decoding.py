"""Generation of tokens with the recurrent form of a model."""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.models.arguments import check_count, own_parameters, tokens_of
from mecheval_jax.models.language_model import (
    LanguageModel,
    ModelConfig,
    parameter_shapes,
)
from mecheval_jax.tasks.base import Batch


def greedy(
    model: LanguageModel, params: PyTree, prompt: Batch | Int[Array, "batch length"], count: int
) -> Int[Array, "batch count"]:
    """Continue a prompt by `count` tokens, each the most likely one after those before it.

    The prompt is read token by token as well, so that nothing but the state is kept; the memory
    is that of `state_bytes`. Pure and traceable.

    Args:
        model: Model that generates.
        params: Parameters of the model.
        prompt: Token ids, at least one in each document; or documents, of which all tokens are
            read.
        count: Number of tokens that are generated.

    Raises:
        UserError: If the prompt is empty or no tokens of the model, the count is no whole number,
            the tokens exceed the model's length limit, or the parameters are another model's.
    """
    tokens = tokens_of(model, prompt).astype(jnp.int32)  # ids that follow may need more bits
    batch, length = tokens.shape
    limit = model.config.max_length
    check_count("count", count)
    if length > limit:
        raise UserError(f"a prompt of {length} tokens: at most {limit}, the model's max_length")
    if length + count > limit + 1:
        raise UserError(
            f"{count} tokens after a prompt of {length}: at most {limit + 1 - length} with a "
            f"max_length of {limit}"
        )
    variables = {"params": params}

    def guess(state: PyTree, tokens_t: Int[Array, " batch"]) -> tuple[PyTree, Array]:
        state, logits = model.apply(variables, state, tokens_t, method="step")
        return state, logits.argmax(axis=-1).astype(jnp.int32)

    def generate(carry: tuple[PyTree, Array], _: None) -> tuple[tuple[PyTree, Array], Array]:
        carry = guess(*carry)
        return carry, carry[1]

    # The last token that is generated is not read, so the state needs one token less.
    with own_parameters(model, params):
        state = model.apply(variables, batch, length + count - 1, method="initial_state")
        state, guesses = jax.lax.scan(guess, state, tokens.T)
    _, others = jax.lax.scan(generate, (state, guesses[-1]), length=count - 1)
    return jnp.concatenate([guesses[-1:], others]).T


def state_bytes(config: ModelConfig, max_length: int, shapes: PyTree | None = None) -> int:
    """Size in bytes of the recurrent state after one document of `max_length` tokens.

    It is counted from the state itself. It is constant for a state space model, and grows with
    the length for attention and for convolutions with a free filter.

    Args:
        config: Config of the model.
        max_length: Tokens of the document.
        shapes: The model's `parameter_shapes`, where they are known already.

    Raises:
        UserError: If there is no such length, or a mixer has no recurrent form.
    """
    check_count("max_length", max_length)
    model = LanguageModel(config)

    def initial_state(params: PyTree) -> PyTree:
        return model.apply({"params": params}, 1, max_length, method="initial_state")

    state = jax.eval_shape(initial_state, parameter_shapes(config) if shapes is None else shapes)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def known_state_bytes(
    config: ModelConfig, max_length: int, shapes: PyTree | None = None
) -> int | None:
    """`state_bytes`, or None of a model with a mixer that has no recurrent form."""
    try:
        return state_bytes(config, max_length, shapes)
    except UserError:
        return None
