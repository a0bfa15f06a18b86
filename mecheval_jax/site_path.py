"""Paths of sites, and the names that other tools have for them.

A site is addressed by its path: ``embedding``, ``block_1/mixer_output``,
``block_0/mixer/state``. Names of TransformerLens (``blocks.1.hook_resid_pre``,
``blocks.0.attn.hook_q``, and for any site inside a mixer ``blocks.0.mixer.hook_NAME``) and of
pyvene with a layer (``attention_input[1]``) are accepted as well; docs/sites.md lists them all.
No other module builds or parses these strings.
"""

import dataclasses
import re
from collections.abc import Sequence

MIXER = "mixer/"
"""Prefix of the components inside a mixer."""

TRANSFORMER_LENS = {
    "hook_resid_pre": "block_input",
    "hook_resid_post": "block_output",
    "ln1.hook_normalized": "mixer_input",
    "hook_attn_out": "mixer_output",
    "hook_mixer_out": "mixer_output",
    "ln2.hook_normalized": "mlp_input",
    "hook_mlp_out": "mlp_output",
    **{f"attn.hook_{name}": f"mixer/{name}" for name in "qkv"},
    "attn.hook_attn_scores": "mixer/scores",
    "attn.hook_pattern": "mixer/pattern",
    "attn.hook_z": "mixer/head_output",
    "mixer.hook_in_proj": "mixer/in_projection",
    "mixer.hook_conv_in": "mixer/conv_input",
    "mixer.hook_conv_out": "mixer/conv_output",
    **{
        f"mixer.hook_ssm_{name}": f"mixer/{name}"
        for name in ("x", "B", "C", "dt", "decay", "write", "state")
    },
    "mixer.hook_ssm_out": "mixer/ssm_output",
    "mixer.hook_out_proj": "mixer/out_projection",
}
"""Name of TransformerLens after ``blocks.i.`` -> component. Any other site inside a mixer is
``mixer.hook_NAME``."""

OUTSIDE_BLOCKS = {"hook_embed": "embedding", "ln_final.hook_normalized": "final_norm"}
"""Name of TransformerLens -> path, outside the blocks."""

PYVENE = {
    "block_input": "block_input",
    "block_output": "block_output",
    "mlp_input": "mlp_input",
    "mlp_output": "mlp_output",
    "attention_input": "mixer_input",
    "attention_output": "mixer_output",
    "query_output": "mixer/q",
    "key_output": "mixer/k",
    "value_output": "mixer/v",
    "attention_weight": "mixer/pattern",
    "attention_value_output": "mixer/head_output",
}
"""Name of pyvene before ``[i]`` -> component."""


@dataclasses.dataclass(frozen=True)
class SitePath:
    """Parts of the path of a site; `str` gives the path.

    Attributes:
        layer: Index of the block; None outside the blocks.
        component: Name in the block, as ``mixer_output``, or inside the mixer, ``mixer/state``.
    """

    layer: int | None
    component: str

    def __str__(self) -> str:
        return self.path

    @property
    def path(self) -> str:
        """Key of the site in activations and interventions."""
        if self.layer is None:
            return self.component
        return f"{block_name(self.layer)}/{self.component}"

    @classmethod
    def parse(cls, address: str) -> "SitePath":
        """Parts of a path, or of another tool's name for it.

        Whether a model has the site is not checked: an unknown address becomes a component outside
        the blocks.
        """
        if match := re.fullmatch(r"block_(0|[1-9]\d*)/(.+)", address):
            return cls(int(match[1]), match[2])
        if match := re.fullmatch(r"blocks\.(0|[1-9]\d*)\.(.+)", address):
            name = match[2]
            inside = MIXER + name.removeprefix("mixer.hook_") if "mixer.hook_" in name else name
            return cls(int(match[1]), TRANSFORMER_LENS.get(name, inside))
        if match := re.fullmatch(r"(\w+)\[(0|[1-9]\d*)\]", address):
            return cls(int(match[2]), PYVENE.get(match[1], match[1]))
        return cls(None, OUTSIDE_BLOCKS.get(address, address))

    @property
    def in_mixer(self) -> bool:
        """Whether the site is inside a mixer."""
        return self.layer is not None and self.component.startswith(MIXER)

    @property
    def name(self) -> str:
        """Last part of the path, the name of the site in its module."""
        return self.component.rpartition("/")[2]

    def beside(self, name: str) -> "SitePath":
        """Another site of the same module, a block or its mixer."""
        module, slash, _ = self.component.rpartition("/")
        return SitePath(self.layer, f"{module}{slash}{name}")


TOGETHER = "+"
"""Stands between the names of sites that are exchanged together."""


def together(paths: Sequence[str]) -> str:
    """Name of sites of one layer that are exchanged together: ``block_0/mixer/k+v``."""
    first, *others = paths
    return TOGETHER.join([first, *(SitePath.parse(other).name for other in others)])


def are_several(site: str) -> bool:
    """Whether a site is a name that `together` gave to more than one."""
    return TOGETHER in site


def block_name(layer: int) -> str:
    """Name of a block, in the paths of its sites and of its parameters."""
    return f"block_{layer}"


def in_mixer(layer: int, name: str) -> str:
    """Path of a site inside the mixer of a layer."""
    return SitePath(layer, MIXER + name).path


def head_node(layer: int, head: int) -> str:
    """Name of the contribution of one head to a mixer's output, as a node of a graph."""
    return in_mixer(layer, f"head_{head}")
