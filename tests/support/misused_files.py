"""Misuses of checkpoints, state dicts and circuits in files, each with words of its error.

See `misuses`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mecheval_jax import interop
from mecheval_jax.evaluation.patching.circuit_file import write_circuit
from mecheval_jax.evaluation.patching.graph import Edge
from mecheval_jax.interop import huggingface
from tests.support.huggingface import loaded

EDGE = Edge("embedding", "logits")


def _save(world: Any, leaf: Any) -> None:
    """Write a model of which one parameter is something else."""
    config, params = loaded("gpt2")
    norm = params["output_norm"] | {"bias": leaf}
    huggingface.save(world.folder / "checkpoint", config, params | {"output_norm": norm})


def _write(world: Any, entries: Any) -> None:
    interop.save_safetensors(world.folder / "state.safetensors", entries)


def _circuit(world: Any, edge: Any) -> None:
    write_circuit(world.folder / "circuit.json", world.run.model.config, ("auto",), [edge])


FILES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "huggingface: a config that is none": (
        lambda w: huggingface.save(w.folder / "checkpoint", {}, loaded("gpt2")[1]),
        "the config is {}, of type dict: it takes a ModelConfig",
    ),
    "huggingface: no parameters": (
        lambda w: huggingface.save(w.folder / "checkpoint", loaded("gpt2")[0], None),
        "params is None",
    ),
    "huggingface: parameters that are a list": (
        lambda w: huggingface.save(w.folder / "checkpoint", loaded("gpt2")[0], [1]),
        "params is [1], of type list",
    ),
    "huggingface: a parameter that is none": (
        lambda w: _save(w, None),
        "output_norm/bias is None",
    ),
    "huggingface: a parameter that is a list": (
        lambda w: _save(w, [0.0] * 16),
        "it takes an array",
    ),
    "huggingface: a parameter of whole numbers": (
        lambda w: _save(w, np.ones(16, int)),
        "output_norm/bias holds int64, not floating-point numbers",
    ),
    "to_reference: a config that is none": (
        lambda w: interop.to_reference(w.run.params, w.experiment.as_dict()["model"]),
        "it takes a ModelConfig",
    ),
    "from_reference: no state dict": (
        lambda w: interop.from_reference(None, w.run.model.config),
        "the state dict is None, of type NoneType: it takes arrays by name",
    ),
    "from_reference: an entry that is no array": (
        lambda w: interop.from_reference({"a": [[1], [1, 2]]}, w.run.model.config),
        "a is no array: ",
    ),
    "from_reference_mixer: a number for a name": (
        lambda w: interop.from_reference_mixer("attention", {3: np.ones(2)}, {"width": 16}),
        "a name in the state dict is 3, of type int: it takes text",
    ),
    "save_safetensors: a number for a name": (
        lambda w: _write(w, {1: np.ones(2)}),
        "a name in the state dict is 1",
    ),
    "save_safetensors: an entry that is no array": (
        lambda w: _write(w, {"a": [[1.0], [1.0, 2.0]]}),
        "a is no array: ",
    ),
    "save_safetensors: a list": (lambda w: _write(w, [np.ones(2)]), "it takes arrays by name"),
    "write_circuit: an edge that is a tuple": (
        lambda w: _circuit(w, ("embedding", "logits", "")),
        "an edge is ('embedding', 'logits', ''), of type tuple: it takes an Edge",
    ),
    "write_circuit: a config that is none": (
        lambda w: write_circuit(w.folder / "circuit.json", None, ("auto",), [EDGE]),
        "the config is None",
    ),
}
