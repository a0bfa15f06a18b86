"""Pairs of documents that differ in one variable, and the answer that its exchange must give.

A base document is run with a variable of a source document put into it. For one of the task's
corruptions, ``key`` or ``value`` in recall,

    base = the document with the token at that role replaced,   source = the document itself,
    expected = the document's answer.

The key's base asks for an item that stands nowhere, and the source's key brings it back; with no
other pair to win against, a small part of it may do, as random subspaces then show. The value's
base has another answer, and the source's value must win against it. For ``association``,

    base = the document, asked for the item that another document asks,   source = that document,
    expected = the other document's answer,

which nothing in the base but a pair that is moved into it can give. Left out are documents that
lack the role in base or source, and associations whose item or answer the base has already.
"""

import flax.struct
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Int, Key
from mecheval_jax.errors import choose
from mecheval_jax.tasks.base import Batch, Task, replace_at

ASSOCIATION = "association"


@flax.struct.dataclass
class Counterfactual:
    """Base and source documents, row by row.

    Attributes:
        base: tokens that are run.
        source: tokens of the document whose variable is put in.
        base_query: where the base's answer is read.
        source_query: where the source's is.
        base_roles: positions of each role in the base, of query 0.
        source_roles: those in the source.
        expected: the answer to the base once the variable is exchanged.
        valid: whether the answer is well defined.
    """

    base: Int[Array, "documents length"]
    source: Int[Array, "documents length"]
    base_query: Int[Array, " documents"]
    source_query: Int[Array, " documents"]
    base_roles: dict[str, Int[Array, " documents"]]
    source_roles: dict[str, Int[Array, " documents"]]
    expected: Int[Array, " documents"]
    valid: Bool[Array, " documents"]


def variables_of(task: Task) -> tuple[str, ...]:
    """The variables of a task that have counterfactuals."""
    return (*task.corruptions, ASSOCIATION)


def counterfactual(task: Task, batch: Batch, variable: str, key: Key) -> Counterfactual:
    """Base and source documents for a variable, made from the queries 0 of a batch.

    Args:
        task: which can corrupt its documents.
        batch: the documents; for an association each has the next one for its source.
        variable: one of `variables_of`.
        key: of the replaced tokens.

    Raises:
        UserError: an unknown variable.
    """
    choose("variable", variable, variables_of(task))
    roles = {name: positions[:, 0] for name, positions in batch.roles.items()}
    query, answer = batch.query_positions[:, 0], batch.targets[:, 0]
    length = task.read_length
    if variable != ASSOCIATION:
        return Counterfactual(
            base=task.corrupt(key, batch, variable)[:, :length],
            source=batch.tokens[:, :length],
            base_query=query,
            source_query=query,
            base_roles=roles,
            source_roles=roles,
            expected=answer,
            valid=roles[variable] >= 0,
        )
    tokens, position, other_query, other_answer, other_roles = jax.tree.map(
        lambda x: jnp.roll(x, -1, axis=0),
        (batch.tokens, roles["query"], query, answer, roles),
    )
    item = jnp.take_along_axis(tokens, position[:, None], axis=1)
    before = jnp.arange(length)[None] < roles["query"][:, None]
    context = jnp.where(before, batch.tokens[:, :length], -1)
    known = ((context == item) | (context == other_answer[:, None])).any(axis=1)
    return Counterfactual(
        base=replace_at(batch.tokens, roles["query"], item[:, 0])[:, :length],
        source=tokens[:, :length],
        base_query=query,
        source_query=other_query,
        base_roles=roles,
        source_roles=other_roles,
        expected=other_answer,
        valid=~known,
    )


def present(pairs: Counterfactual, role: str) -> Bool[Array, " documents"]:
    """The documents that count where activations are exchanged at a role."""
    return pairs.valid & (pairs.base_roles[role] >= 0) & (pairs.source_roles[role] >= 0)
