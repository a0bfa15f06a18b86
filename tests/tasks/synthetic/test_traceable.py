"""The base of tasks on synthetic tokens: classes, names, replacements that are new."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks import TASKS
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from mecheval_jax.tasks.synthetic.memorization import Memorization
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.synthetic.stacked_recall import StackedRecall
from mecheval_jax.tasks.synthetic.traceable import SyntheticTask, consecutive


@dataclasses.dataclass(frozen=True)
class Copy(SyntheticTask):
    """<bos>, a token, and the same token as the query."""

    fresh_replacement: bool = True

    @property
    def classes(self):
        return consecutive(k=4, f=0, v=3)

    def class_of(self, role):
        del role
        return self.classes["k"]

    def document(self, key, split):
        del split
        token = self.distinct(key, "key", 1)[0]
        at = lambda position: jnp.array([position])
        return Batch(
            tokens=jnp.array([1, token, token]),
            query_positions=at(2),
            targets=token[None],
            weights=jnp.ones(1),
            roles={"key": at(1), "query": at(2)},
            lengths=jnp.array(3),
        )


TASK = Copy()


# Catches an empty class that takes an id, and names that count from another class's first token.
def test_classes_and_names():
    assert TASK.classes == {"k": range(3, 7), "v": range(7, 10)}
    assert TASK.vocabulary_size == 10
    names = [TASK.name_of(token) for token in range(10)]
    assert names == ["<pad>", "<bos>", "<eos>", "k0", "k1", "k2", "k3", "v0", "v1", "v2"]


def test_ids_that_32_bits_cannot_hold():
    """Catches a vocabulary that ends in an error of arrays, with no field named."""
    message = r"task\.key_vocabulary 46341, task\.value_vocabulary 46341: 2,147,580,966 token ids"
    with pytest.raises(UserError, match=message):
        StackedRecall(key_vocabulary=46341, value_vocabulary=46341)
    sizes = {"key_vocabulary": 2**31 - 1, "value_vocabulary": 4}
    with pytest.raises(UserError, match=r"key_vocabulary 2147483647.*at most 2,147,483,647"):
        Memorization(**sizes)
    assert Memorization(**sizes | {"key_vocabulary": 2**31 - 9}).vocabulary_size == 2**31 - 1


# Catches a replacement that is in the document already, and one of another class.
def test_fresh_replacements():
    batch = TASK.sample(jax.random.key(0), 400)
    changed = np.asarray(TASK.corrupt(jax.random.key(1), batch, "key"))
    tokens = np.asarray(batch.tokens)
    assert (changed[:, 1] != tokens[:, 1]).all()
    assert set(changed[:, 1].tolist()) == set(range(3, 7))
    np.testing.assert_array_equal(changed[:, 2], tokens[:, 2])
    with pytest.raises(UserError, match="corruption 'query'"):
        TASK.corrupt(jax.random.key(1), batch, "query")


# Catches a task whose fields nobody checks, since it has checks of its own.
@pytest.mark.parametrize(
    "kind", [kind for kind in TASKS.values() if issubclass(kind, SyntheticTask)]
)
def test_every_task_checks_its_fields(kind):
    whole = next(field.name for field in dataclasses.fields(kind) if isinstance(field.default, int))
    with pytest.raises(UserError, match=rf"task\.{whole} is \d+: it takes a whole number"):
        kind(**{whole: 2**40})


@pytest.mark.parametrize(
    "task",
    [
        AssociativeRecall(pairs=9, min_pairs=1, key_vocabulary=16, value_vocabulary=16, filler=1),
        MultiQueryRecall(vocabulary=16, lengths=(8, 16, 64), pairs=(2, 1, 2)),
        FuzzyRecall(pairs=4, key_vocabulary=8, value_vocabulary=8),
    ],
)
def test_the_usual_length_of_documents_that_are_not_alike(task):
    """Catches the longest document taken for the usual one, by which a window of half the others
    would be local."""
    behind = task.max_length - task.read_length
    read = np.asarray(task.sample(jax.random.key(0), 400, "test").lengths) - behind
    assert (read <= task.usual_length).mean() > 0.4
    assert (read >= task.usual_length).mean() > 0.4


def test_the_usual_length_of_documents_that_are_alike():
    """Catches a usual length that documents of one length do not have."""
    for task in (
        AssociativeRecall(),
        AssociativeRecall(pairs=5, filler=2, queries=3),
        MultiQueryRecall(lengths=(64,), pairs=(8,)),
        FuzzyRecall(key_tokens=1, value_tokens=1),
    ):
        assert task.usual_length == task.read_length
