"""Meshes, layouts and rules, without any devices: where everything would be."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from mecheval_jax.errors import UserError
from mecheval_jax.mesh_axes import AXES, DOCUMENTS, FREE, MODEL, fitted, spread
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.mixers.initializers import uniform_fan_in
from mecheval_jax.mixers.options import fields_of
from mecheval_jax.mixers.projection import Projection
from mecheval_jax.mixers.short_convolution import ShortConvolution
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.partitioning.mesh import check_batch, make_mesh, parse_mesh
from mecheval_jax.partitioning.padding import padded_rows, resize_tables
from mecheval_jax.partitioning.rules import DATA_PARALLEL, path_name, rules_of, shardings
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.state import hyperparameters_of, new_state
from tests.support import small

MESH = AbstractMesh((2, 2, 2), AXES)


def config(mixer, **fields):
    """A model of two layers with two heads where there are heads, and a table of 19 rows."""
    known = mixer in ARCHITECTURES and "heads" in fields_of(ARCHITECTURES[mixer].mixer(1))
    options = {"heads": 2} if known else {"head_dim": 8} if mixer == "mamba2" else {}
    fields = {"mixer_options": options, "feed_forward": "glu", "positions": "learned"} | fields
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


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        (("fsdp", "model"), (4, 6), ("fsdp", "model")),
        (("fsdp", "model"), (3, 6), (None, "model")),
        ((DOCUMENTS, None, MODEL), (6, 5, 4), (None, None, "model")),
        ((DOCUMENTS, FREE), (8, 3), (DOCUMENTS, FREE)),
        (("model",), (4, 4, 4), ("model",)),
    ],
)
def test_fitted(layout, shape, expected):
    """Catches an uneven cut, which jax refuses, and an axis that is dropped with its neighbour."""
    assert fitted(layout, shape, MESH.shape) == PartitionSpec(*expected)


def test_spread_leaves_no_trace_without_a_mesh():
    """Catches constraints in the programs of one device."""
    text = str(jax.make_jaxpr(lambda x: spread(x, DOCUMENTS))(jnp.ones((4, 4))))
    assert "sharding_constraint" not in text


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("2,2,2", (2, 2, 2)),
        ("1, 4, 2", (1, 4, 2)),
        ("-1,1,1", (-1, 1, 1)),
        ("fsdp=4,model=2", (-1, 4, 2)),
        ("model=2,data=3", (3, 1, 2)),
    ],
)
def test_parse_mesh(text, shape):
    """Catches axes in another order."""
    assert parse_mesh(text) == shape


@pytest.mark.parametrize(
    "text", ["", "2,2", "2,2,2,2", "2,x,2", "2,-1,2", "0,1,1", "2,0,1", "fdsp=2", "fsdp=2,fsdp=2"]
)
def test_meshes_that_cannot_be(text):
    """Catches a shape that is understood halfway."""
    with pytest.raises(UserError, match=f"mesh '{text}'"):
        parse_mesh(text)


@pytest.mark.parametrize("shape", [(2, 1, 1), (-1, 2, 1), (1, 1, 3)])
def test_a_mesh_of_other_devices(shape):
    """Catches devices that stay idle silently, and an error from inside jax."""
    with pytest.raises(UserError, match=r"does not fit 1 devices: the product"):
        make_mesh(jax.devices()[:1], shape)


def test_check_batch():
    """Catches devices along `model` counted as if documents were spread over them."""
    check_batch(8, MESH)
    check_batch(8, MESH, 2)
    with pytest.raises(UserError, match="batch_size 6 does not divide over 4 devices"):
        check_batch(6, MESH)
    with pytest.raises(UserError, match=r"batch_size 12 .* 2 times .* a multiple of 8"):
        check_batch(12, MESH, 2)


@pytest.mark.parametrize("tied", [True, False])
def test_spare_rows(tied):
    """Catches spare rows that change a logit, draw a gradient or remain in what is kept."""
    model = config("attention", tied=tied, layers=1, canon=0, feed_forward="none")
    params = jax.jit(lambda key: initialize(model, key))(jax.random.key(0))
    padded = resize_tables(params, 24)
    sizes = [len(padded["token_embedding"]["embedding"])]
    sizes += [] if tied else [padded["output_head"]["kernel"].shape[1]]
    assert set(sizes) == {24}
    tokens = jnp.arange(8).reshape(2, 4)

    @jax.jit
    def logits_and_gradients(params):
        def loss(params):
            logits = LanguageModel(model, len(params["token_embedding"]["embedding"])).apply(
                {"params": params}, tokens
            )
            return jax.nn.logsumexp(logits, axis=-1).sum() + logits.mean(), logits

        return jax.grad(loss, has_aux=True)(params)

    (gradients, logits), (wide, same) = map(logits_and_gradients, (params, padded))
    np.testing.assert_allclose(same, logits, atol=1e-6)
    assert all(not leaf.any() for leaf in jax.tree.leaves(_spare(wide)))
    small.assert_same_bits(resize_tables(padded, 19), params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), resize_tables(wide, 19), gradients
    )


def _spare(params):
    spare = [params["token_embedding"]["embedding"][19:]]
    return spare + ([params["output_head"]["kernel"][:, 19:]] if "output_head" in params else [])


@pytest.mark.parametrize("use_bias", [True, False])
def test_parts_are_slices_of_the_whole(use_bias):
    """Catches columns of another part, a forgotten bias, and weights drawn unlike Dense's."""
    sizes, x = (6, 3, 1), jax.random.normal(jax.random.key(0), (2, 5, 4))
    joint = Projection(4, sizes, use_bias, uniform_fan_in, shared=(1,))
    dense = nn.Dense(10, use_bias=use_bias, kernel_init=uniform_fan_in)
    params = joint.init(jax.random.key(1), x)
    small.assert_same_bits(params, dense.init(jax.random.key(1), x))
    params = jax.tree.map(lambda leaf: leaf + 1, params)
    whole = joint.apply(params, x)
    np.testing.assert_allclose(whole, dense.apply(params, x), atol=1e-5)
    parts = joint.apply(params, x, method="parts")
    assert [part.shape[-1] for part in parts] == list(sizes)
    np.testing.assert_allclose(jnp.concatenate(parts, -1), whole, atol=1e-5)

    convolution = ShortConvolution(10, 3, use_bias)
    params = convolution.init(jax.random.key(2), whole)
    convolved = convolution.apply(params, parts, (None,) * 3, method="parts")
    expected = convolution.apply(params, whole)
    np.testing.assert_allclose(jnp.concatenate(convolved, -1), expected, atol=1e-5)
