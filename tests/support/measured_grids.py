"""Models with every kind of site, their documents, and their grids; measured once a process."""

import functools

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.grid import grid
from mecheval_jax.interventions import (
    site_paths,
)
from mecheval_jax.sites import is_state
from tests.support import planted

DOCUMENTS = 32
TASK = planted.task_with(min_pairs=2, fresh_replacement=False)
"""Documents of 9 to 13 tokens, so that queries stand at different places."""

ROLES = ("bos", "key", "value", "next_key", "divider", "query")
EVALUATION = EvaluationConfig(documents=DOCUMENTS, roles=ROLES, resamples=200, seed=3)


def sites_of(config):
    """All sites; of those inside the mixers, each a program to compile, as many as it takes.

    All of a single layer; of two layers of Mamba each in one of them, and the state in both.
    Of the others none.
    """
    paths = site_paths(config)
    inside = [path.partition("/")[2] for path in paths if path.startswith("block_0/mixer/")]

    def is_kept(path):
        block, _, component = path.partition("/")
        if config.layers == 1 or not component.startswith("mixer/"):
            return True
        if config.mixer != "mamba":
            return False
        return is_state(path) or block == f"block_{inside.index(component) % 2}"

    return tuple(filter(is_kept, paths))


class MeasuredModel:
    """A model, its documents, and its grid at every site."""

    def __init__(self, mixer, **options):
        self.config, self.params, _ = planted.lively(mixer, **options)
        self.batch = planted.documents(TASK, DOCUMENTS, 1)
        self.sites = sites_of(self.config)
        self.grid = grid(self.subject(), self.sites)

    def subject(self, task=TASK, batch=None, evaluation=EVALUATION):
        model, batch = (self.config, self.params, task), self.batch if batch is None else batch
        return planted.subject_of(model, batch, evaluation)


MODELS = {
    "attention": {},
    "based": {},
    "mamba": {},
    "one layer": {"mixer": "attention", "layers": 1, "feed_forward": "none"},
}


@functools.cache
def measured_of(name):
    return MeasuredModel(**({"mixer": name} | MODELS[name]))
