"""A Transformer of one head written out in NumPy, whose every edge goes through a function."""

import jax
import numpy as np
import scipy.special

from mecheval_jax.evaluation.patching.graph import WHOLE, Edge
from mecheval_jax.evaluation.patching.grid import corrupted_tokens
from mecheval_jax.evaluation.subject import Subject
from tests.support.references import softmax_attention


class Plain:
    """The model of a subject, in its clean run and that corrupted at the key.

    Attributes:
        clean: What every node sends in the clean run.
        corrupted: The same in the corrupted run.
    """

    def __init__(self, subject: Subject):
        params, self.batch, task = subject.params, subject.batch, subject.task
        self.layers = subject.config.layers
        self.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        seed = subject.evaluation.seed
        corrupt = jax.jit(lambda batch: corrupted_tokens(task, batch, ("key",), seed))
        tokens = [self.batch.tokens, *corrupt(self.batch)]
        tokens = [np.asarray(t)[:, : task.read_length] for t in tokens]
        place = self.params["position_embedding"]["embedding"][: task.read_length]
        words = self.params["token_embedding"]["embedding"]
        self.clean, self.corrupted = (
            self.run(words[t] + place, lambda edge, x: x)[1] for t in tokens
        )

    def norm(self, x, p):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]

    def mixer(self, read, norm, p):
        q, k, v = (self.norm(read(name), norm) @ p[f"{name}_proj"]["kernel"] for name in "qkv")
        o = softmax_attention(*(h[:, :, None] for h in (q, k, v)))[:, :, 0]
        return o @ p["out_proj"]["kernel"] + p["out_proj"]["bias"]

    def mlp(self, read, norm, p):
        h = self.norm(read(WHOLE), norm) @ p["fc1"]["kernel"] + p["fc1"]["bias"]
        return h * scipy.special.ndtr(h) @ p["fc2"]["kernel"] + p["fc2"]["bias"]

    def run(self, embedding, receive):
        """The answer's centred logit, and what every node sends.

        Args:
            embedding: What the embedding sends.
            receive: (edge, what its sender sends) -> what its reader is given.
        """
        sent = {"embedding": embedding}

        def reads(node):
            return lambda port: sum(receive(Edge(s, node, port), x) for s, x in sent.items())

        for layer in range(self.layers):
            p = self.params[f"block_{layer}"]
            for part in ("mixer", "mlp"):
                node = f"block_{layer}/{part}_output"
                sent[node] = getattr(self, part)(reads(node), p[f"{part}_norm"], p[part])
        x = self.norm(reads("logits")(WHOLE), self.params["output_norm"])
        documents = np.arange(len(x))
        x = x[documents, self.batch.query_positions[:, 0]]
        logits = x @ self.params["token_embedding"]["embedding"].T
        return logits[documents, self.batch.targets[:, 0]] - logits.mean(axis=-1), sent
