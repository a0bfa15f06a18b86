"""Layouts of parameters and what is kept beside them, without any devices."""

import fnmatch
import re

import flax.linen as nn
import jax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from mecheval_jax.mesh_axes import AXES
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.mixers.options import fields_of
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.partitioning.padding import padded_rows, resize_tables
from mecheval_jax.partitioning.rules import (
    DATA_PARALLEL,
    MIXERS,
    path_name,
    rules_of,
    shardings,
)
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.state import hyperparameters_of, new_state
from tests.support.compilation import ROOT

PAGE = ROOT / "docs" / "sharding.md"
MESH = AbstractMesh((2, 2, 2), AXES)


def config(mixer, **fields):
    """A model of two layers with two heads where there are heads, and a table of 19 rows."""
    known = mixer in ARCHITECTURES and "heads" in fields_of(ARCHITECTURES[mixer].mixer(1))
    headed = mixer.startswith(("mamba2", "mamba3", "log_linear"))
    options = {"heads": 2} if known else {"head_dim": 8} if headed else {}
    fields = {"feed_forward": "glu", "positions": "learned"} | fields
    fields = {"mixer_options": options, "mamba_feed_forward": "glu"} | fields
    shape = {"layers": 2, "width": 16, "vocabulary_size": 19, "max_length": 8, "canon": 2}
    return ModelConfig(mixer, **(shape | fields))


def specs(model, mesh=MESH):
    """Where every leaf of a train state is, by its path."""
    hyperparameters = hyperparameters_of(TrainingConfig(steps=1))
    rows = padded_rows(model.vocabulary_size, mesh)
    state = jax.eval_shape(lambda: resize_tables(new_state(model, hyperparameters), rows))
    placed = shardings(state, mesh, rules_of(model, mesh))
    return {path_name(path): place.spec for path, place in jax.tree.leaves_with_path(placed)}


@pytest.mark.parametrize("mixer", ARCHITECTURES)
def test_every_leaf_has_a_rule(mixer):
    """Catches a parameter that no rule is meant for, and moments that are not with theirs."""
    found = specs(config(mixer, tied=False))
    assert (".*", ()) not in rules_of(config(mixer), MESH)
    for path, spec in found.items():
        if path.startswith("params/"):
            for moment in ("mu", "nu"):
                assert found[path.replace("params", f"opt_state/{moment}", 1)] == spec
        elif not path.startswith("opt_state/") or path.endswith("count"):
            assert spec == PartitionSpec(), path
    assert found["params/token_embedding/embedding"] == PartitionSpec("model", "fsdp")
    kernels = [spec for path, spec in found.items() if re.search(r"(proj|fc\d)/kernel", path)]
    assert any(spec == PartitionSpec("fsdp", "model") for spec in kernels)
    assert any(spec == PartitionSpec("model", "fsdp") for spec in kernels)


COLUMNS, ROWS = PartitionSpec("fsdp", "model"), PartitionSpec("model", "fsdp")
EXPECTED = {
    "attention": {"q_proj/kernel": COLUMNS, "out_proj/kernel": ROWS, "out_proj/bias": ()},
    "hyena": {"in_proj/bias": ("model",), "short_conv/weight": (None, "model"), "D": ("model",)},
    "h3": {"shift_C": ("model",), "kernel/B": ("model",), "v_proj/kernel": COLUMNS},
    "mamba": {"A_log": ("model",), "out_proj/kernel": ROWS, "dt_proj/kernel": (None, "model")},
    "mamba2": {"norm_scale": ("model",), "A_log": ("model",), "in_proj/kernel": COLUMNS},
    "mamba3": {"B_bias": ("model",), "B_norm/scale": (), "in_proj/kernel": COLUMNS},
    "path_attention": {
        "w_down/kernel": ("fsdp",),
        "w_up/kernel": COLUMNS,
        "w_conv/weight": (None, "model"),
    },
    "gated_delta_net": {"o_norm/scale": (), "dt_bias": ("model",), "g_proj/kernel": COLUMNS},
    "gla": {"decay_down/kernel": ("fsdp",), "decay_up/kernel": COLUMNS, "o_proj/kernel": ROWS},
    "rwkv4": {"mix_k": (), "time_decay": ("model",), "r_proj/kernel": COLUMNS},
    # Copied along `model`: no heads, no inner channels.
    "base_conv": {"projection/kernel": ("fsdp", None), "filter/fc1/kernel": (None,)},
    "s4d": {"out_proj/kernel": (None, "fsdp"), "kernel/C": (None,), "D": (None,)},
    "lstm": {"in_proj/kernel": ("fsdp", None), "recurrent": ("fsdp",)},
}


@pytest.mark.parametrize("mixer", EXPECTED)
def test_layouts(mixer):
    """Catches columns and rows that are mixed up, and axes of a filter that are."""
    found = specs(config(mixer))
    for path, layout in EXPECTED[mixer].items():
        assert found[f"params/block_1/mixer/{path}"] == PartitionSpec(*layout), path


@pytest.mark.parametrize(
    ("options", "cut"),
    [({"heads": 4}, True), ({"heads": 1}, False), ({"heads": 4, "key_heads": 1}, False)],
)
def test_heads_are_never_cut(options, cut):
    """Catches channels of one head on two devices, whose scores would have to be summed."""
    found = specs(config("attention", mixer_options=options))
    for name, where in (("q_proj", (0, 1)), ("v_proj", (0, 1)), ("out_proj", (1, 0))):
        spec = found[f"params/block_1/mixer/{name}/kernel"]
        assert (spec[where[0]], spec[where[1]]) == ("fsdp", "model" if cut else None)
    assert found["params/block_1/mlp/fc1/kernel"] == COLUMNS  # the rest of the block is


def expanded(pattern):
    """The paths inside a mixer that the expression of a rule is meant for, `*` for a digit."""
    pattern = pattern.removeprefix("mixer/").removesuffix("$").replace(r"\d", "*")
    pattern = re.sub(r"\[(\w+)\]", lambda chosen: f"({'|'.join(chosen[1])})", pattern)
    if not (group := re.search(r"\(([^()]*)\)", pattern)):
        return {pattern}
    before, after = pattern[: group.start()], pattern[group.end() :]
    return set().union(*(expanded(before + name + after) for name in group[1].split("|")))


def layouts_on_the_page():
    """Expressions of paths, and the layout that docs/sharding.md gives them, row by row."""
    rows = re.findall(r"^\| (.+) \| (?:.* )?\| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    found, names = [], []
    for cell, layout in rows:
        own = cell.startswith("their biases")
        names = [f"{name}/bias" for name in names] if own else re.findall("`(.+?)`", cell)
        found += [(name, layout.removesuffix(", whole")) for name in names]
    return found


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in MIXERS])
def test_the_page_has_every_rule(pattern):
    """Catches a parameter that docs/sharding.md does not name, or names beside another layout."""
    layout = dict(MIXERS)[pattern]
    shown = ", ".join(f"`{axis}`" if axis else "whole" for axis in layout) or "whole"
    page = layouts_on_the_page()
    for name in expanded(pattern):
        short = re.sub("/(kernel|weight)$", "", name)
        found = {layout for named, layout in page if fnmatch.fnmatch(short, named)}
        assert shown in found, name


class Own(nn.Module):
    """A mixer of somebody's own, with parameters that no rule knows."""

    width: int

    @nn.compact
    def __call__(self, x, positions=None):
        return nn.Dense(self.width, name="strange")(x)


def test_a_mixer_of_ones_own_is_copied():
    """Catches a mixer that cannot be trained on a mesh, and one that is cut at random."""
    model = config(f"{__name__}:Own")
    assert specs(model)["params/block_0/mixer/strange/kernel"] == PartitionSpec()


def test_data_alone_copies_everything():
    """Catches rules that change programs where nothing is to be spread."""
    assert rules_of(config("mamba"), AbstractMesh((8, 1, 1), AXES)) is DATA_PARALLEL
