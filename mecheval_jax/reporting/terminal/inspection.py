"""A task in the terminal: documents with their roles, token statistics, chance and floors."""

from collections.abc import Mapping

import jax
import numpy as np
import pandas as pd
from rich.console import Group
from rich.table import Table

from mecheval_jax.evaluation.accuracy import floors_of
from mecheval_jax.reporting.numbers import percent
from mecheval_jax.reporting.terminal.tables import output, plain_table
from mecheval_jax.reporting.terminal.text import Text
from mecheval_jax.tasks.base import SPECIAL, Batch, Task, divider_or
from mecheval_jax.tasks.example import example, shown_roles
from mecheval_jax.tasks.floors import KINDS, kind_of
from mecheval_jax.training.data import evaluation_batch

COLOURS = (
    "green", "magenta", "yellow", "cyan", "blue", "bright_red", "bright_green", "bright_blue",
)  # fmt: skip
"""Colours of the roles, in the order of the task; further roles repeat them, underlined."""

SAMPLE = 512
"""Number of documents from which statistics are taken."""

COMMON = 10
"""Number of the most frequent tokens that are listed."""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def show(task: Task, split: str = "train", count: int = 5, seed: int = 0) -> None:
    """Print documents and statistics of a task.

    Args:
        task: Task that is shown.
        split: Split of the documents.
        count: Number of documents to print; all if a split has fewer.
        seed: Seed of the documents; that of a run's data gives its evaluation documents.

    Raises:
        UserError: If the split is unknown or empty.
    """
    console = output()
    # No document is counted twice, and a split that has none says so itself.
    there = task.sizes().get(split) or max(count, SAMPLE)
    count = min(count, there)
    batch = evaluation_batch(task, seed, min(max(count, SAMPLE), there), split)
    floors = floors_of(task, seed, split)
    coloured = console.is_terminal and not console.no_color
    sizes = ", ".join(f"{name} {size:,}" for name, size in task.sizes().items())
    for part in (
        *(document(task, batch, index, coloured) for index in range(count)),
        legend(task, coloured),
        *([Text(f"documents: {sizes}")] if sizes else []),
        *map(Text, task.remarks()),
        statistics(task, batch, split, task.statistics(jax.random.key(seed), SAMPLE, split)),
        accuracies(task, floors, split),
    ):
        console.print(part, soft_wrap=isinstance(part, Text))
        console.print()


def styles(task: Task) -> dict[str, str]:
    """The style of each role that is coloured."""
    return {
        role: f"bold {COLOURS[i % len(COLOURS)]}" + (" underline" if i >= len(COLOURS) else "")
        for i, role in enumerate(shown_roles(task))
    }


def document(task: Task, batch: Batch, index: int, coloured: bool) -> Text:
    """One document in words, with the roles of its first query; further queries have a line each.

    Args:
        task: Task that gives the words.
        batch: Documents of the task.
        index: Index of the document in the batch.
        coloured: Whether a token in a role has its colour; otherwise, and for a token in several
            roles, the names of the roles follow in brackets.
    """
    style_of, found = styles(task), example(task, batch, index)
    text = Text()
    for position, word in enumerate(found.words):
        text.append(" " if position else "")
        roles = found.roles.get(position, ())
        text.append(word, style_of[roles[0]] if roles and coloured else None)
        if roles and not (coloured and len(roles) == 1):
            text.append(f"[{','.join(roles)}]")
    for one in found.questions:
        where = f"query {one.number}: at position {one.position}"
        text.append(f"\n  {where}, after {one.asked}: {one.answer}")
    return text


def legend(task: Task, coloured: bool) -> Text:
    """The roles in their colours."""
    text = Text("roles:")
    for role, style in styles(task).items():
        text.append(" ").append(role, style if coloured else None)
    return text


def quantile_cells(values: np.ndarray) -> list[str]:
    """Mean and quantiles of numbers, in words; dashes if there are none."""
    if not len(values):
        return ["-"] * (1 + len(QUANTILES))
    quantiles = np.quantile(values, QUANTILES)
    return [f"{values.mean():.1f}", *(f"{q.round(2):g}" for q in quantiles)]


def distributions(batch: Batch) -> dict[str, np.ndarray]:
    """Lengths, and distances of the queries that count, for documents that have the roles."""
    counts = np.asarray(batch.weights) > 0
    query = np.asarray(batch.query_positions)
    found = {
        "tokens of a document": np.asarray(batch.lengths),
        "queries of a document": counts.sum(axis=1),
    }
    roles = {name: np.asarray(positions) for name, positions in batch.roles.items()}
    if "key" in roles:
        here = counts & (roles["key"] >= 0)
        found["from key to query"] = (query - roles["key"])[here]
        if "value" in roles:
            here &= roles["value"] >= 0
            found["between key and value"] = np.abs(roles["value"] - roles["key"])[here]
    return found


def repeated_share(task: Task, batch: Batch) -> float:
    """Share of tokens that occurred earlier in their document, up to the divider if it has one.

    Special tokens (padding, bos, eos) do not count.
    """
    special = [i for i in range(len(SPECIAL)) if task.name_of(i) in SPECIAL]
    tokens = np.asarray(batch.tokens)
    ends = divider_or(batch, np.asarray(batch.lengths)[:, None])[:, :1]
    inside = np.arange(tokens.shape[1])[None] < ends
    documents, places = np.nonzero(inside & ~np.isin(tokens, special))
    found = pd.DataFrame({"document": documents, "token": tokens[documents, places]})
    return float(found.duplicated().sum()) / max(len(found), 1)


def answered_before(batch: Batch) -> float:
    """Share of the queries that count whose answer stands somewhere before the query."""
    columns = (batch.tokens, batch.query_positions, batch.targets, batch.weights)
    found = asked = 0
    # Document by document: queries times tokens of all of them may be more than memory holds.
    for tokens, queries, targets, weights in zip(*map(np.asarray, columns), strict=True):
        counts = weights > 0
        before = np.arange(len(tokens)) < queries[counts, None]
        found += int(((tokens == targets[counts, None]) & before).any(axis=-1).sum())
        asked += int(counts.sum())
    return found / asked if asked else 0.0


def frequent(task: Task, batch: Batch) -> list[tuple[str, float]]:
    """The most frequent tokens, with their shares of all tokens."""
    inside = np.arange(batch.tokens.shape[1])[None] < np.asarray(batch.lengths)[:, None]
    ids, counts = np.unique(np.asarray(batch.tokens)[inside], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:COMMON]
    return [(task.name_of(int(ids[i])), counts[i] / counts.sum()) for i in order]


def statistics(task: Task, batch: Batch, split: str, further: Mapping[str, np.ndarray]) -> Group:
    """Vocabulary, tokens, lengths and distances of sampled documents.

    Args:
        task: Task that is shown.
        batch: Documents of the task.
        split: Split of the documents.
        further: Numbers that do not follow from the batch; see `Task.statistics`.
    """
    title = f"{len(batch.lengths)} documents of {split}"
    table = plain_table([title, "mean", "least", "25 %", "median", "75 %", "most"], [title])
    found = {name.replace("_", " "): numbers for name, numbers in further.items()}
    for name, numbers in (distributions(batch) | found).items():
        table.add_row(*map(Text, (name, *quantile_cells(numbers))))
    common = ", ".join(f"{name} {percent(share)}" for name, share in frequent(task, batch))
    read = " (the question left out)" if "divider" in batch.roles else ""
    lines = (
        f"vocabulary: {task.vocabulary_size} tokens; documents have up to {task.max_length}",
        f"most frequent: {common}",
        f"tokens that their document had before{read}: {percent(repeated_share(task, batch))}",
        f"answers that stand before their query: {percent(answered_before(batch))}",
    )
    return Group(*map(Text, lines), table)


def accuracies(task: Task, floors: Mapping[str, float], split: str) -> Table:
    """Chance and the floors of a split, the best of which a model has to exceed; then the others.

    The others are recall-like ones, which are not counted. A result is compared with those of the
    documents that it was measured on, which differ a little.
    """
    words = [f"accuracy without recall, {split} documents", "kind"]
    table = plain_table([words[0], "", words[1]], words)
    named = {"chance": task.chance, **floors}.items()
    for name, value in sorted(named, key=lambda item: item[0] in task.recall_like):
        what = ": ".join(kind_of(name, task.recall_like)) if name in KINDS else ""
        what = "what a result has to exceed, taken of its own documents" if name == "best" else what
        style = "bold" if name == "best" else None
        table.add_row(Text(name), percent(value), Text(what), style=style)
    return table
