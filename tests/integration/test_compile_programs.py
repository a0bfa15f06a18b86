"""The recorded programs are what tracr makes of their sources, and answer as its own models do."""

import jax
import numpy as np
import pytest

from mecheval_jax.ground_truth import compiled
from mecheval_jax.interventions.capture import run
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted
from tools import compile_programs

pytest.importorskip("tracr", reason="tracr-pypi is in requirements-test.txt")


@pytest.mark.parametrize("name", compiled.TASKS)
def test_the_file_holds_what_tracr_compiles(name):
    """Catches a file that was not written anew after a change, and a parameter put elsewhere."""
    theirs = compile_programs.compile_program(name)
    task = compiled.TASKS[name]
    config, params, _ = compiled.program(name)
    expected = compile_programs.weights_of(theirs, task.vocabulary_size)
    found = {
        "/".join(entry.key for entry in path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    assert found.keys() == expected.keys()
    for path, leaf in found.items():
        np.testing.assert_array_equal(leaf, expected[path], err_msg=path)

    batch = planted.documents(task, 3)
    ours = np.asarray(run(LanguageModel(config), params, batch))[:, 0].argmax(axis=-1)
    for tokens, question, answer in zip(
        batch.tokens, batch.query_positions[:, 0], ours, strict=True
    ):
        read = [int(token) for token in tokens[: int(question) + 1]]
        assert theirs.apply(read).decoded[-1] == answer
