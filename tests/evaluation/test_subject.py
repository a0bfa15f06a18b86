"""A subject: the model that it was, and more of its documents."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.evaluation.subject import Measurement, Subject, documents_of, measure
from mecheval_jax.models.language_model import initialize
from tests.support import planted, small


def test_a_subject_of_an_experiment():
    """Catches documents of another seed or split, and other parameters than a run began with."""
    experiment = small.experiment({"evaluation.documents": 6})
    subject = Subject.of(experiment, {})
    expected = documents_of(experiment)
    assert len(subject.batch.tokens) == 6
    np.testing.assert_array_equal(subject.batch.tokens, expected.tokens)
    assert subject.config == experiment.model
    seed = experiment.training.seed + 1
    began = jax.jit(initialize, static_argnums=0)(experiment.model, jax.random.key(seed))
    jax.tree.map(np.testing.assert_array_equal, subject.untrained(seed), began)


def test_more_documents_begin_with_the_same_ones():
    """Catches fewer documents than the evaluation has, and other ones."""
    subject = Subject.of(small.experiment({"evaluation.documents": 6}), {})
    assert len(subject.more_documents(2).tokens) == 6
    more = subject.more_documents(9)
    assert len(more.tokens) == 9
    assert len(np.unique(more.tokens, axis=0)) > 6


@dataclasses.dataclass(frozen=True)
class Doubled:
    """Twice its arrays."""

    def on_device(self, params, arrays):
        return params * arrays

    def on_host(self, raw, subject):
        assert isinstance(raw, np.ndarray)
        return raw, subject


def test_a_measurement_is_carried_out_for_a_single_subject():
    """Catches arrays that stay on the device, and other parameters than the subject's."""
    model = planted.shape_of("attention"), jnp.asarray(2), planted.TASK
    subject = planted.subject_of(model, planted.documents(planted.TASK, 8))
    assert isinstance(Doubled(), Measurement)
    raw, measured = measure(subject, (Doubled(), jnp.arange(3)))
    np.testing.assert_array_equal(raw, [0, 2, 4])
    assert measured is subject
