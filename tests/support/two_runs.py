"""A model with a clean and a corrupted run, into which tests put interventions.

Runs that are compared to the bit go through one compiled program, which reads an entry at
every site: what a test patches is laid over entries whose masks select nothing.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.interventions import (
    compose,
    interchange,
    site_paths,
)
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.synthetic.associative_recall import FIRST_KEY
from tests.support import planted

DOCUMENTS, LENGTH, WIDTH = 4, 13, 16
EVERYWHERE = jnp.broadcast_to(jnp.arange(LENGTH), (DOCUMENTS, LENGTH))
NOWHERE = jnp.full(DOCUMENTS, -1)


class TwoRuns:
    """A model, a clean and a corrupted run, and patched runs of the clean one."""

    def __init__(self, mixer):
        self.config, self.params, task = planted.lively(mixer)
        self.model = LanguageModel(self.config)
        self.sites = site_paths(self.config)
        self.batch = planted.documents(task, DOCUMENTS)
        self.tokens = self.batch.tokens
        self.key = self.batch.roles["key"][:, 0]
        rows = jnp.arange(DOCUMENTS)
        other_key = FIRST_KEY + (self.tokens[rows, self.key] - FIRST_KEY + 3) % task.key_vocabulary
        self.other_tokens = self.tokens.at[rows, self.key].set(other_key)
        self._program = jax.jit(
            lambda params, tokens, interventions: observe(self.model, params, tokens, interventions)
        )
        seen = jax.eval_shape(
            lambda params: observe(self.model, params, self.tokens)[1], self.params
        )
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), seen)
        self.nothing = interchange(blank, self.sites, NOWHERE)
        self.logits, self.activations = self.observe({})
        self.other_logits, self.other = self.observe({}, self.other_tokens)

    def observe(self, patch, tokens=None):
        """Logits and activations of the clean documents, patched."""
        tokens = self.tokens if tokens is None else tokens
        return self._program(self.params, tokens, compose(self.nothing, patch))

    def patched(self, *patches):
        """Logits of the clean documents under several patches."""
        return np.asarray(self.observe(compose({}, *patches))[0])

    def restore(self, site, positions=EVERYWHERE):
        """The patch that puts the other run's activation in."""
        return interchange(self.other, [site], positions)


@functools.cache
def subject_of(mixer):
    return TwoRuns(mixer)


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def differs(a, b, least=1e-3):
    """Documents whose logits differ by more than rounding."""
    return (np.abs(np.asarray(a) - np.asarray(b)) > least).any(axis=(1, 2))
