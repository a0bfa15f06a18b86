"""What a model is given, checked before Flax sees it.

Flax looks up tokens beyond the vocabulary as whatever stands there, and speaks of its own scopes
where parameters are another model's.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from mecheval_jax.array_types import ARRAYS, Array, Int, PyTree
from mecheval_jax.errors import UserError, expect, shown
from mecheval_jax.models.language_model import LanguageModel, parameter_shapes
from mecheval_jax.tasks.base import Batch

NOT_OWN = (
    flax.errors.ApplyScopeInvalidVariablesStructureError,
    flax.errors.ApplyScopeInvalidVariablesTypeError,
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
    if not tokens.size:
        lacks = "the documents are empty" if len(tokens) else "there are no documents"
        raise UserError(
            f"the tokens are {tokens.dtype}{list(tokens.shape)}: {lacks}, where a model reads at "
            "least one token of each of at least one"
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
def own_parameters(model: LanguageModel, params: PyTree) -> Iterator[None]:
    """Where a model is applied to parameters.

    Flax itself finds those that are missing or have another shape, and takes no notice of others:
    of a model with more layers it would use the first ones.

    Raises:
        UserError: If they are not those of the model.
    """
    refused = "the params are not those of this model, as Run.params are"
    if not isinstance(params, Mapping):
        raise UserError(f"{refused}: they are {shown(params, 44)}, of type {type(params).__name__}")
    if extra := sorted(_paths(params) - _paths(parameter_shapes(model.config))):
        more = f" and {len(extra) - 3} others" * (len(extra) > 3)
        raise UserError(f"{refused}: it has no {', '.join(extra[:3])}{more}")
    try:
        yield
    except NOT_OWN as error:
        said = str(error).partition(" (https:")[0].splitlines()[0]
        raise UserError(f"{refused}: {said}") from None


def _paths(params: PyTree) -> set[str]:
    """Paths of all parameters of a tree."""
    return {"/".join(map(str, path)) for path in flatten_dict(params)}
