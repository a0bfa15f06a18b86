"""Run folders with every number different, so that a swap shows, without any training."""

import json

import pandas as pd

from mecheval_jax.evaluation.verdict.verdict import Verdict

CONFIG = {
    "task": {"name": "associative_recall", "pairs": 4, "key_vocabulary": 8, "value_vocabulary": 8},
    "model": {"mixer": "attention", "layers": 2, "width": 16, "max_length": 32},
    "training": {"steps": 200, "learning_rate": 0.001, "seed": 3},
    "evaluation": {"documents": 40},
}

SUMMARY = {
    "finished": True,
    "step": 200,
    "mixer": "attention",
    "width": 16,
    "accuracy": 0.912,
    "accuracy_low": 0.853,
    "accuracy_high": 0.957,
    "split": "test",
    "documents": 40,
    "floors": {"uniform": 0.125, "in_document": 0.25, "first": 0.234, "last": 0.2, "best": 0.25},
}

ROLES = ("key", "value", "query")

VALUES = {  # (site, role) -> attribution, all different, so that a swap shows
    ("block_0/block_output", "key"): 0.11,
    ("block_0/block_output", "value"): 0.87,
    ("block_0/block_output", "query"): -0.001,
    ("block_1/block_input", "key"): -0.13,
    ("block_1/block_input", "value"): 0.93,
    ("block_1/block_input", "query"): 0.02,
    ("block_1/block_output", "key"): 0.03,
    ("block_1/block_output", "value"): None,
    ("block_1/block_output", "query"): 1.37,
}

PROBABILITIES = {"induction": 0.874, "mixed": 0.126, "not_learned": 0.0}

CONTROLLED = {  # what stands beside two readings
    ("block_1/block_input", "value"): {"untrained": 0.041, "placebo": -0.062},
    ("block_1/block_input", "query"): {"untrained": None, "placebo": 0.013},
}

VERDICT = Verdict(
    "induction",
    1,
    "convolution_at_value",
    "the input restores 0.93 [0.88, 0.98] at the value",
    PROBABILITIES,
    {},
)

DISTRACTOR = {"value": 0.017, "low": -0.021, "high": 0.055, "documents": 37}

TRAINING = {
    "steps": [
        {"step": step, "accuracy": accuracy, "verdict": verdict, "layer": layer}
        | {"binding": None, "probabilities": {verdict: share}}
        for step, accuracy, verdict, layer, share in (
            (100, 0.26, "not_learned", None, 0.93),
            (200, 0.912, "induction", 1, 0.874),
        )
    ],
    "transitions": [
        {"before": "not_learned", "after": "induction", "step": 200, "low": 100, "high": None}
    ],
}


def attribution_rows(values=VALUES, corruption="key", direction="restore"):
    rows = []
    for (site, role), value in values.items():
        block, component = site.split("/")
        place = {"layer": int(block[-1]), "component": component, "site": site, "role": role}
        ends = {"low": None, "high": None}
        if value is not None:
            ends = {"low": value - 0.05, "high": value + 0.05}
        rows.append(
            {"corruption": corruption, "direction": direction, "step": 200, **place}
            | {"metric": "attribution", "value": value, **ends, "documents": 40}
        )
        rows.append(rows[-1] | {"metric": "probability", "value": 0.5})
    return rows


def evidence_rows():
    rows = [row for row in attribution_rows() if row["metric"] == "attribution"]
    return [row | CONTROLLED.get((row["site"], row["role"]), {}) for row in rows]


def table_of(values=VALUES, **place):
    return pd.DataFrame(attribution_rows(values, **place))


def make_run(folder, verdict="induction", interchange=True, **summary):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    provenance = {
        "commit": "abc123",
        "arguments": ["--config=configs/recall.py:width=16", "--workdir=a b"],
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    steps = [
        {"step": s, "split": d, "accuracy": s / 250} for s in (100, 200) for d in ("train", "dev")
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
    values = SUMMARY | summary
    if interchange:
        table_of().to_csv(folder / "interchange.csv", index=False)
        evidence = evidence_rows()
        values |= {
            "verdict": verdict,
            "layer": 1,
            "binding": VERDICT.binding,
            "reason": VERDICT.reason,
            "probabilities": PROBABILITIES,
            "evidence_step": 200,
            "evidence": {"gap": 0.667, "attributions": evidence, "distractor": DISTRACTOR},
        }
    (folder / "summary.json").write_text(json.dumps(values))
    return folder
