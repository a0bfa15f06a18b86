"""Evidence of fabricated documents, and the verdict on it."""

import numpy as np

from mecheval_jax.evaluation.verdict.evidence import (
    Evidence,
)
from mecheval_jax.evaluation.verdict.verdict import judge
from tests.support import planted

EVALUATION = planted.EVALUATION
ROLES = EVALUATION.roles
IN, OUT = "block_1/block_input", "block_1/block_output"
CONVOLVED = "block_0/mixer/conv_output"


def evidence_on(shares, layers=2, correct=0.95, floor=0.25, convolutions=(), **grid):
    """Evidence of fabricated documents.

    Args:
        shares: restored share of the gap by site and role: a number, or one per document.
        layers: depth.
        correct: share of right answers.
        floor: as in `Evidence`.
        convolutions: names of convolution outputs of every layer.
        **grid: of `planted.fabricated_grid`.
    """
    clean = grid.pop("clean", np.full(40, 0.9))
    corrupted = grid.pop("corrupted", np.full(40, 0.1))
    restored = {place: corrupted + share * (clean - corrupted) for place, share in shares.items()}
    made = planted.fabricated_grid(
        clean, corrupted, restored, layers=layers, inside=convolutions, **grid
    )
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
