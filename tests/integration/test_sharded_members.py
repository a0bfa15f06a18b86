"""Members on several devices: nothing is exchanged, whatever the mixer."""

import json

import numpy as np
import pytest

from tests.support import small


def printed(*mixers):
    done = small.start(
        ["-m", "tests.support.sharded_members", *mixers],
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def report():
    return printed()


def assert_nothing_is_exchanged(found):
    assert set(found["collectives"]) >= {"steps"}
    assert set(found["collectives"].values()) == {0}, found
    assert found["lapack"] == 0  # of two devices of a host its calls wait for each other


def test_devices_exchange_nothing(report):
    """Catches members under GSPMD, where a loop that waits for the last of them is a collective."""
    found = report["mixers"]["attention,mamba"]
    assert set(found["collectives"]) == {"steps", "birth", "evaluate", "measure"}
    assert_nothing_is_exchanged(found)


@pytest.mark.parametrize("mixer", ["hyena", "base_conv", "h3"])
def test_ffts_stay_on_their_device(report, mixer):
    """Catches an FFT outside shard_map, for which XLA gathers all members."""
    assert report["long"][mixer]["ffts"] >= 3
    assert_nothing_is_exchanged(report["long"][mixer])


def test_losses_do_not_depend_on_devices(report):
    """Catches members that fill a device up and are recorded, or lost where others fill it up."""
    one = report["losses"]["one"]
    assert {row[0] for row in one} == set(range(11))
    for elsewhere in ("eight", "moved"):
        found = report["losses"][elsewhere]
        assert [row[:3] for row in one] == [row[:3] for row in found]
        np.testing.assert_allclose([row[3] for row in found], [row[3] for row in one], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", [*small.MIXERS, *small.HYBRIDS, "sliding_window_attention"])
def test_every_mixer_exchanges_nothing(mixer):
    """Catches a mixer whose recurrence, solve or FFT XLA spreads over devices."""
    found = printed(mixer)["mixers"][mixer]
    assert set(found["collectives"]) == {"steps", "birth", "evaluate", "measure"}
    assert_nothing_is_exchanged(found)
