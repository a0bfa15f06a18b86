"""Short packed documents with many repetitions, and their queries one by one."""

import numpy as np

from mecheval_jax.tasks.packed import Packed


def random_documents(seed, documents, divider, queries=2, vocabulary=7):
    """Short documents with many repetitions, some queries unused, some answers seldom."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(3, 12, documents)
    starts = np.concatenate([[0], lengths.cumsum()])
    query = np.stack([draw.integers(2, length, queries) for length in lengths])
    weights = (draw.random(query.shape) < 0.8).astype(np.float32)
    weights[:, 0] = 1
    roles = {"query": np.where(weights > 0, query, -1)}
    if divider:
        dividers = np.minimum(query.min(axis=1), draw.integers(1, 12, documents))
        if divider == "in some":
            dividers[::3] = -1
        roles["divider"] = np.repeat(dividers[:, None], queries, axis=1)
    return Packed(
        tokens=draw.integers(3, 3 + vocabulary, lengths.sum()).astype(np.int32),
        starts=starts,
        query_positions=query,
        targets=draw.integers(4, 3 + vocabulary, query.shape),
        weights=weights,
        roles=roles,
    )


def questions(documents):
    """Every query that counts: the document's tokens, what may be seen, asked token, answer."""
    for i in range(len(documents)):
        tokens = documents.tokens[documents.starts[i] : documents.starts[i + 1]].tolist()
        for j in np.flatnonzero(documents.weights[i]):
            query = documents.roles["query"][i, j]
            end = documents.roles["divider"][i, j] if "divider" in documents.roles else -1
            end = query if end < 0 else end
            yield tokens, tokens[:end], tokens[query], documents.targets[i, j], end
