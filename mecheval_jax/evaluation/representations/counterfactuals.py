"""Pairs of documents that differ in one variable, and the answer that its exchange must give.

A base document is run with a variable of a source document put into it. For one of the task's
corruptions, ``key`` or ``value`` in recall,

    base = the document with the token at that role replaced,   source = the document itself,
    expected = the document's answer.

The key's base asks for an item that the document does not hold, and the source's key brings it
back. As no other pair competes with it, a small part of the key may suffice, as random subspaces
then show. The value's base has another answer, which the source's value must overcome. For
``association``,

    base = the document with the question of another document,   source = that document,
    expected = the other document's answer,

which only a pair that is moved into the base can give. Documents are left out if base or source
lacks the role, and associations if the base already has the item or the answer, if the questions
are not equally long, or if key and value are one token, as in stacked recall: then no token of the
base tells whether it has the item or the answer.
"""

import flax.struct
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Key
from mecheval_jax.errors import choose
from mecheval_jax.tasks import held_out
from mecheval_jax.tasks.base import PAIR, Batch, Task, asked_positions
from mecheval_jax.tasks.geometry import question_of

ASSOCIATION = "association"


@flax.struct.dataclass
class Counterfactual:
    """Base and source documents, row by row.

    Attributes:
        base: Documents that are run; their answers are those expected after the exchange.
        source: Documents whose variable is put into the base.
        valid: Whether the expected answer of a document is well defined.
    """

    base: Batch
    source: Batch
    valid: Bool[Array, " documents"]


def variables_of(task: Task) -> tuple[str, ...]:
    """The variables of a task that have counterfactuals."""
    return (*task.corruptions, ASSOCIATION)


def counterfactual(task: Task, batch: Batch, variable: str, key: Key) -> Counterfactual:
    """Base and source documents for a variable, made from the queries 0 of a batch.

    Args:
        task: Task that can corrupt its documents.
        batch: Documents; for an association, the source of each is the next one.
        variable: One of `variables_of`.
        key: Key of the replaced tokens.

    Raises:
        UserError: If the task has no such variable.
    """
    choose("variable", variable, variables_of(task))
    own = batch.replace(tokens=batch.tokens[:, : task.read_length])
    if variable != ASSOCIATION:
        corrupted = task.corrupt(key, batch, variable)[:, : task.read_length]
        return Counterfactual(own.replace(tokens=corrupted), own, own.roles[variable][:, 0] >= 0)
    other = jax.tree.map(lambda x: jnp.roll(x, -1, axis=0), own)
    item = jnp.take_along_axis(other.tokens, asked_positions(other)[:, :1], axis=1)
    # The whole question: where it has several tokens, they all say what is asked.
    (begins, ends), (others_begin, others_end) = question_of(own), question_of(other)
    length = own.tokens.shape[1]  # documents may all be shorter than the longest of the task
    index = jnp.arange(length)[None]
    context = jnp.where(index < begins[:, None], own.tokens, -1)
    known = ((context == item) | (context == other.targets[:, :1])).any(axis=1)
    place = jnp.clip(index + (others_begin - begins)[:, None], 0, length - 1)
    here = (index >= begins[:, None]) & (index <= ends[:, None])
    base = jnp.where(here, jnp.take_along_axis(other.tokens, place, axis=1), own.tokens)
    valid = ~known & ~_are_one(own) & (ends - begins == others_end - others_begin)
    return Counterfactual(own.replace(tokens=base, targets=other.targets), other, valid)


def _are_one(batch: Batch) -> Bool[Array, " documents"]:
    """Whether the key of each document is one token with its value."""
    if not {"key", "value"} <= set(batch.roles):
        return jnp.zeros(len(batch.tokens), bool)
    key, value = (batch.roles[role][:, 0] for role in PAIR)
    return (key >= 0) & (key == value)


def apart(pairs: Counterfactual, tested: int) -> Counterfactual:
    """The same pairs, in an order in which the first ones are to be held out.

    They are sorted by a hash of the association that they expect, the asked item and its answer. Of
    the others those do not count that expect the association at which the two parts meet.

    Args:
        pairs: Base and source documents.
        tested: Number of documents that are held out.
    """
    asked = asked_positions(pairs.base)[:, :1]
    item = jnp.take_along_axis(pairs.base.tokens, asked, axis=1)[:, 0]
    association = held_out.cells(0, item, pairs.base.targets[:, 0])
    order = jnp.argsort(association)
    association, pairs = association[order], jax.tree.map(lambda x: x[order], pairs)
    fitted = jnp.arange(len(order)) >= tested
    meeting = association == association[tested - 1]
    return pairs.replace(valid=pairs.valid & ~(fitted & meeting))


def present(pairs: Counterfactual, role: str) -> Bool[Array, " documents"]:
    """Whether each document counts where activations are exchanged at a role."""
    positions = [batch.roles[role][:, 0] for batch in (pairs.base, pairs.source)]
    return pairs.valid & (positions[0] >= 0) & (positions[1] >= 0)
