"""Generation token by token, through the recurrent form."""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, narrow


def greedy(
    model: LanguageModel, params: PyTree, prompt: Int[Array, "batch length"], count: int
) -> Int[Array, "batch count"]:
    """The `count` most likely tokens after a prompt, each given those before it.

    The prompt is read token by token too: nothing but the state is kept, so the memory is
    that of `state_bytes`. Pure and traceable.

    Args:
        model: the model.
        params: its parameters.
        prompt: token ids, at least one a document.
        count: how many tokens to generate.

    Raises:
        UserError: an empty prompt, or more tokens than the model's length limit.
    """
    batch, length = prompt.shape
    limit = model.config.max_length
    if length < 1:
        raise UserError("the prompt is empty: there is nothing to go on from")
    if count < 1 or length + count > limit + 1:  # the last token is never read
        raise UserError(
            f"{count} tokens after a prompt of {length}: at least 1, and at most "
            f"{limit + 1 - length} with a max_length of {limit}"
        )
    variables = {"params": narrow(params, model.config)}

    def read(state, tokens_t):
        return model.apply(variables, state, tokens_t, method="step")

    def read_prompt(state, tokens_t):
        state, logits = read(state, tokens_t)
        return state, logits.argmax(axis=-1).astype(prompt.dtype)

    def generate(carry, _):
        state, token = carry
        state, following = read_prompt(state, token)
        return (state, following), token

    state = model.apply(variables, batch, length + count, method="initial_state")
    state, guesses = jax.lax.scan(read_prompt, state, prompt.T)
    _, generated = jax.lax.scan(generate, (state, guesses[-1]), length=count)
    return jnp.moveaxis(generated, 0, 1)


def state_bytes(config: ModelConfig, max_length: int) -> int:
    """Bytes that the recurrent form keeps of one document of `max_length` tokens.

    Counted from the state itself. Constant for a state space model; growing with the
    length for attention and for convolutions with a free filter.
    """
    if max_length > config.max_length:
        raise UserError(f"{max_length} tokens, but the model's max_length is {config.max_length}")
    model = LanguageModel(config)

    def initial_state(key):
        variables = model.init(key, jnp.zeros((1, 1), jnp.int32))
        return model.apply(variables, 1, max_length, method="initial_state")

    state = jax.eval_shape(initial_state, jax.random.key(0))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
