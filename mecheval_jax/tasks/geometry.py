"""Where a document can hold a pair, and which of its tokens destroys the pair when it is replaced.

A pair is the asked item (role ``key``) and its answer (role ``value``), in either order. A causal
model can bind it from the later of the two tokens on: there, and as far behind as the model's
local operations reach. Before that token nothing holds the pair, whatever the model does. So the
earlier token is the one to replace: what a position of the pair then still holds of the original
is what was bound there.

    <bos> k1 v1 k2 v2 k3 v3 <eos> k1        k1 is asked, reach 1
             ^ loose       ^ rest           loose: the pair is not yet complete
                v1 k2: pair         ^ question

Where key and value are one token there is no pair to bind, and the document is left out. A task
that repeats a pair (`Task.corrupted_places`) has it in several places.
"""

import flax.struct
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Int, Key
from mecheval_jax.errors import UserError
from mecheval_jax.tasks.base import ABSENT, PAIR, Batch, Task, asked_positions, at_position


@flax.struct.dataclass
class Geometry:
    """Where documents can hold the pair that their query 0 asks for.

    Attributes:
        applies: Whether key and value are two tokens of the document.
        value_last: Whether the value is the later one.
        earlier: Mask of the earlier token, in all its places.
        later: Mask of the later token, in all its places.
        question: Mask of the tokens from the question on, to the one at which it is answered.
    """

    applies: Bool[Array, " documents"]
    value_last: Bool[Array, " documents"]
    earlier: Bool[Array, "documents length"]
    later: Bool[Array, "documents length"]
    question: Bool[Array, "documents length"]

    def apart(self, reach: float) -> "Geometry":
        """Without documents in which an operation of this reach sees the pair from the question."""
        later, begins = self.later.cumsum(axis=1).argmax(axis=1), self.question.argmax(axis=1)
        return self.replace(applies=self.applies & (begins - later > reach))

    def mask(self, name: str, reach: float = 0) -> Bool[Array, "documents length"]:
        """Mask of a set of positions; False in documents to which `applies` does not hold.

        Args:
            name: ``pair``: the later token and the `reach` tokens behind it, up to the question;
                ``loose``: the earlier token, and all between it and the first later one, which
                cannot hold the pair; ``question``; ``elsewhere``: the last two; ``named``: all
                three; ``rest``: the positions after the earlier token that are in none of them.
            reach: Tokens behind the later one at which the pair can stand as well; `sites.ALL` for
                every one.
        """
        index = jnp.arange(self.later.shape[1])[None]
        seen = jnp.cumsum(self.later, axis=1) > 0
        begun = (jnp.cumsum(self.earlier, axis=1) > 0) & self.applies[:, None]
        before = begun & (jnp.cumsum(self.question, axis=1) == 0)
        loose = before & (self.earlier | ~seen)
        # Distance to the latest place of the later token.
        place = jnp.maximum.accumulate(jnp.where(self.later, index, 0), axis=1)
        pair = before & seen & ~self.earlier & (index - place <= reach)
        question = self.question & self.applies[:, None]
        sets = {"pair": pair, "loose": loose, "question": question}
        sets["elsewhere"] = loose | question
        sets["named"] = pair | loose | question
        sets["rest"] = before & ~sets["named"]
        return sets[name]

    def behind(self, offset: int) -> Bool[Array, "documents length"]:
        """Mask of the tokens so many behind the pair's later one, in all its places."""
        length = self.later.shape[1]
        moved = jnp.pad(self.later, ((0, 0), (offset, 0)))[:, :length]
        return moved & self.mask("pair", offset)

    def position(self, offset: int) -> Int[Array, " documents"]:
        """Position so many tokens behind the last place of the pair; `ABSENT` outside it."""
        length = self.later.shape[1]
        last = length - 1 - jnp.argmax(self.later[:, ::-1], axis=1)
        pair = self.mask("pair", offset)
        here = at_position(last + offset, length) & pair
        return jnp.where(here.any(axis=1), last + offset, ABSENT)


def geometry(task: Task, batch: Batch) -> Geometry:
    """Where documents hold the pair of query 0. Traceable.

    Args:
        task: Task of the documents, with the roles of `PAIR`; see `check_geometry`.
        batch: Documents.
    """
    length = batch.tokens.shape[1]
    key, value = (batch.roles[role][:, 0] for role in PAIR)
    places = {role: task.corrupted_places(batch, role) for role in PAIR}
    value_last = value > key
    earlier, later = (
        jnp.where((value_last if first else ~value_last)[:, None], places["key"], places["value"])
        for first in (True, False)
    )
    begins, answered = question_of(batch)
    index = jnp.arange(length)[None]
    applies = (key >= 0) & (value >= 0) & (key != value) & (jnp.maximum(key, value) < begins)
    return Geometry(
        applies=applies,
        value_last=value_last,
        earlier=earlier & applies[:, None],
        later=later & applies[:, None],
        question=(index >= begins[:, None]) & (index <= answered[:, None]),
    )


def question_of(batch: Batch) -> tuple[Int[Array, " documents"], Int[Array, " documents"]]:
    """First and last token of the question of query 0, which is answered at the last one.

    The question begins behind the divider, or at the asked item; a divider that is the last token
    of the question itself divides nothing from it. Traceable.
    """
    begins, answered = asked_positions(batch)[:, 0], batch.query_positions[:, 0]
    if "divider" in batch.roles:
        divider = batch.roles["divider"][:, 0]
        begins = jnp.where((divider >= 0) & (divider < answered), divider + 1, begins)
    return begins, answered


def corrupt_pair(task: Task, key: Key, batch: Batch) -> Int[Array, "documents length"]:
    """Tokens with the earlier token of each pair replaced, as `Task.corrupt` does. Traceable.

    The replacement is the one that ``key`` or ``value`` corruption draws with this `key`; a task
    that cannot corrupt one of them must have no pair in which it is the earlier one.
    """
    last = (batch.roles["value"] > batch.roles["key"])[:, :1]
    by_role = [task.corrupt(key, batch, r) if r in task.corruptions else batch.tokens for r in PAIR]
    return jnp.where(last, *by_role)


def check_geometry(task: Task, batch: Batch) -> None:
    """Check that documents have pairs that can be destroyed. Not traceable.

    Raises:
        UserError: If roles are missing, no document has a pair, or the earlier token of some
            cannot be replaced; it says which roles to add.
    """
    absent = task.absent()
    for role in PAIR:
        if role not in batch.roles:
            reason = absent.get(role, f"the task has no role {role!r}")
            raise UserError(f"no pair to look for: {reason}; add the role {role!r} to documents")
    found = geometry(task, batch)
    if not bool(found.applies.any()):
        raise UserError(
            "no pair to look for: in no document are key and value two tokens before the query"
        )
    for role, needed in zip(PAIR, (found.value_last, ~found.value_last), strict=True):
        if role not in task.corruptions and bool((needed & found.applies).any()):
            reason = absent.get(role, f"this task replaces {', '.join(task.corruptions)} alone")
            raise UserError(f"the {role}, earlier token of a pair, cannot be replaced: {reason}")
