"""Writes the table of docs/architectures.md from the code: python -m tools.write_architectures."""

import pathlib
import sys

from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.models.decoding import state_bytes
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.sites import reach_of
from tools.write_sites import table

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architectures.md"
BEGIN, END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"

LENGTHS = (1024, 32768)
"""Tokens after which the state is counted."""

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


def equation(name: str) -> str:
    """What the module of the second layer's mixer says that it is, and where its equations are."""
    mixer = ARCHITECTURES[name].mixer(1)
    file = mixer.__module__.rpartition(".")[2]
    title = (sys.modules[mixer.__module__].__doc__ or "").partition("\n")[0].rstrip(".:")
    return f"[{title}](../mecheval_jax/mixers/{file}.py)"


def size(count: int) -> str:
    """Bytes, as KiB."""
    return f"{count / 1024:,.0f}"


def rows() -> list[tuple[str, ...]]:
    """A row for each architecture."""
    found = []
    for name, architecture in ARCHITECTURES.items():
        configs = [config_of(name, length) for length in LENGTHS]
        states = (size(state_bytes(config, config.max_length)) for config in configs)
        block = "RMSNorm, no MLP" if architecture.mamba_block else "LayerNorm, MLP"
        found.append((f"`{name}`", equation(name), block, *states, local_operations(configs[0])))
    return found


def render() -> str:
    """The table, with what its columns are."""
    head = ("`model.mixer`", "equations", "block", *(f"state, {n:,} tokens" for n in LENGTHS))
    return f"""*Written by tools/write_architectures.py from the code.* The state is what two layers
of width 64 keep of a document of the model's greatest length, in KiB, counted from the state
itself: where both numbers are equal, a token more costs the same after any number of tokens. The
last column names the sites that mix neighbouring tokens whatever they are, and how many before
the current one: there a layer can hold a key and its value together before its own attention or
state does.

{table((*head, "local mixing"), rows())}
"""


def written(page: str) -> str:
    """A page with its table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{render()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
