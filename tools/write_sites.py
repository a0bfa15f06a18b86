"""Writes docs/sites.md from the code: python -m tools.write_sites."""

import pathlib

from mecheval_jax.files import write_text
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.reporting.table import markdown_lines
from mecheval_jax.site_path import OUTSIDE_BLOCKS, PYVENE, TRANSFORMER_LENS

ROOT = pathlib.Path(__file__).parents[1]

CANONICAL = {
    "embedding": "token embedding plus position",
    "block_i/block_input": "the residual stream before layer i",
    "block_i/mixer_input": "its normalised form, what the mixer reads",
    "block_i/canon_output": "that plus its short convolution (only with `canon_at` A)",
    "block_i/mixer_output": "what the mixer adds to the residual stream",
    "block_i/mlp_input": "the normalised stream that the feed-forward part reads (only with one)",
    "block_i/mlp_canon_output": "that plus its short convolution (only with `canon_at` C)",
    "block_i/hidden_canon_output": "its hidden layers plus theirs (only with `canon_at` D)",
    "block_i/mlp_output": "what the feed-forward part adds (only with one)",
    "block_i/block_output": "the residual stream after layer i",
    "final_norm": "the normalised residual stream that the output head reads",
}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    return "\n".join(markdown_lines(head, rows))


def inside() -> str:
    """The sites inside the mixers, one row for each; mixers with the same list share it."""
    mixers: dict[type, list[str]] = {}
    for name, architecture in ARCHITECTURES.items():
        for layer in (0, 1):
            names = mixers.setdefault(architecture.mixer(layer), [])
            names.extend([name] if name not in names else [])
    rows, seen = [], {}
    for mixer, names in mixers.items():
        for site, meaning in mixer.SITES.items():
            seen.setdefault((site, meaning), []).extend(n for n in names)
    for (site, meaning), names in seen.items():
        rows.append((f"`{site}`", meaning, ", ".join(dict.fromkeys(names))))
    return table(("`block_i/mixer/`", "what it holds", "in"), rows)


def aliases() -> str:
    """Names of other tools."""
    rows = [(f"TransformerLens `{n}`", f"`{site}`") for n, site in OUTSIDE_BLOCKS.items()]
    rows += [
        (f"TransformerLens `blocks.i.{name}`", f"`block_i/{site}`")
        for name, site in TRANSFORMER_LENS.items()
    ]
    rows += [("TransformerLens `blocks.i.mixer.hook_NAME`", "`block_i/mixer/NAME`")]
    rows += [(f"pyvene `{name}[i]`", f"`block_i/{site}`") for name, site in PYVENE.items()]
    return table(("name", "here"), rows)


def render() -> str:
    """The whole page."""
    canonical = table(
        ("site", "what it holds"), [(f"`{site}`", meaning) for site, meaning in CANONICAL.items()]
    )
    return f"""# Sites

*Written by tools/write_sites.py from the code.* A site is a named place in a model where an
activation can be read or [rewritten](interventions.md). Axes begin with `[batch, length, ...]`
everywhere, so that a position is always an index of axis 1; the attention pattern is
`[batch, length, heads, source]`.

{canonical}

`mecheval_jax.interventions.site_paths(config)` lists those of a model.

## Inside the mixers

{inside()}

Rewriting `state` at a position changes all later ones, whatever backend computes the recurrence:
a replaced state is a decay of 0 and a write of the new state, and a shift is added to the write.
Sites that are neither read nor patched are not in the compiled program.

## Names of other tools

{aliases()}
"""


if __name__ == "__main__":
    write_text(ROOT / "docs" / "sites.md", render())
