"""Rules for the layout of a train state: pairs of a regular expression on paths and a layout.

A dense layer into heads or inner channels is cut by columns over ``model``, and the one back into
the residual stream by rows. Activations between the two stay on their device, and each half of a
block ends with one sum over the axis (Shoeybi et al. 2019). The other dimension is cut over
``fsdp``. Adam's moments have the paths, and so the layouts, of their parameters.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.sharding import NamedSharding

from mecheval_jax.array_types import PyTree
from mecheval_jax.mesh_axes import FSDP, MODEL, AnyMesh, Layout, fitted
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.mixers.projection import can_be_cut
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import block_name

Rule = tuple[str, Layout]

DATA_PARALLEL: tuple[Rule, ...] = ((".*", ()),)
"""Rules that replicate everything: documents are spread, parameters are not."""

STATE: tuple[Rule, ...] = (
    (r"^(step|key|hyperparameters/.*|opt_state/count|(diverged|stopped)_at)$", ()),
    (r"token_embedding/embedding$", (MODEL, FSDP)),
    (r"position_embedding/embedding$", (None, FSDP)),
    (r"output_head/kernel$", (FSDP, MODEL)),
    (r"norm/(scale|bias)$", ()),
    (r"canon/(weight|bias)$", ()),
    (r"lower_bounds/logits$", ()),
)
"""Rules for all but mixers and feed-forward parts."""

FEED_FORWARD: dict[str, tuple[Rule, ...]] = {
    "mlp": (
        (r"mlp/fc1/kernel$", (FSDP, MODEL)),
        (r"mlp/fc1/bias$", (MODEL,)),
        (r"mlp/fc2/kernel$", (MODEL, FSDP)),
        (r"mlp/fc2/bias$", ()),
    ),
    "glu": (
        (r"mlp/fc[12]/kernel$", (FSDP, MODEL)),
        (r"mlp/fc[12]/bias$", (MODEL,)),
        (r"mlp/fc3/kernel$", (MODEL, FSDP)),
        (r"mlp/fc3/bias$", ()),
    ),
    "channel_mix": (
        (r"mlp/fc1/kernel$", (FSDP, MODEL)),
        (r"mlp/fc2/kernel$", (MODEL, FSDP)),
        (r"mlp/x_k$", ()),
    ),
    "identity": (),
    "none": (),
}

INTO = (
    r"mixer/([qkvgrabfiw]_proj|up_proj|proj_[qkv]|[kv]_mix|in_proj|dt_proj|"
    r"(decay|gate|w)_up|projection)"
)
OUT_OF = r"mixer/(out_proj|down_proj|o_proj|proj_o|x_proj)"
MIXERS: tuple[Rule, ...] = (
    (rf"{INTO}/kernel$", (FSDP, MODEL)),
    (rf"{INTO}/bias$", (MODEL,)),
    (rf"{OUT_OF}/kernel$", (MODEL, FSDP)),
    (rf"{OUT_OF}/bias$", ()),
    (r"mixer/([qkvw]_conv|short_conv|conv)/weight$", (None, MODEL)),
    (r"mixer/([qkvw]_conv|short_conv|conv)/bias$", (MODEL,)),
    (
        r"mixer/(A_log|D|L|dt_bias|decay_logit|norm_scale|penalty|skip|[qkv]_map|time_decay|time_first)$",
        (MODEL,),
    ),
    (r"mixer/(shift_[BCD]|[BC]_bias|mimo/[xoz])$", (MODEL,)),
    (r"mixer/kernel/(A_imag|B|C|inv_A_real|log_dt)$", (MODEL,)),
    (r"mixer/filter/taps$", (None, MODEL)),
    # Small networks, and vectors along the residual stream.
    (r"mixer/filter/fc\d/kernel$", (FSDP,)),
    (r"mixer/filter/(fc\d/bias|features|frequency)$", ()),
    (r"mixer/(decay|gate|w)_down/kernel$", (FSDP,)),
    (r"mixer/mix_[kvr]$", ()),
    (r"mixer/x_[rwkvag]$", ()),
    (r"mixer/[wavg]1$", (FSDP,)),
    (r"mixer/[wavg]2$", (None, MODEL)),
    (r"mixer/([wav]0|k_[ka]|r_k|ln_(scale|bias))$", (MODEL,)),
    (r"mixer/recurrent$", (FSDP,)),
)
"""Rules for the parameters of every mixer of `mixers.ARCHITECTURES`."""


def rules_of(model: ModelConfig, mesh: AnyMesh) -> tuple[Rule, ...]:
    """The rules for the train state of a model on a mesh.

    Mixers of the user's own are replicated on every device. If ``fsdp`` and ``model`` have one
    device each, everything is.
    """
    if mesh.shape[FSDP] == mesh.shape[MODEL] == 1:
        return DATA_PARALLEL

    def of_layer(layer: int) -> Iterator[Rule]:
        for pattern, layout in FEED_FORWARD[model.block(layer).feed_forward.kind]:
            yield f"{block_name(layer)}/{pattern}", layout
        mixer = model.build_mixer(layer)
        known = any(type(mixer) is entry.mixer(layer) for entry in ARCHITECTURES.values())
        if not known:
            yield f"{block_name(layer)}/mixer/", ()
        elif not can_be_cut(mixer, mesh.shape[MODEL]):
            for pattern, layout in MIXERS:
                yield (
                    f"{block_name(layer)}/{pattern}",
                    tuple(None if axis == MODEL else axis for axis in layout),
                )

    own = [rule for layer in range(model.layers) for rule in of_layer(layer)]
    return (*own, *STATE, *MIXERS)


def path_name(path: tuple) -> str:
    """A tree path as text: ``params/block_0/mixer/qkv/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def shardings(tree: PyTree, mesh: AnyMesh, rules: Sequence[Rule] = DATA_PARALLEL) -> PyTree:
    """The sharding of every leaf, by the first rule whose expression matches in its path.

    An axis that does not divide its dimension of a leaf is left out (`mesh_axes.fitted`).

    Args:
        tree: Tree of arrays, or of their shapes.
        mesh: Mesh of the shardings.
        rules: Rules, the first that matches counting.

    Raises:
        ValueError: If no rule matches a leaf.
    """

    def place(path: tuple, leaf: Any) -> NamedSharding:
        name = path_name(path)
        for pattern, layout in rules:
            if re.search(pattern, name):
                return NamedSharding(mesh, fitted(layout, leaf.shape, mesh.shape))
        raise ValueError(f"no partitioning rule matches {name!r}")

    return jax.tree.map_with_path(place, tree)
