"""What a model is given, checked before Flax sees it.

Flax looks up tokens beyond the vocabulary as whatever stands there, and speaks of its own scopes
where parameters are another model's.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import ARRAYS, Array, Int
from mecheval_jax.errors import UserError, expect, shown
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.base import Batch

NOT_OWN = (
    flax.errors.ApplyScopeInvalidVariablesStructureError,
    flax.errors.ScopeCollectionNotFound,
    flax.errors.ScopeParamNotFoundError,
    flax.errors.ScopeParamShapeError,
)
"""Errors of Flax that mean that parameters are not those of the model."""


def tokens_of(
    model: LanguageModel, batch: Batch | Int[Array, "batch length"]
) -> Int[Array, "batch length"]:
    """Tokens of documents.

    Raises:
        UserError: If the model cannot read them. That they are in its vocabulary is not checked
            where they are traced, or lie on several hosts.
    """
    expect("the model", model, LanguageModel, "a LanguageModel, as Run.model is")
    tokens = batch.tokens if isinstance(batch, Batch) else batch
    expect("the batch", tokens, ARRAYS, "a Batch, or an array of tokens")
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise UserError(
            f"the tokens are {tokens.dtype}{list(tokens.shape)}: they must be whole numbers, "
            "[documents, length]"
        )
    if not tokens.shape[1]:
        raise UserError(
            f"the tokens are {tokens.dtype}{list(tokens.shape)}: the documents are empty, where a "
            "model reads at least one token of each"
        )
    _check_range("tokens", tokens, "the model's vocabulary has", model.config.vocabulary_size)
    return tokens


def check_count(name: str, count: Any) -> None:
    """Check that an argument is a whole number of at least 1.

    Raises:
        UserError: If it is not.
    """
    is_whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
    if not is_whole or count < 1:
        raise UserError(f"{name} is {shown(count)}: it takes a whole number, at least 1")


def check_positions(positions: Int[Array, "batch queries"] | None, length: int) -> None:
    """Check that positions lie in documents of a length; not where they are traced.

    Raises:
        UserError: If one does not: there is nothing to read.
    """
    if positions is not None:
        _check_range("positions", positions, "the documents have", length)


def _check_range(what: str, numbers: Int[Array, "..."], where: str, count: int) -> None:
    """Check that numbers are 0 to `count` - 1, as far as this process knows them."""
    # Of several processes each has a part of the documents.
    if isinstance(numbers, jax.core.Tracer) or not getattr(numbers, "is_fully_addressable", True):
        return
    known = np.asarray(numbers)
    if known.size and (known.min() < 0 or known.max() >= count):
        raise UserError(f"{what} are {known.min()} to {known.max()}: {where} 0 to {count - 1}")


@contextlib.contextmanager
def own_parameters() -> Iterator[None]:
    """Where a model is applied to parameters.

    Raises:
        UserError: If they are not those of the model.
    """
    try:
        yield
    except NOT_OWN as error:
        said = str(error).partition(" (https:")[0].splitlines()[0]
        raise UserError(
            f"the params are not those of this model, as Run.params are: {said}"
        ) from None
