"""The grid: each cell is what one patched run at a time gives, and each row what cells say."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching import grid as grids
from mecheval_jax.evaluation.patching.cells import Cells
from mecheval_jax.evaluation.patching.effects import SMALLEST_GAP
from mecheval_jax.evaluation.patching.grid import corrupted_tokens, default_sites, grid
from mecheval_jax.interventions import (
    capture,
    compose,
    interchange,
    site_paths,
)
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.sites import is_state
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from tests.support import planted

DOCUMENTS = 32
TASK = planted.task_with(min_pairs=2, fresh_replacement=False)
"""Documents of 9 to 13 tokens, so that queries stand at different places."""

ROLES = ("bos", "key", "value", "next_key", "divider", "query")
EVALUATION = EvaluationConfig(documents=DOCUMENTS, roles=ROLES, resamples=200, seed=3)
METRICS = (
    "attribution",
    "probability",
    "clean_probability",
    "corrupted_probability",
    "logit_difference",
    "kl",
)
IN, OUT = "block_1/block_input", "block_1/block_output"


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


class Measured:
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
    return Measured(**({"mixer": name} | MODELS[name]))


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


# Cells, on fabricated grids.


def cells_of(clean, corrupted, restored, **options):
    made = planted.fabricated_grid(
        clean, corrupted, {(IN, "value"): np.asarray(restored)}, **options
    )
    return Cells(made)


def table_of(cells):
    return {
        tuple(row[name] for name in ("direction", "site", "role", "metric")): row
        for row in cells.rows()
    }


def test_attribution_is_a_ratio_of_means():
    """Catches the mean of ratios, which documents with a small gap dominate."""
    clean, corrupted = np.array([0.9, 0.2]), np.array([0.1, 0.1])
    restored = np.array([0.1, 0.2])  # of the one nothing, of the other all
    cell = cells_of(clean, corrupted, restored).at("key", "restore", IN, "value")
    assert cell["attribution"].value == pytest.approx(0.05 / 0.45)
    assert np.mean((restored - corrupted) / (clean - corrupted)) == pytest.approx(0.5)
    assert cell["clean_probability"].value == pytest.approx(0.55)
    assert cell["corrupted_probability"].value == pytest.approx(0.1)
    assert cell["probability"].value == pytest.approx(0.15)


def test_damage_is_measured_from_the_clean_run():
    """Catches one formula for both directions, and differences to the wrong run."""
    clean, corrupted = np.array([0.8, 0.6]), np.array([0.2, 0.0])
    place = (IN, "value")
    grid = planted.fabricated_grid(
        clean,
        corrupted,
        {place: np.array([0.4, 0.2])},
        damaged={place: np.array([0.7, 0.5])},
    )
    cells = Cells(grid)
    restore, damage = (
        cells.at("key", direction, IN, "value") for direction in ("restore", "damage")
    )
    assert restore["attribution"].value == pytest.approx(1 / 3)
    assert damage["attribution"].value == pytest.approx(1 / 6)
    # Fabricated logits are ten times the probability, KL is its square.
    assert restore["logit_difference"].value == pytest.approx(2)
    assert damage["logit_difference"].value == pytest.approx(-1)
    assert restore["kl"].value == pytest.approx((0.16 + 0.04) / 2)
    for cell in (restore, damage):
        assert cell["clean_probability"].value == pytest.approx(0.7)
        assert cell["corrupted_probability"].value == pytest.approx(0.1)


def test_cells_rest_on_the_documents_that_have_the_role():
    """Catches documents without the role counted as not restored."""
    clean, corrupted = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.1, 0.3, 0.2, 0.4])
    restored = np.array([0.5, 0.3, 0.2, 0.5])
    present = np.ones((4, 4), bool)
    present[1] = [True, False, False, True]  # of `value`
    table = table_of(cells_of(clean, corrupted, restored, present=present))
    row = lambda role, metric: table["restore", IN, role, metric]
    assert row("value", "attribution")["documents"] == 2
    assert row("value", "attribution")["value"] == pytest.approx((0.4 + 0.1) / (0.8 + 0.2))
    assert row("value", "clean_probability")["value"] == pytest.approx(0.75)
    assert row("key", "attribution")["documents"] == 4
    assert row("key", "clean_probability")["value"] == pytest.approx(0.75)
    assert row("key", "corrupted_probability")["value"] == pytest.approx(0.25)
    assert row("value", "corrupted_probability")["value"] == pytest.approx(0.25)


def test_a_role_that_no_document_has_is_an_empty_cell():
    """Catches 0, or NaN, where nothing was measured."""
    present = np.ones((4, 3), bool)
    present[2] = False
    table = table_of(cells_of([0.9] * 3, [0.1] * 3, [0.5] * 3, present=present))
    for metric in METRICS:
        row = table["restore", IN, "next_key", metric]
        assert (row["value"], row["low"], row["high"], row["documents"]) == (None, None, None, 0)
    assert table["restore", IN, "next_key", "best_share"]["value"] == 0


@pytest.mark.parametrize(
    ("gap", "told"), [(0.0, False), (-0.3, False), (0.00999, False), (0.0101, True), (0.5, True)]
)
def test_a_gap_of_a_hundredth_tells_nothing(gap, told):
    """Catches ratios over almost nothing, and a limit on the gap's size instead of the gap."""
    assert SMALLEST_GAP == 0.01
    clean = np.full(5, 0.6)
    cells = cells_of(clean, clean - gap, clean - gap / 2)
    row = table_of(cells)["restore", IN, "value", "attribution"]
    numbers = (row["value"], row["low"], row["high"])
    assert numbers == (pytest.approx((0.5, 0.5, 0.5)) if told else (None, None, None))
    assert row["documents"] == 5
    assert table_of(cells)["restore", IN, "value", "probability"]["value"] is not None


def test_best_share():
    """Catches ties counted twice, absent roles that win, and documents with nothing to restore."""
    roles = ("key", "value", "next_key", "query")
    clean = np.array([0.9, 0.9, 0.9, 0.9, 0.105])
    corrupted = np.full(5, 0.1)  # the last document has no gap to speak of
    restored = {
        "key": [0.1, 0.5, 0.1, 0.2, 0.9],
        "value": [0.8, 0.5 + 1e-8, 0.1, 0.3, 0.1],  # a tie but for rounding
        "next_key": [0.9, 0.1, 0.1, 0.9, 0.1],
        "query": [0.1, 0.1, 0.1, 0.4, 0.1],
    }
    present = np.ones((4, 5), bool)
    present[2] = [False, True, True, False, True]
    grid = planted.fabricated_grid(
        clean,
        corrupted,
        {(IN, role): np.array(values) for role, values in restored.items()},
        roles=roles,
        present=present,
    )
    # Documents: 1 value; 2 key and value; 3 all four; 4 query.
    expected = {
        "key": (1 / 2 + 1 / 4) / 4,
        "value": (1 + 1 / 2 + 1 / 4) / 4,
        "next_key": (1 / 4) / 4,
        "query": (1 / 4 + 1) / 4,
    }
    cells = Cells(grid)
    shares = cells.best_share(IN, "key")
    assert {role: share for role, (share, _) in shares.items()} == pytest.approx(expected)
    assert {documents for _, documents in shares.values()} == {4}
    table = table_of(cells)
    for role in roles:
        row = table["restore", IN, role, "best_share"]
        low, high = wilson(4 * expected[role], 4, 0.95)
        assert (row["value"], row["low"], row["high"]) == pytest.approx((expected[role], low, high))
        assert row["documents"] == 4


def test_best_share_where_there_is_nothing_to_restore():
    """Catches a division by no documents."""
    table = table_of(cells_of([0.5, 0.5], [0.5, 0.6], [0.5, 0.5]))
    row = table["restore", IN, "value", "best_share"]
    assert (row["value"], row["low"], row["high"], row["documents"]) == (None, None, None, 0)


def test_best_shares_of_a_measured_grid_sum_to_one(measured):
    """Catches shares over other documents in each role."""
    cells, gaps = Cells(measured.grid), []
    for corruption in measured.grid.evaluation.corruptions:
        for site in measured.grid.sites:
            shares, documents = zip(*cells.best_share(site, corruption).values(), strict=True)
            gaps.append(documents[0])
            assert set(documents) == {gaps[-1]}
            assert sum(shares) == pytest.approx(1) or gaps[-1] == 0
    assert max(gaps) > 1


def test_rows_are_the_long_table(measured):
    """Catches a column or a metric that is missing, a row twice, and a cell of another place."""
    grid, cells = measured.grid, Cells(measured.grid)
    table = cells.rows()
    columns = {"corruption", "direction", "layer", "component", "site", "role", "metric"}
    columns |= {"value", "low", "high", "documents", "p_value", "significant"}
    assert all(set(row) == columns for row in table)
    names = ("corruption", "direction", "site", "role", "metric")
    by_place = {tuple(row[name] for name in names): row for row in table}
    expected = {
        (corruption, direction, site, role, metric)
        for corruption in ("key", "value")
        for direction in ("restore", "damage")
        for site in grid.sites
        for role in ROLES
        for metric in (*METRICS, *(["best_share"] if direction == "restore" else []))
    }
    assert len(table) == len(by_place)
    assert set(by_place) == expected
    for row in table:
        block, _, component = row["site"].partition("/")
        inside = block.startswith("block_")
        assert row["component"] == (component if inside else block)
        assert row["layer"] == (int(block.removeprefix("block_")) if inside else None)
        if row["value"] is not None:
            assert row["low"] - 1e-9 <= row["value"] <= row["high"] + 1e-9
    for c, corruption in enumerate(grid.evaluation.corruptions):
        for r, role in enumerate(ROLES):
            here = grid.present[r]
            site = grid.sites[1]
            row = by_place[corruption, "damage", site, role, "probability"]
            patched = grid.patched[site]["probability"][1, c, r]
            assert row["value"] == pytest.approx(patched[here].mean(), rel=1e-5)
            assert row["documents"] == here.sum()
    missing = by_place["key", "restore", grid.sites[1], "next_key", "attribution"]
    assert 0 < missing["documents"] < DOCUMENTS


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
