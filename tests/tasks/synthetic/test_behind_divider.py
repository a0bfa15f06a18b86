"""Questions behind a divider: where they stand, of one token and of two."""

import dataclasses

import jax.numpy as jnp
import pytest

from mecheval_jax.tasks.synthetic.behind_divider import BehindDivider


@dataclasses.dataclass(frozen=True)
class Asked(BehindDivider):
    """Four tokens, and two questions of so many tokens."""

    question: int = 1
    queries: int = 2
    body_length = 4

    @property
    def classes(self):
        return {"": range(3, 60)}


# Catches a question that is answered at its first token, roles on the divider, a length without the
# questions, and an answer in the document.
@pytest.mark.parametrize(("question", "at"), [(1, [6, 7]), (2, [7, 9])])
def test_layout(question, at):
    task = Asked(question=question)
    questions = jnp.arange(20, 20 + 2 * question).reshape(2, question)
    pairs = {"key": jnp.array([1, 3]), "value": jnp.array([2, 4])}
    batch = task.ask(jnp.arange(10, 14), questions, jnp.array([50, 51]), pairs)
    assert batch.tokens.tolist() == [1, 10, 11, 12, 13, 2, *range(20, 20 + 2 * question)]
    assert batch.query_positions.tolist() == at
    assert int(batch.lengths) == task.max_length == len(batch.tokens)
    assert batch.roles["next_key"].tolist() == [3, -1]
    assert batch.roles["value+2"].tolist() == [4, -1]
    assert set(batch.roles) == set(task.role_names)
