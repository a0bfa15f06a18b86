"""Runs spread over devices give the numbers of one device, and move no activations."""

import json

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.partitioning.rules import shardings
from tests.support import small

BATCH = 104
"""Of `sharded_runs`; no other axis there is so long."""

MESHES = {"1,1,1", "8,1,1", "2,2,2", "1,4,2"}
EVERY_MIXER = tuple(name for name in ARCHITECTURES if name != "taylor_attention")
"""But for those that ``based`` has in its second layer."""


def printed(*mixers):
    """What `sharded_runs` prints."""
    done = small.start(
        ["-m", "tests.support.sharded_runs", *mixers],
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["devices"] == 8
    return found


@pytest.fixture(scope="module")
def report():
    return printed()


@pytest.fixture(scope="module")
def report_of_others():
    return printed(*small.HYBRIDS)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", small.HYBRIDS)
def test_the_other_mixers(report_of_others, mixer):
    """Catches a recurrence or a reshape that XLA can only compute from the whole batch."""
    test_losses_do_not_depend_on_devices(report_of_others, mixer)
    test_each_device_computes_its_own_documents(report_of_others, mixer)


@pytest.mark.parametrize("mixer", small.MIXERS)
def test_losses_do_not_depend_on_devices(report, mixer):
    """Catches a mean of means, documents drawn per device, and a restore that loses its place."""
    losses = report["training"][mixer]["losses"]
    assert len(losses["one"]) == 20
    assert losses["one"][-1] < losses["one"][0] - 0.1  # something was learned, and compared
    np.testing.assert_allclose(losses["eight"], losses["one"], atol=1e-5, rtol=0)
    if "moved" in losses:
        np.testing.assert_allclose(losses["moved"], losses["one"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("mixer", small.MIXERS)
def test_each_device_computes_its_own_documents(report, mixer):
    """Catches a batch that every device samples whole, or that is gathered on the way."""
    found = report["training"][mixer]
    whole = {BATCH, BATCH * found["read_length"]}
    assert any(whole & set(shape) for shape in found["shapes_on_one"])  # there they stand
    # The delta rule has arrays of 6 axes, in which 13 documents a device times 8 blocks make 104.
    assert not [shape for shape in found["shapes"] if whole & set(shape) and len(shape) < 6]
    assert found["all_gathers"] == 0
    assert found["all_reduces"] > 0  # of the gradients


def assert_same_on_meshes(report, meshes):
    """The same losses on all meshes, and nothing but sums sent from device to device."""
    assert set(report) == meshes
    for mesh, found in report.items():
        assert len(found["losses"]) == 20
        np.testing.assert_allclose(found["losses"], report["1,1,1"]["losses"], atol=1e-5, rtol=0)
        assert found["moved"] == [], mesh
        # Parameters are gathered where, and only where, they are spread.
        assert (found["gathers"] > 0) == (mesh not in ("1,1,1", "8,1,1")), mesh
    losses = report["1,1,1"]["losses"]
    assert losses[-1] < losses[0] - 0.02  # something was learned, and compared


@pytest.mark.parametrize(("mixer", "mesh"), [("attention", "2,2,2"), ("mamba", "1,4,2")])
def test_losses_do_not_depend_on_the_mesh(report, mixer, mesh):
    """Catches spare rows that count, a slice across devices, and layouts left to the compiler."""
    assert_same_on_meshes(report["meshes"][mixer], {"1,1,1", mesh})


def test_micro_batches_stay_on_their_devices(report):
    """Catches micro-batches of neighbours, which stand on one device, and a mean of means."""
    whole, found = report["meshes"]["attention"]["1,1,1"], report["accumulated"]["1,4,2"]
    np.testing.assert_allclose(found["losses"], whole["losses"], atol=1e-5, rtol=0)
    assert found["moved"] == []


@pytest.mark.slow
@pytest.mark.parametrize("mixer", EVERY_MIXER)
def test_every_mixer_on_every_mesh(mixer):
    """Catches a mixer whose heads or channels are moved, or whose gradient is not summed."""
    assert_same_on_meshes(printed("meshes", mixer)["meshes"][mixer], MESHES)


@pytest.mark.parametrize("mixer", ["hyena", "base_conv", "h3"])
def test_long_convolutions_stay_on_their_device(report, mixer):
    """Catches an FFT outside shard_map, for which XLA gathers the whole batch silently."""
    found = report["long"][mixer]
    assert found["ffts"] >= 3  # there and back, and the gradients
    assert found["read_length"] > 512
    assert found["all_gathers"] == found["all_to_alls"] == 0
    whole = {BATCH, BATCH * found["read_length"]}
    assert not [shape for shape in found["shapes"] if whole & set(shape)]


def test_long_convolutions_share_out_their_channels(report):
    """Catches transforms of all channels on every device along ``model``."""
    found = report["long"]["meshed"]
    assert found["moved"] == []
    of_documents = [shape.split(",")[:2] for shape in found["transforms"] if shape.count(",") == 2]
    assert of_documents
    assert all(shape == [str(BATCH // 4), "8"] for shape in of_documents)  # of 16 channels


@pytest.mark.parametrize(
    "model", ["delta_net", "attention", "attention_2_heads", "gated_delta_product"]
)
def test_short_convolutions_lie_as_their_inputs_do(report, model):
    """Catches one head that is cut, and channels of the residual stream that are: both would be
    gathered again."""
    assert report["convolved"][model] == []


@pytest.mark.parametrize("where", ["eight", "moved"])
def test_whole_runs_do_not_depend_on_devices(report, where):
    """Catches evaluation documents that must divide, scores of one device's share, and
    checkpoints that only the mesh of their run can read."""
    one, eight = report["run"]["one"], report["run"][where]
    assert [(row["step"], row["split"]) for row in eight["metrics"]] == [
        (row["step"], row["split"]) for row in one["metrics"]
    ]
    for ours, theirs in zip(eight["metrics"], one["metrics"], strict=True):
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)
    assert one["summary"]["documents"] == 10
    for name in ("loss", "accuracy", "likelihood"):
        np.testing.assert_allclose(eight["summary"][name], one["summary"][name], atol=1e-5)


def test_checkpoints_have_no_spare_rows(report):
    """Catches a padded table in a checkpoint: 19 tokens on two devices."""
    assert report["run"]["moved"]["rows"] == [19, 19]


def test_parameters_are_born_where_the_rules_say(report):
    """Catches rules that are applied to parameters alone, or not at all."""
    places = report["birth"]["split"]
    split = {path for path in places if path.endswith("mlp/fc1/kernel")}
    assert {path.split("/")[1] for path in split} == {"block_0", "mu", "nu"}
    for path, (_, devices, on_each, whole) in places.items():
        assert devices == 8
        assert on_each == ([16, 8] if path in split else whole), path
    for _, devices, on_each, whole in report["birth"]["replicated"].values():
        assert devices == 8
        assert on_each == whole


def test_a_batch_that_does_not_divide(report):
    """Catches an error deep inside XLA, or one that leaves a workdir behind."""
    assert "12" in report["uneven"]["message"]
    assert "8 devices" in report["uneven"]["message"]
    assert report["uneven"]["workdir_exists"] is False


LEAF = jax.ShapeDtypeStruct((4, 4), "float32")
TREE = {"mlp": {"fc1": {"kernel": LEAF, "bias": LEAF}}, "norm": {"scale": LEAF}}


def specs(rules):
    placed = shardings(TREE, make_mesh(jax.devices()[:1]), rules)
    return jax.tree.map(lambda sharding: sharding.spec, placed)


def test_the_first_rule_that_matches_counts():
    """Catches rules matched from the last, or at the beginning of the path only."""
    data, none = PartitionSpec("data"), PartitionSpec()
    rules = (("fc1/kernel", ("data",)), ("mlp", ()), (".*", (None, "data")))
    assert specs(rules) == {
        "mlp": {"fc1": {"kernel": data, "bias": none}},
        "norm": {"scale": PartitionSpec(None, "data")},
    }


def test_a_path_without_a_rule():
    """Catches a leaf that is silently replicated."""
    with pytest.raises(ValueError, match="'norm/scale'"):
        specs((("mlp", ()),))
