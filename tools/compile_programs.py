"""Compile the RASP programs of `mecheval_jax.ground_truth.compiled` with tracr.

    python -m tools.compile_programs [--file=FILE.npz]

writes their weights, without --file to the place from which they are read. Needs tracr
(``pip install tracr-pypi``), which the package itself does not.
"""

import pathlib
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from mecheval_jax import command_line
from mecheval_jax.errors import UserError

ANSWER = "answer"
"""Name of the variable that holds the answer."""

CERTAIN = 10.0
"""Logit of the answer, tracr's being 1, so that its probability is nearly 1."""


def _tracr() -> tuple[types.ModuleType, types.ModuleType]:
    """The language of tracr and its compiler; UserError if it is not installed."""
    try:
        from tracr.compiler import compiling
        from tracr.rasp import rasp
    except ImportError as error:
        raise UserError("compiling programs needs tracr: pip install tracr-pypi") from error
    return rasp, compiling


def sources() -> dict[str, Callable[[Any], Any]]:
    """Functions from a task to a RASP program that answers its questions, by name."""
    from mecheval_jax.ground_truth import compiled

    rasp, _ = _tracr()

    # Parts that the programs share.
    def previous(of: Any) -> Any:
        return rasp.Aggregate(
            rasp.Select(rasp.indices, rasp.indices, lambda place, own: place == own - 1), of
        )

    def keys(task: Any) -> Any:
        """The token of a key's place, where the first token after <bos> has place 0."""
        marked = rasp.SequenceMap(
            lambda token, place: token if place < 2 * task.pairs and place % 2 == 0 else None,
            rasp.tokens,
            rasp.indices,
        )
        return rasp.categorical(marked)

    def at(stored: Any, asked: Any, of: Any) -> Any:
        return rasp.Aggregate(rasp.Select(stored, asked, rasp.Comparison.EQ), of)

    # The programs.
    def induction(task: Any) -> Any:
        del task
        return at(previous(rasp.tokens), rasp.tokens, rasp.tokens)

    def direct_retrieval(task: Any) -> Any:
        place = rasp.categorical(at(keys(task), rasp.tokens, rasp.indices))
        following = rasp.categorical(rasp.Map(lambda found: found + 1, place))
        return at(rasp.indices, following, rasp.tokens)

    def two_hops(task: Any) -> Any:
        stored, found = previous(keys(task)), rasp.tokens
        for _ in range(task.hops):
            found = at(stored, found, rasp.tokens)
        return found

    return {
        compiled.INDUCTION: induction,
        compiled.DIRECT: direct_retrieval,
        compiled.HOPS: two_hops,
    }


def compile_program(name: str) -> Any:
    """What tracr makes of a program: its parameters, its encoders and its own forward pass."""
    from mecheval_jax.ground_truth.compiled import TASKS
    from mecheval_jax.tasks.base import BOS, PAD

    _, compiling = _tracr()
    task = TASKS[name]
    return compiling.compile_rasp_to_model(
        sources()[name](task).named(ANSWER),
        vocab=set(range(BOS + 1, task.vocabulary_size)),
        max_seq_len=task.max_length - 1,
        causal=True,
        compiler_bos=BOS,
        compiler_pad=PAD,
    )


def weights_of(model: Any, tokens: int) -> dict[str, np.ndarray]:
    """Parameters of a compiled model by their paths in ours.

    The residual stream and the one head are as wide as the larger of the two, filled up with
    zeros; queries make up for the scale of the scores, the square root of the head's width.

    Args:
        model: What tracr returns.
        tokens: Size of the vocabulary.
    """
    from mecheval_jax.site_path import block_name

    config = model.model_config
    if config.num_heads != 1 or config.layer_norm:
        raise UserError(f"{config.num_heads} heads: programs of one head without norms are read")
    stream = len(model.residual_labels)
    width = max(stream, config.key_size)
    theirs = {
        f"{module}/{name}": np.asarray(leaf, np.float32)
        for module, own in model.params.items()
        for name, leaf in own.items()
    }

    def wide(array: np.ndarray, *sizes: int) -> np.ndarray:
        ends = zip(sizes, array.shape, strict=True)
        return np.pad(array, [(0, size - own) for size, own in ends])

    # Embeddings, and the head, which reads the variable of the answer.
    encoded = model.input_encoder.encoding_map
    embedding = np.zeros((tokens, width), np.float32)
    for token in range(tokens):
        if token in encoded:
            embedding[token, :stream] = theirs["token_embed/embeddings"][encoded[token]]
    places = theirs["pos_embed/embeddings"]
    head = np.zeros((width, tokens), np.float32)
    for row, label in enumerate(model.residual_labels):
        variable, _, token = label.partition(":")
        if variable.startswith(ANSWER):
            head[row, int(token)] = CERTAIN
    ours = {
        "token_embedding/embedding": embedding,
        "position_embedding/embedding": wide(places, len(places), width),
        "output_head/kernel": head,
    }
    # The layers, each a head and an MLP.
    for layer in range(config.num_layers):
        block, source = block_name(layer), f"transformer/layer_{layer}"
        scale = np.sqrt(width / config.key_size)
        for name, letter, by in (("query", "q", scale), ("key", "k", 1.0), ("value", "v", 1.0)):
            kernel = theirs[f"{source}/attn/{name}/w"] * np.float32(by)
            ours[f"{block}/mixer/{letter}_proj/kernel"] = wide(kernel, width, width)
        out = theirs[f"{source}/attn/linear/w"]
        ours[f"{block}/mixer/out_proj/kernel"] = wide(out, width, width)
        ours[f"{block}/mixer/out_proj/bias"] = wide(theirs[f"{source}/attn/linear/b"], width)
        hidden = theirs[f"{source}/mlp/linear_1/b"].shape[0]
        for number, shape in ((1, (width, hidden)), (2, (hidden, width))):
            own, target = f"{source}/mlp/linear_{number}", f"{block}/mlp/fc{number}"
            ours[f"{target}/kernel"] = wide(theirs[f"{own}/w"], *shape)
            ours[f"{target}/bias"] = wide(theirs[f"{own}/b"], shape[1])
    return ours


def main() -> None:
    """Run the program."""
    from mecheval_jax.files import write_arrays
    from mecheval_jax.ground_truth.compiled import FILE, TASKS

    entries = {
        f"{name}/{path}": leaf
        for name, task in TASKS.items()
        for path, leaf in weights_of(compile_program(name), task.vocabulary_size).items()
    }
    write_arrays(pathlib.Path(flags.FLAGS.file or FILE), entries)


if __name__ == "__main__":
    flags.DEFINE_string("file", None, "File to write; that of the package if not given.")
    command_line.run(main)
