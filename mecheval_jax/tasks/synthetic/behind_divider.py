"""Bases of tasks that ask several questions behind a divider, without their answers.

    <bos> body <eos> q q ... q

Every question is answered at its last token, and the document does not contain the answers, so
that no question helps with another.
"""

from collections.abc import Mapping

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int
from mecheval_jax.tasks.base import BOS, DERIVED, EOS, PAIR, Batch, following
from mecheval_jax.tasks.synthetic.traceable import SyntheticTask


class BehindDivider(SyntheticTask):
    """Base of such tasks: frozen dataclasses that implement `classes`, `document`, `body_length`.

    Attributes:
        queries: Number of questions of a document.
        question: Number of tokens of a question.
    """

    queries: int
    question = 1

    @property
    def body_length(self) -> int:
        """Number of tokens between ``<bos>`` and the divider."""
        raise NotImplementedError

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles, of documents of keys and values."""
        return ("bos", *PAIR, *DERIVED, "divider", "query")

    @property
    def max_length(self) -> int:
        """Length in tokens of every document, which ends with the last question."""
        return 2 + self.body_length + self.queries * self.question

    def ask(
        self,
        body: Int[Array, " body"],
        questions: Int[Array, " queries"] | Int[Array, "queries question"],
        targets: Int[Array, " queries"],
        roles: Mapping[str, Int[Array, " queries"]],
    ) -> Batch:
        """A document with its questions.

        Args:
            body: Tokens between ``<bos>`` and the divider.
            questions: Tokens of each question.
            targets: Answer to each question.
            roles: Positions in the document, by role; with ``key`` and ``value`` the two roles
                behind the value are added.
        """
        divider = 1 + self.body_length
        query = divider + self.question * (1 + jnp.arange(self.queries))
        ends = jnp.array([BOS]), jnp.array([EOS])
        behind = following(roles["key"], roles["value"], divider) if "key" in roles else {}
        return Batch(
            tokens=jnp.concatenate([ends[0], body, ends[1], questions.reshape(-1)]),
            query_positions=query,
            targets=targets,
            weights=jnp.ones(self.queries),
            roles={
                "bos": jnp.zeros_like(query),
                **roles,
                **behind,
                "divider": jnp.full_like(query, divider),
                "query": query,
            },
            lengths=jnp.asarray(self.max_length),
        )


class Copying(BehindDivider):
    """Base of tasks whose answers are tokens of the body: the first of the task's classes."""

    def class_of(self, role: str) -> range:
        """Ids of the tokens to give back, the only class of a role."""
        del role
        return next(iter(self.classes.values()))

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return ("bos", "value", "divider", "query")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Roles whose token can be replaced."""
        return ("value",)
