"""Made-up tables of choices among architectures."""

import pandas as pd

from mecheval_jax.selection.table import with_fronts
from mecheval_jax.store import choice

LEARNED = {
    "layers": 2,
    "parameters": 100_000,
    "state": choice.LEARNED,
    "memorised": False,
    "runs": 9,
    "diverged": 0,
    "member": 0,
    "learning_rate": 1e-3,
    "seed": 0,
    "accuracy": 0.98,
    "low": 0.96,
    "high": 0.99,
    "train_accuracy": 0.99,
    "dev_accuracy": 0.98,
    "floor": 0.25,
    "floor_name": "last_value",
    "members": 3,
    "learned": 3,
    "lowest": 0.97,
    "mean": 0.98,
    "dev_halfway": 0.6,
    "dev_peak": 0.98,
    "past_peak": False,
    "judged": 3,
    "verdict": "induction",
    "agreement": 1.0,
    "probability": 0.99,
    "member_verdict": "induction",
    "concentration": 0.95,
    "concentration_low": 0.9,
    "concentration_high": 0.98,
    "concentration_site": "block_1/block_input",
    "concentration_role": "value",
    "circuit_edges": 5,
    "edges": 15,
    "faithfulness": 0.93,
    "length": 64,
    "training_tokens_per_second": 10_000.0,
    "training_seconds": 1e-4,
    "training_seconds_low": 0.9e-4,
    "training_seconds_high": 1.1e-4,
    "prefill_seconds": 2e-3,
    "prefill_seconds_low": 1.9e-3,
    "prefill_seconds_high": 2.1e-3,
    "decode_seconds": 1e-4,
    "decode_seconds_low": 0.9e-4,
    "decode_seconds_high": 1.1e-4,
    "state_bytes": 4096,
}
"""A shape that has learned; others are said by what is different."""

LOST = {
    "state": choice.NOT_LEARNED,
    "accuracy": 0.2,
    "low": 0.15,
    "high": 0.26,
    "train_accuracy": 0.2,
    "learned": 0,
    **dict.fromkeys(choice.TRANSPARENCY),
}
"""What is different of one that has not."""

MEMORISED = LOST | {"memorised": True, "train_accuracy": 0.97}

UNFINISHED = {
    **dict.fromkeys((*choice.QUALITY, *choice.TRANSPARENCY, *choice.COST)),
    "state": choice.UNFINISHED,
    "memorised": False,
    "runs": 9,
}


def table(**shapes):
    """A table of shapes of width 64: by the name of the mixer, what is different of each."""
    rows = [
        LEARNED | {"group": f"{i:03d}_{mixer}_width_64", "mixer": mixer, "width": 64} | changes
        for i, (mixer, changes) in enumerate(shapes.items())
    ]
    return with_fronts(pd.DataFrame(rows, columns=choice.COLUMNS))
