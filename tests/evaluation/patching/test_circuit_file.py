"""Files of circuits: what was written is read, for the model that it is of."""

import json

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.patching.circuit_file import read_circuit, write_circuit
from mecheval_jax.evaluation.patching.graph import Edge
from tests.support import planted

EDGES = (
    Edge("embedding", "block_0/mixer_output", "v"),
    Edge("block_0/mixer_output", "logits"),
)


@pytest.fixture(scope="module")
def config():
    return planted.shape_of("attention", layers=1, feed_forward="none")


def test_what_is_written_is_read(config, tmp_path):
    """Catches a port that is lost, and edges in another order."""
    write_circuit(tmp_path / "circuit.json", config, ("auto",), EDGES)
    graph, edges = read_circuit(tmp_path / "circuit.json", config)
    assert edges == EDGES
    assert len(graph.edges) == 5


def test_a_mixer_for_all_layers_or_for_each(tmp_path):
    """Catches a circuit that is refused for the same model, whose mixer is written otherwise."""
    path, edges = tmp_path / "circuit.json", (Edge("block_0/mixer_output", "logits"),)
    one, each = (planted.shape_of(name) for name in ("attention", "attention,attention"))
    for written, read in ((one, each), (each, one)):
        write_circuit(path, written, ("auto",), edges)
        assert read_circuit(path, read)[1] == edges
    write_circuit(path, one, ("auto",), edges)
    with pytest.raises(UserError, match="2 layers of attention: the model has 2 of attention,mam"):
        read_circuit(path, planted.shape_of("attention,mamba"))


def test_a_file_that_cannot_be_written_is_refused(config, tmp_path):
    """Catches a traceback."""
    for path, told in ((tmp_path, "it is a folder"), (tmp_path / "none/x", "none is no folder")):
        with pytest.raises(UserError, match=f"cannot be written: .*{told}"):
            write_circuit(path, config, ("auto",), EDGES)


def test_a_circuit_of_another_model_is_refused(config, tmp_path):
    """Catches a circuit that is taken for one of this model, and edges that it cannot have."""
    path = tmp_path / "circuit.json"
    write_circuit(path, config, ("auto",), EDGES)
    for other, told in (
        (planted.shape_of("mamba", layers=1), "1 layers of attention: the model has 1 of mamba"),
        (planted.shape_of("attention"), "the model has 2 of attention"),
        (planted.shape_of("attention", layers=1), "its heads or feed-forward parts differ"),
    ):
        with pytest.raises(UserError, match=told):
            read_circuit(path, other)
    with pytest.raises(UserError, match=r"no edge embedding -> block_0/mixer_output \(dt\)"):
        write_circuit(path, config, ("auto",), [Edge("embedding", "block_0/mixer_output", "dt")])


@pytest.mark.parametrize("text", ["{", '{"mixer": "attention"}', '{"edges": 3}'])
def test_a_damaged_file_is_refused(config, tmp_path, text):
    """Catches a traceback."""
    path = tmp_path / "circuit.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"circuit\.json"):
        read_circuit(path, config)


def test_rows_of_a_wrong_length_are_refused(config, tmp_path):
    """Catches an edge with too few parts, or too many."""
    path = tmp_path / "circuit.json"
    write_circuit(path, config, ("auto",), EDGES)
    values = json.loads(path.read_text())
    for row in (["embedding"], ["embedding", "logits", "v", "k"]):
        path.write_text(json.dumps(values | {"edges": [row]}))
        with pytest.raises(UserError, match="sender, reader, port"):
            read_circuit(path, config)


def test_a_mistake_in_a_file_is_told_with_its_path(config, tmp_path):
    """Catches an edge or a port that is refused without a word of where it stands."""
    path = tmp_path / "circuit.json"
    write_circuit(path, config, ("auto",), EDGES)
    values = json.loads(path.read_text())
    for wrong, told in (
        ({"edges": [["embedding", "logits", "v"]]}, "no edge embedding -> logits"),
        ({"ports": ["other"]}, "other"),
    ):
        path.write_text(json.dumps(values | wrong))
        with pytest.raises(UserError, match=rf"circuit\.json: .*{told}"):
            read_circuit(path, config)
