"""Grids and evidence of fabricated documents, and the verdict on it."""

import numpy as np

from mecheval_jax.evaluation.config import DAMAGE, RESTORE, EvaluationConfig
from mecheval_jax.evaluation.patching.grid import Grid
from mecheval_jax.evaluation.verdict.evidence import Evidence, EvidenceCell
from mecheval_jax.evaluation.verdict.exchanges import cases_of
from mecheval_jax.evaluation.verdict.places import LOCAL, READING, STREAM, Place
from mecheval_jax.evaluation.verdict.verdict import judge
from tests.support import planted

EVALUATION = planted.EVALUATION


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


def evidence_on(shares, layers=2, correct=0.95, floor=0.25, local=(), **ends):
    """Evidence of fabricated documents; probabilities and logits agree unless told otherwise.

    Args:
        shares: share of the gap by layer and set, a number or one per document: restored at the
            layer's input; with a third entry also "damage", "local", "read" (what is lost if the
            layer reads another pair). The named positions restore everything, and each layer
            reads what `READ` says, if not told.
        layers: depth.
        correct: share of right answers.
        floor: as in `Evidence`.
        local: layers that have local operations.
        **ends: ``clean`` and ``corrupted`` [document]; ``logit``, shares of the logits.
    """
    clean = ends.pop("clean", np.full(40, 0.9))
    corrupted = ends.pop("corrupted", np.full(40, 0.1))
    logit = ends.pop("logit", shares)
    assert not ends, f"no {ends}"
    cells, known = [], {}
    for layer in range(layers):
        places = [(STREAM, "block_input")] if layer else []
        places += [(LOCAL, "mixer/conv_output")] if layer in local else []
        for kind, name in [*places, (READING, "mixer_output")]:
            place = Place(kind, layer, (f"block_{layer}/{name}",), 2)
            for direction, role in cases_of(place):
                role = role if isinstance(role, str) else SINGLES[role]
                cell = EvidenceCell(kind, layer, direction, role, place.site)
                words = {DAMAGE: ("damage",), RESTORE: ()}.get(direction, ("read",))
                words = ("local",) if kind == LOCAL else words
                known[cell] = (layer, role, *words)
                cells.append(cell)
    for given in (*shares, *logit):
        assert given in known.values(), f"{given} is none of {sorted(map(str, known.values()))}"
    defaults = {(layer, "named"): 1.0 for layer in range(layers)}
    defaults |= {(layer, "pair", "read"): READ for layer in range(layers)}
    patched = []
    for told in (shares, logit):
        rows = [np.broadcast_to((defaults | told).get(known[c], 0.0), clean.shape) for c in cells]
        back = np.array([cell.direction == RESTORE for cell in cells])[:, None]
        moved = np.stack(rows) * (clean - corrupted)
        patched.append(np.where(back, corrupted + moved, clean - moved))
    return Evidence(
        cells=tuple(cells),
        ends=np.stack([[clean, corrupted]] * 2),
        patched=np.stack(patched),
        present=np.ones((len(cells), len(clean)), bool),
        documents=np.array([len(clean)]),
        left_out=np.array([0]),
        names=np.arange(len(clean)),
        correct=np.array([round(correct * len(clean))]),
        asked=np.array([len(clean)]),
        floor=floor,
        layers=layers,
        silent=(),
    )


def verdict_on(shares, **options):
    """The verdict on `evidence_on`."""
    return judge(evidence_on(shares, **options), EVALUATION)


READ = 0.9
SINGLES = ("value", "next_key", "value+2", "value+3")

DIRECT = {
    (1, "question"): 1.0,
    (1, "elsewhere"): 1.0,
    (1, "elsewhere", "damage"): 1.0,
    (1, "pair", "read"): 0.0,
}
"""Retrieved in layer 0 of two."""

INDUCED = {(1, "pair"): 1.0, (1, "value"): 1.0, (1, "pair", "damage"): 1.0}
"""Looked up in layer 1 of two."""
