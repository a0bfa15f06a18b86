"""The grid: each cell is what one patched run at a time gives, and each row what cells say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching import grid as grids
from mecheval_jax.evaluation.patching.grid import (
    check_roles,
    corrupted_tokens,
    default_sites,
    grid,
)
from mecheval_jax.interventions import (
    capture,
    compose,
    interchange,
)
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from tests.support import planted
from tests.support.measured_grids import DOCUMENTS, EVALUATION, MODELS, ROLES, TASK, measured_of


@pytest.fixture(params=MODELS)
def measured(request):
    return measured_of(request.param)


@pytest.fixture
def one_layer():
    return measured_of("one layer")


class OneAtATime:
    """The whole model on the whole documents, patched at one site and role at a time.

    One program for all cells: it reads an entry at every site, and all but one select
    nothing.
    """

    def __init__(self, measured):
        self.batch, self.sites = measured.batch, measured.sites
        model = LanguageModel(measured.config)
        program = jax.jit(lambda tokens, patch: observe(model, measured.params, tokens, patch))
        look = lambda params: capture(model, params, self.batch.tokens, self.sites)
        seen = jax.eval_shape(look, measured.params)
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), seen)
        nothing = interchange(blank, self.sites, jnp.full(DOCUMENTS, -1))
        self.run = lambda tokens, patch: program(tokens, compose(nothing, patch))
        corrupted = corrupted_tokens(TASK, self.batch, EVALUATION.corruptions, EVALUATION.seed)
        self.tokens = [self.batch.tokens, *corrupted]
        self.logits, self.activations = zip(
            *(self.run(tokens, {}) for tokens in self.tokens), strict=True
        )

    def log_probabilities(self, logits):
        logits = np.asarray(logits, np.float64)[
            np.arange(DOCUMENTS), self.batch.query_positions[:, 0]
        ]
        return logits, scipy.special.log_softmax(logits, axis=-1)

    def measure(self, logits, base):
        """The metrics of a run that was patched, and `base`, which was not."""
        answer = np.asarray(self.batch.targets)[:, :1]
        logits, log_p = self.log_probabilities(logits)
        _, log_base = self.log_probabilities(base)
        of_answer = lambda x: np.take_along_axis(x, answer, axis=-1)[:, 0]
        return {
            "probability": np.exp(of_answer(log_p)),
            "logit": of_answer(logits) - logits.mean(axis=-1),
            "kl": (np.exp(log_p) * (log_p - log_base)).sum(axis=-1),
        }

    def cell(self, site, direction, corruption, role):
        c = 1 + EVALUATION.corruptions.index(corruption)
        base, source = (c, 0) if direction == "restore" else (0, c)
        positions = self.batch.roles[role][:, 0]
        patch = interchange(self.activations[source], [site], positions)
        logits, _ = self.run(self.tokens[base], patch)
        return self.measure(logits, self.logits[base])


def test_every_cell_is_one_patched_run(measured):
    """Catches a shortcut of the grid (pinned components, the query alone) that is not exact."""
    plain, grid = OneAtATime(measured), measured.grid
    assert grid.sites == measured.sites
    for index, logits in enumerate(plain.logits):
        expected = plain.measure(logits, logits)
        for name, values in grid.runs.items():
            np.testing.assert_allclose(values[index], expected[name], rtol=1e-3, atol=2e-5)
    for site in grid.sites:
        moved = 0
        for d, direction in enumerate(grid.evaluation.directions):
            for c, corruption in enumerate(grid.evaluation.corruptions):
                for r, role in enumerate(grid.evaluation.roles):
                    expected = plain.cell(site, direction, corruption, role)
                    assert set(grid.patched[site]) == set(expected)
                    for name, values in expected.items():
                        np.testing.assert_allclose(
                            grid.patched[site][name][d, c, r],
                            values,
                            rtol=2e-3,
                            atol=5e-5,
                            err_msg=f"{site} {direction} {corruption} {role} {name}",
                        )
                    moved = max(moved, expected["kl"].max())
        # What the first layer asks for does not depend on the corrupted token.
        first_query = site == "block_0/mixer/q"
        assert moved > 1e-3 or first_query, f"nothing at {site} matters: this compares nothing"


def test_the_input_at_the_corrupted_token_is_everything(measured):
    """Catches source and base exchanged: restoring all gives the clean run's answers."""
    grid = measured.grid
    for site in ("embedding", "block_0/block_input"):
        for c, corruption in enumerate(grid.evaluation.corruptions):
            r = grid.evaluation.roles.index(corruption)
            patched = grid.patched[site]["probability"][:, c, r]
            clean, corrupted = grid.runs["probability"][[0, 1 + c]]
            np.testing.assert_allclose(patched[0], clean, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(patched[1], corrupted, rtol=1e-4, atol=1e-6)
            assert np.abs(clean - corrupted).max() > 0.01


def test_an_absent_role_patches_nothing(measured):
    """Catches -1 patched as the last position."""
    grid = measured.grid
    absent = ~grid.present[grid.evaluation.roles.index("next_key")]
    assert 0 < absent.sum() < DOCUMENTS
    for site in grid.sites:
        patched = grid.patched[site]["probability"][0, 0, grid.evaluation.roles.index("next_key")]
        np.testing.assert_allclose(
            patched[absent], grid.runs["probability"][1][absent], rtol=1e-4, atol=1e-6
        )


def test_corrupted_documents_differ_in_the_one_token():
    """Catches a query corrupted instead of the context, or a token of another class."""
    batch = planted.documents(TASK, DOCUMENTS, 1)
    both = corrupted_tokens(TASK, batch, ("value", "key"), seed=3)
    rows_, clean = np.arange(DOCUMENTS), np.asarray(batch.tokens)
    for role, tokens in zip(("value", "key"), both, strict=True):
        position = np.asarray(batch.roles[role])[:, 0]
        different = np.asarray(tokens) != clean
        assert different[rows_, position].all()
        assert different.sum() == DOCUMENTS
        is_key = np.asarray(tokens)[rows_, position] < TASK.first_value
        assert is_key.all() if role == "key" else not is_key.any()
    # The corruption of a role depends on the seed and not on which others are asked for.
    (alone,) = corrupted_tokens(TASK, batch, ("key",), seed=3)
    np.testing.assert_array_equal(alone, both[1])
    (other,) = corrupted_tokens(TASK, batch, ("key",), seed=4)
    assert (np.asarray(other) != np.asarray(alone)).any()


class Undone(AssociativeRecall):
    """A task whose corruption turns the documents of the tests back into clean ones."""

    def corrupt(self, key, batch, role):
        del key, batch, role
        return planted.documents(TASK, DOCUMENTS, 1).tokens


def test_damage_is_the_mirror_of_restore(one_layer):
    """Catches directions that differ in more than which run is the base and which the source."""
    sites = ("block_0/mixer_output", "block_0/block_output")
    evaluation = dataclasses.replace(EVALUATION, corruptions=("key",))
    (tokens,) = corrupted_tokens(TASK, one_layer.batch, ("key",), EVALUATION.seed)
    swapped = one_layer.batch.replace(tokens=tokens)
    undone = Undone(**dataclasses.asdict(TASK))
    mirror = grid(one_layer.subject(undone, swapped, evaluation), sites)
    for site in sites:
        for name, values in mirror.patched[site].items():
            original = one_layer.grid.patched[site][name]
            np.testing.assert_allclose(values[0, 0], original[1, 0], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(values[1, 0], original[0, 0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("most", [1, 3, 4, 7, 8])
def test_blocks_have_every_document_in_its_place(most):
    """Catches documents that are lost, doubled or out of order, whatever is left over."""
    arrays = {"a": jnp.arange(7), "b": jnp.arange(14).reshape(7, 2)}
    sizes = []

    def measured(arrays):
        sizes.append(len(arrays["a"]))
        return {"sum": arrays["b"].sum(axis=1), "both": jnp.stack([arrays["a"], -arrays["a"]])}

    found = grids.in_blocks(measured, arrays, most)
    np.testing.assert_array_equal(found["sum"], arrays["b"].sum(axis=1))
    np.testing.assert_array_equal(found["both"], [arrays["a"], -arrays["a"]])
    assert max(sizes) <= most


def test_little_memory_changes_nothing(monkeypatch):
    """Catches a block that is measured with the tokens or roles of another."""
    model = planted.untrained("mamba")
    batch = planted.documents(TASK, DOCUMENTS, 1)
    subject = planted.subject_of((model[0], model[1], TASK), batch, EVALUATION)
    sites = ("block_0/mixer/state", "block_1/mixer_input")
    whole = grid(subject, sites)
    monkeypatch.setattr(grids, "MOST_BYTES", 2**17)
    grids.compile_grid.cache_clear()
    parted = grid(subject, sites)
    grids.compile_grid.cache_clear()
    for site in sites:
        for name, values in whole.patched[site].items():
            np.testing.assert_allclose(parted.patched[site][name], values, rtol=1e-4, atol=1e-6)


def test_a_chunk_changes_nothing(one_layer):
    """Catches a remainder that is dropped, and runs of a chunk mixed up (24 runs a site)."""
    evaluation = dataclasses.replace(EVALUATION, chunk=5)
    sites = ["blocks.0.hook_attn_out"]
    chunked = grid(one_layer.subject(evaluation=evaluation), sites)
    assert chunked.sites == ("block_0/mixer_output",)
    for name, values in chunked.patched["block_0/mixer_output"].items():
        expected = one_layer.grid.patched["block_0/mixer_output"][name]
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sites", "message"),
    [
        ({"roles": ("key", "answer")}, None, "role 'answer' lies after the query"),
        ({"roles": ("key", "valeu")}, None, "unknown role 'valeu' .did you mean 'value'"),
        ({}, ["block_0/blockinput"], "unknown site .* .did you mean 'block_0/block_input'"),
        ({"corruptions": ("query",)}, None, "unknown corruption 'query'.* valid are key, value"),
    ],
)
def test_mistakes_are_refused_before_any_compute(monkeypatch, changes, sites, message):
    """Catches a mistake that costs a run, or that is filled with numbers of another cell."""

    def forbidden(*arguments):
        raise AssertionError("the grid was compiled")

    monkeypatch.setattr(grids, "compile_grid", forbidden)
    config = planted.shape_of("attention")
    batch = planted.documents(TASK, DOCUMENTS, 1)
    evaluation = dataclasses.replace(EVALUATION, **changes)
    with pytest.raises(UserError, match=message):
        grid(planted.subject_of((config, {}, TASK), batch, evaluation), sites)


def test_an_unknown_direction_is_refused():
    """Catches a direction that is taken for one of the two."""
    with pytest.raises(UserError, match="did you mean 'restore'"):
        EvaluationConfig(directions=("restor",))


def test_the_default_is_every_canonical_component():
    """Catches a default without a layer or a component, and Mamba asked for an MLP."""
    four = ("block_input", "mixer_input", "mixer_output", "block_output")
    six = (*four[:3], "mlp_input", "mlp_output", "block_output")
    for mixer, parts in (("attention", six), ("mamba", four)):
        expected = tuple(f"block_{layer}/{part}" for layer in range(3) for part in parts)
        assert default_sites(planted.shape_of(mixer, layers=3)) == expected


def test_a_batch_of_the_grid_may_be_any_documents(one_layer):
    """Catches documents drawn inside the grid instead of the ones that are given."""
    halved: Batch = jax.tree.map(lambda leaf: leaf[: DOCUMENTS // 2], one_layer.batch)
    sites = ("block_0/mixer_output",)
    half = grid(one_layer.subject(batch=halved), sites)
    np.testing.assert_allclose(
        half.runs["probability"][0],
        one_layer.grid.runs["probability"][0, : DOCUMENTS // 2],
        rtol=1e-4,
        atol=1e-6,
    )
    assert half.patched[sites[0]]["kl"].shape == (2, 2, len(ROLES), DOCUMENTS // 2)


def test_roles_that_no_document_has_are_refused():
    """Catches a grid of empty cells: in reverse recall the token after the value is the key."""
    task = planted.task_with(reverse=True)
    batch = planted.documents(task, 4)
    check_roles(batch, ("key", "next_key"))
    with pytest.raises(
        UserError, match=r"no document has a position of next_key: name one of .*bos"
    ):
        check_roles(batch, ("next_key",))
