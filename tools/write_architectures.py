"""Writes what docs say of all architectures from the code: python -m tools.write_architectures.

The table of docs/architectures.md, and docs/mixers.md with the equations and options of each.
"""

import dataclasses
import inspect
import math
import pathlib
import re
import sys

from mecheval_jax.evaluation.cost.measured_programs import prefill
from mecheval_jax.files import write_text
from mecheval_jax.interventions import site_paths
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.mixers.architectures import CONTEXT, fields_of
from mecheval_jax.models.decoding import state_bytes
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath
from mecheval_jax.sites import reach_of
from tools.blocks import with_block
from tools.write_sites import table

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architectures.md"
EQUATIONS = ROOT / "docs" / "mixers.md"
MARKS = "<!-- begin of the table -->", "<!-- end of the table -->"

LENGTHS = (1024, 32768)
"""Tokens after which the state is counted."""

COUNTED = (1024, 8192)
"""Tokens between which the growth of operations is counted."""

OPTIONS = {"log_linear_mamba2": {"levels": 16}}
"""Options without which a mixer does not reach the greater length."""


def config_of(name: str, length: int) -> ModelConfig:
    """Two layers of width 64, which is as many as the architectures with two kinds need."""
    shape = {"layers": 2, "width": 64, "vocabulary_size": 64, "max_length": length}
    return ModelConfig(name, mixer_options=OPTIONS.get(name, {}), **shape)


def local_operations(config: ModelConfig) -> str:
    """Sites that mix neighbouring tokens, and how many of those before the current one."""
    found = {}
    for layer in range(config.layers):
        for site, reach in (reach_of(config.build_mixer(layer)) or {}).items():
            found[site] = "all" if reach >= config.max_length - 1 else str(int(reach))
    return ", ".join(f"`{site}` {reach}" for site, reach in found.items()) or "no"


def inner_sites(config: ModelConfig) -> str:
    """Names of the sites inside the mixers of all layers."""
    paths = map(SitePath.parse, site_paths(config))
    names = dict.fromkeys(path.name for path in paths if path.in_mixer)
    return ", ".join(f"`{name}`" for name in names)


def file_of(mixer: type) -> str:
    """Name of the module of a mixer, which is its heading among the equations."""
    return mixer.__module__.rpartition(".")[2]


def text_of(mixer: type) -> str:
    """What the module of a mixer says."""
    return inspect.cleandoc(sys.modules[mixer.__module__].__doc__ or "")


def equation(name: str) -> str:
    """What the module of the second layer's mixer says that it is, and where its equations are."""
    mixer = ARCHITECTURES[name].mixer(1)
    title = text_of(mixer).partition("\n")[0].rstrip(".:")
    return f"[{title}](mixers.md#{file_of(mixer)})"


def growth(name: str) -> str:
    """The power of the length with which the operations of reading a document grow."""
    short, long = (prefill(config_of(name, n), n, 1).count().flops for n in COUNTED)
    return f"{math.log(long / short) / math.log(COUNTED[1] / COUNTED[0]):.2f}"


def size(count: int) -> str:
    """Bytes, as KiB."""
    return f"{count / 1024:,.0f}"


def rows(powers: dict[str, str]) -> list[tuple[str, ...]]:
    """A row for each architecture."""
    found = []
    for name, architecture in ARCHITECTURES.items():
        configs = [config_of(name, length) for length in LENGTHS]
        states = (size(state_bytes(config, config.max_length)) for config in configs)
        block = "RMSNorm, no MLP" if architecture.mamba_block else "LayerNorm, MLP"
        cells = (*states, inner_sites(configs[0]), powers.get(name, "?"))
        found.append((f"`{name}`", equation(name), block, *cells, local_operations(configs[0])))
    return found


def render(powers: dict[str, str]) -> str:
    """The table, with what its columns are; `powers` by `growth`."""
    states = (f"state, {n:,} tokens" for n in LENGTHS)
    head = ("`model.mixer`", "equations", "block", *states, "sites in the mixer", "power")
    return f"""*Written by tools/write_architectures.py from the code.* The state is what two layers
of width 64 keep of a document of the model's greatest length, in KiB, counted from the state
itself: where both numbers are equal, a token more costs the same after any number of tokens.
[sites.md](sites.md) says what stands at each site. *Power* p: between {COUNTED[0]:,} and
{COUNTED[1]:,} tokens the operations of reading a whole document at once grow like length^p.
The last column names the sites that mix neighbouring tokens whatever they are, and how many before
the current one: there a layer can hold a key and its value together before its own attention or
state does.

{table((*head, "local mixing"), rows(powers))}
"""


def written(page: str, powers: dict[str, str]) -> str:
    """A page with its table as it is now."""
    return with_block(page, render(powers).splitlines(), MARKS, PAGE.name)


def powers_on(page: str) -> dict[str, str]:
    """The powers that a page shows, by architecture: counting all of them takes a minute."""
    return dict(re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+) \| [^|]* \|$", page, re.MULTILINE))


def meanings(mixer: type) -> dict[str, str]:
    """What the docstrings of a class and of those that it is made of say of its fields."""
    found: dict[str, str] = {}
    for part in reversed(mixer.__mro__):
        _, _, told = inspect.cleandoc(part.__doc__ or "").partition("Attributes:\n")
        section = re.match(r"(?:    .*\n?)*", told)
        for field in re.split(r"\n(?=    \w)", section.group() if section else ""):
            names, _, meaning = field.strip().partition(": ")
            found |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return found


def options(name: str, file: str) -> dict[str, tuple[str, str]]:
    """Options of an architecture in a module: their defaults, and what they mean."""
    architecture, found = ARCHITECTURES[name], {}
    for layer in (0, 1):
        mixer = architecture.mixer(layer)
        if file_of(mixer) != file:
            continue
        told, own = meanings(mixer), dict(architecture.defaults(layer))
        # Fields of a family that no value turns on in this mixer are no options of it.
        left_out = {*CONTEXT, *getattr(mixer, "refused", dict)()}
        for field in dataclasses.fields(mixer):
            if field.name not in fields_of(mixer) or field.name in left_out:
                continue
            default = own.get(field.name, field.default)
            value = "required" if default is dataclasses.MISSING else f"`{default!r}`"
            found.setdefault(field.name, {})[value] = told.get(field.name, "")
    return {
        option: (" in even layers, ".join(values), next(iter(values.values())))
        for option, values in found.items()
    }


def options_table(file: str, names: list[str]) -> str:
    """The options of architectures that a module makes; defaults that differ, one by one."""
    merged: dict[tuple[str, str, str], list[str]] = {}
    for name in names:
        for option, (default, meaning) in options(name, file).items():
            merged.setdefault((option, default, meaning), []).append(name)
    lines = [
        (
            f"`{option}`" + (f" ({', '.join(of)})" if len(of) < len(names) else ""),
            default,
            meaning.replace("``", "`"),
        )
        for (option, default, meaning), of in merged.items()
    ]
    return table(("option", "default", "what it is"), lines) if lines else "No options."


def equations() -> str:
    """What every module of a mixer says, once for all architectures that it makes."""
    modules: dict[str, tuple[str, list[str]]] = {}
    for name, architecture in ARCHITECTURES.items():
        for layer in (0, 1):
            mixer = architecture.mixer(layer)
            names = modules.setdefault(file_of(mixer), (text_of(mixer), []))[1]
            names += [] if name in names else [name]
    parts = [
        f"## {file}\n\nOf {', '.join(f'`{name}`' for name in names)}. {text.replace('``', '`')}\n\n"
        f"{options_table(file, names)}\n"
        for file, (text, names) in modules.items()
    ]
    head = (
        "# Equations and options\n\n*Written by tools/write_architectures.py from the code.* "
        "[architectures.md](architectures.md) compares them. Options are fields of "
        "`model.mixer_options`; a list has one value for each layer. What a mixer cannot have, "
        "such as the short convolutions or the output gate of its relatives, is no option of it.\n"
    )
    return "\n".join([head, *parts])


if __name__ == "__main__":
    write_text(PAGE, written(PAGE.read_text(), {name: growth(name) for name in ARCHITECTURES}))
    write_text(EQUATIONS, equations())
