"""What is said of a run and its evidence, of sites, costs and machines.

The terminal, figures and pages say it in the same words, from the same values.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.config import RESTORE
from mecheval_jax.evaluation.verdict.readings import at, look_up_site, parts_of_pair, reading
from mecheval_jax.reporting.numbers import MISSING, interval, number, percent, percents
from mecheval_jax.site_path import SitePath
from mecheval_jax.statistics.bootstrap import FEWEST_RUNS

COST_TITLES = {
    "training": "training",
    "prefill": "reading a document",
    "decode": "generating",
    "state": "state",
}
"""What costs are called on figures and pages, by the names that users give them."""


def site_words(path: str) -> str:
    """A site as it is called in tables: ``layer 1 input``."""
    site = SitePath.parse(path)
    name = {"block_input": "input", "block_output": "output"}.get(site.component, site.component)
    return name if site.layer is None else f"layer {site.layer} {name}"


def look_up_words(site: SitePath | None) -> tuple[str, str]:
    """The layer of a `look_up_site` and the one before it in words, if they are known."""
    if site is None:
        return "a later layer", "an earlier layer"
    return f"layer {site.layer}", f"layer {(site.layer or 1) - 1}"


def accuracy(summary: Mapping[str, Any]) -> str:
    """Accuracy with its interval."""
    if "accuracy" not in summary:
        return MISSING
    ends = {"low": summary.get("accuracy_low"), "high": summary.get("accuracy_high")}
    return f"{percent(summary['accuracy'])} {percents(ends)}".rstrip()


def run_values(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared of a run: how well it answers, and what is restored where."""
    rows = _evidence_rows(summary)
    site = look_up_site(evidence_sites([summary]))
    places = parts_of_pair(rows, site)
    best = places["value"]
    values = {name: summary.get(name) for name in ("mixer", "width", "accuracy")}
    values |= {f"accuracy_{end}": summary.get(f"accuracy_{end}") for end in ("low", "high")}
    values |= {"floor": summary.get("floors", {}).get("best")}
    for name, row in places.items():
        values |= {f"@{name}": row["value"]}
        values |= {f"@{name}_{end}": row.get(end) for end in ("low", "high")}
    bound_at = best["role"] if best["role"] == "next_key" else None
    return values | {"bound_at": bound_at} | {n: summary.get(n) for n in ("verdict", "layer")}


def evidence_sites(summaries: Iterable[Mapping[str, Any]]) -> list[str]:
    """The sites that the verdicts of some runs rest on."""
    return [row["site"] for summary in summaries for row in _evidence_rows(summary)]


def _evidence_rows(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (summary.get("evidence") or {}).get("attributions", [])


def by_site(rows: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[Mapping[str, Any]]]]]:
    """The roles of some attributions, and for every site its rows at these roles."""
    roles = list(dict.fromkeys(rows["role"]))
    found = ((site, own.to_dict("records")) for site, own in rows.groupby("site", sort=False))
    return roles, [(site, [at(own, site, role) for role in roles]) for site, own in found]


def readings(evidence: Mapping[str, Any]) -> list[dict[str, str]]:
    """The attributions that a verdict rests on, in words, with their controls."""
    return [
        {
            "site": row["site"],
            "role": ", ".join([row["role"], *_not_restored(row)]),
            "attribution": number(row["value"]),
            "interval": interval(row),
            "untrained": number(row.get("untrained")),
            "placebo": number(row.get("placebo")),
            "reading": reading(row["low"], row["high"], row.get("direction", RESTORE)),
        }
        for row in evidence.get("attributions", [])
    ]


def _not_restored(row: Mapping[str, Any]) -> list[str]:
    direction = row.get("direction", RESTORE)
    return [] if direction == RESTORE else [direction]


def distractor(evidence: Mapping[str, Any]) -> str:
    """The result of the control that replaces an uninvolved token, in words."""
    row = evidence["distractor"]
    if not row["documents"]:
        return "distractor: no document has an uninvolved token to replace"
    if pd.isna(row["value"]):
        return "distractor: too little is taken by the pair's corruption to compare with"
    taken = f"{number(row['value'])} {interval(row)}".strip()
    return (
        f"distractor: an uninvolved token replaced takes {taken} of what the pair's corruption "
        f"takes ({row['documents']} documents)"
    )


def notes(evidence: Mapping[str, Any]) -> list[str]:
    """Remarks on the numbers of a verdict, one line each."""
    lines = []
    if spans := evidence.get("thresholds"):
        words = ", ".join(f"{name} {low:.2f} to {high:.2f}" for name, (low, high) in spans.items())
        lines.append(f"the class stays as it is for thresholds {words}, each on its own")
    if evidence.get("left_out"):
        lines.append(
            f"{evidence['left_out']} documents are left out: their pair is one token, or too near "
            "to the question to tell"
        )
    if evidence.get("failed"):
        lines.append(f"controls that failed: {', '.join(evidence['failed'])}")
    if 1 < evidence.get("runs", 1) < FEWEST_RUNS:
        lines.append(
            f"{evidence['runs']} runs: intervals of fewer than {FEWEST_RUNS} may be too short"
        )
    return lines


def machine_words(machine: Mapping[str, Any]) -> str:
    """The device of ``machine.json``, and as far as they are known its rates.

    They are its own, measured beside the costs: of large matrix products, and of memory.
    """
    words = str(machine.get("device", "a machine that is not named"))
    if "platform" in machine:
        words += f" ({machine['platform']})"
    rates = (
        ("float32 products", "matrix_gflops", ",.0f", "GFLOP/s"),
        ("memory", "memory_gbytes_per_second", ",.1f", "GB/s"),
    )
    known = [
        f"{what} {machine[name]:{form}} {unit}"
        for what, name, form, unit in rates
        if isinstance(machine.get(name), int | float)
    ]
    return f"{words}: {', '.join(known)}" if known else words
