"""Grids and evidence of fabricated documents, and the verdict on it."""

import numpy as np

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.grid import Grid
from mecheval_jax.evaluation.verdict.evidence import Evidence
from mecheval_jax.evaluation.verdict.verdict import judge
from tests.support import planted

EVALUATION = planted.EVALUATION
ROLES = EVALUATION.roles
IN, OUT = "block_1/block_input", "block_1/block_output"
CONVOLVED = "block_0/mixer/conv_output"


def fabricated_grid(
    clean: np.ndarray,
    corrupted: np.ndarray,
    restored: dict[tuple[str, str], np.ndarray],
    layers: int = 2,
    roles: tuple[str, ...] = ("key", "value", "next_key", "query"),
    present: np.ndarray | None = None,
    damaged: dict[tuple[str, str], np.ndarray] | None = None,
    inside: tuple[str, ...] = (),
    **evaluation,
) -> Grid:
    """A grid of given probabilities, one corruption (``key``), at the residual stream.

    Args:
        clean, corrupted: probability of the answer in each document.
        restored: by site and role; the corrupted run's where there is no entry.
        layers: depth of the model that it pretends to come from.
        roles: of the grid.
        present: [role, document]; all if None.
        damaged: as `restored`, of the other direction; the clean run's by default.
        inside: names of further sites of every layer.
        **evaluation: Fields of `EvaluationConfig`: resamples, seed.
    """
    parts = ("block_input", *inside, "block_output")
    sites = tuple(f"block_{layer}/{part}" for layer in range(layers) for part in parts)
    for site, role in [*restored, *(damaged or {})]:
        assert site in sites, f"{site} is none of {sites}"
        assert role in roles, f"{role} is none of {roles}"
    clean, corrupted = np.asarray(clean, float), np.asarray(corrupted, float)

    def measured(site):
        probability = np.stack(
            [
                [[given.get((site, role), base) for role in roles]]
                for given, base in ((restored, corrupted), (damaged or {}, clean))
            ]
        )
        return {"probability": probability, "logit": 10 * probability, "kl": probability**2}

    runs = np.stack([clean, corrupted])
    return Grid(
        sites=sites,
        evaluation=EvaluationConfig(roles=roles, corruptions=("key",), **evaluation),
        present=np.ones((len(roles), len(clean)), bool) if present is None else present,
        runs={"probability": runs, "logit": 10 * runs},
        patched={site: measured(site) for site in sites},
    )


def evidence_on(shares, layers=2, correct=0.95, floor=0.25, convolutions=(), **grid):
    """Evidence of fabricated documents.

    Args:
        shares: restored share of the gap by site and role: a number, or one per document.
        layers: depth.
        correct: share of right answers.
        floor: as in `Evidence`.
        convolutions: names of convolution outputs of every layer.
        **grid: of `fabricated_grid`.
    """
    clean = grid.pop("clean", np.full(40, 0.9))
    corrupted = grid.pop("corrupted", np.full(40, 0.1))
    restored = {place: corrupted + share * (clean - corrupted) for place, share in shares.items()}
    made = fabricated_grid(clean, corrupted, restored, layers=layers, inside=convolutions, **grid)
    sites = tuple(site for site in made.sites if site != "block_0/block_input")
    asked = np.ones(len(clean))
    right = np.arange(len(clean)) < round(correct * len(clean))
    return Evidence.of_grid(made, sites, right, asked, floor)


def verdict_on(shares, **options):
    """The verdict on `evidence_on`."""
    return judge(evidence_on(shares, **options), EVALUATION)


# Convolutions.

DIRECT = {
    ("block_0/block_output", "query"): 1.0,
    (IN, "query"): 1.0,
    (OUT, "query"): 1.0,
}
