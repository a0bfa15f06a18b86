"""Ports: where an edge can enter each kind of mixer."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.patching.ports import chosen_ports, convolution_of, ports_of
from tests.support import planted

PORTS = {
    "attention": "q:s k:s v:s",
    "mamba": "x:c B:c C:c dt:c gate:s",
    "mamba2": "x:c B:c C:c dt:s gate:s",
    "gated_delta_net": "q:s k:s v:s beta:s decay:s gate:s",
    "h3": "q:s v:s rest:c",
    "base_conv": "gate:s rest:sc",
}
"""Ports by mixer; whether each reads the stream, the convolution or both."""


@pytest.mark.parametrize("mixer", PORTS)
def test_the_ports_of_a_mixer(mixer):
    """Catches a port that another determines, a forgotten one, and one read from elsewhere."""
    config = planted.shape_of(mixer, layers=1, width=32, mixer_options=OPTIONS.get(mixer, {}))
    found = " ".join(
        f"{port.name}:{'s' * port.reads_stream}{'c' * port.reads_convolution}"
        for port in ports_of(config, 0)
    )
    assert found == PORTS[mixer]


OPTIONS = {"mamba2": {"head_dim": 16}}


def test_ports_can_be_chosen():
    """Catches a choice that reaches the wrong layers, or leaves out what is read besides."""
    config = planted.shape_of("attention,mamba")
    names = lambda ports: [[port.name for port in each] for each in chosen_ports(config, ports)]
    assert names(("none",)) == [[], []]
    assert names(("k", "dt")) == [["k", "rest"], ["dt", "rest"]]
    assert names(("v",)) == [["v", "rest"], []]
    assert convolution_of(config, 1) == "block_1/mixer/conv_output"


def test_ports_that_no_mixer_has_are_refused():
    """Catches a port that is silently left out."""
    config = planted.shape_of("attention,mamba")
    with pytest.raises(
        UserError, match=r"port 'beta': no mixer of 'attention,mamba' .* q, k, v in"
    ):
        chosen_ports(config, ("q", "beta"))
