"""State dicts of the reference, and what is wrong in them."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.models.language_model import ModelConfig
from tests.support import golden_files

SHAPE = {"layers": 2, "width": 32, "vocabulary_size": 44, "max_length": 64}
EMBEDDING = "backbone.embeddings.word_embeddings.weight"
MIXER = "backbone.layers.0.sequence_mixer"


def language_model(name):
    """A state dict of the reference, to be spoilt, and the config that it fits."""
    state, _ = golden_files.load(f"lm__{name}")
    positions = "learned" if name == "attention" else "none"
    return dict(state), ModelConfig(name, positions=positions, **SHAPE)


def problems(convert, *arguments):
    """The lines of the error, less the first."""
    with pytest.raises(UserError) as caught:
        convert(*arguments)
    head, *lines = str(caught.value).splitlines()
    assert head == "state dict does not fit:"
    return sorted(line.strip() for line in lines)
