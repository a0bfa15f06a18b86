"""Cells: what a grid says at a site and role, and the rows of its table."""

import numpy as np
import pytest

from mecheval_jax.evaluation.patching.cells import Cells
from mecheval_jax.statistics.intervals import wilson
from tests.support.fabricated import fabricated_grid
from tests.support.measured_grids import DOCUMENTS, MODELS, ROLES, measured_of

METRICS = (
    "attribution",
    "probability",
    "clean_probability",
    "corrupted_probability",
    "logit_difference",
    "kl",
)
IN, OUT = "block_1/block_input", "block_1/block_output"


@pytest.fixture(params=MODELS)
def measured(request):
    return measured_of(request.param)


# Cells, on fabricated grids.


def cells_of(clean, corrupted, restored, **options):
    made = fabricated_grid(clean, corrupted, {(IN, "value"): np.asarray(restored)}, **options)
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


def test_intervals_of_three_documents_lie_where_their_metrics_do():
    """Catches probabilities above 1 or below 0, and a divergence below 0; a logit may be both."""
    spread = np.array([1.0, 0.9, 0.1])
    table = table_of(cells_of(spread, 1 - spread, spread))
    rows = {metric: table["restore", IN, "value", metric] for metric in METRICS}
    probabilities = [name for name in METRICS if name.endswith("probability")]
    for metric in probabilities:
        assert (rows[metric]["low"], rows[metric]["high"]) == (0, 1)
    assert rows["kl"]["low"] == 0
    assert rows["kl"]["high"] > rows["kl"]["value"]
    assert rows["logit_difference"]["low"] < 0


def test_damage_is_measured_from_the_clean_run():
    """Catches one formula for both directions, and differences to the wrong run."""
    clean, corrupted = np.array([0.8, 0.6]), np.array([0.2, 0.0])
    place = (IN, "value")
    grid = fabricated_grid(
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
    grid = fabricated_grid(
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


def test_a_document_without_finite_logits_has_no_best_role():
    """Catches one such document that takes the shares of all others away."""
    restored = np.array([0.9, 0.1, np.nan])
    table = table_of(cells_of([0.9, 0.9, 0.9], [0.1, 0.1, 0.1], restored))
    row = table["restore", IN, "value", "best_share"]
    # In the second document nothing is restored at any of the four roles.
    assert (row["value"], row["documents"]) == ((1 + 1 / 4) / 2, 2)


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


def test_documents_without_any_role_have_no_best_one():
    """Catches a document that counts for every role because it has none of them."""
    present = np.ones((4, 10), bool)
    present[:, 5:] = False
    cells = cells_of(np.full(10, 0.9), np.full(10, 0.1), np.full(10, 0.9), present=present)
    found = cells.best_share(IN, "key")
    assert found["value"] == (1.0, 5)
    assert found["query"] == (0.0, 5)
