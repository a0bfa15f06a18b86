"""Attribution by gradient: an estimate of the whole interchange grid from a few gradients.

To first order, putting the activation a' of another run in the place of a changes the
answer by

    (a' - a) . d y / d a,    the derivative with all that follows the site left alive,

and one backward pass has the derivative at every site and position at once. Corrupted and
clean run differ in their embeddings e(c) and e(o) alone, so all derivatives are taken in runs
on the line between them, e(t) = (1 - t) e(c) + t e(o):

    attribution_patching    at the run that is patched: t = 0 to restore, t = 1 to damage
                            (Nanda 2023; Syed, Rager and Conmy 2023)
    integrated_gradients    the mean over the middles of `steps` equal parts of the line
                            (Sundararajan et al. 2017; on inner activations as in Hanna,
                            Pezzelle and Belinkov 2024); the same for both directions

For the embedding itself the latter is complete: over all positions, its changes sum to
y(o) - y(c), but for the error of the midpoint rule. The estimate fails where y is far from
linear in a, above all where a softmax is saturated; `agreement` says how far it does.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.patching.effects import Effects
from mecheval_jax.evaluation.patching.grid import (
    CLEAN,
    chosen_sites,
    corrupted_tokens,
    role_positions,
)
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.capture import observe, run
from mecheval_jax.interventions.patch import compose, pin, shift
from mecheval_jax.interventions.positions import as_computed, gather
from mecheval_jax.tasks.scoring import MEASURES, score

METHODS = ("attribution_patching", "integrated_gradients")


def attribute(
    subject: Subject,
    sites: Sequence[str] | None = None,
    *,
    method: str = "attribution_patching",
    steps: int = 8,
    measure: str = "probability",
) -> Effects:
    """Estimate the interchange grid at all sites and roles at once.

    Args:
        subject: What is measured.
        sites: As for `grid.grid`.
        method: One of `METHODS`.
        steps: Parts of the line of integrated gradients.
        measure: Measure of the answer, ``probability`` or ``logit``.

    Raises:
        UserError: An unknown site, role, corruption, method or measure, before any compute.
    """
    choose("method", method, METHODS)
    check_request(subject, steps, measure)
    evaluation, chosen = subject.evaluation, chosen_sites(sites, subject.config)
    positions = role_positions(subject.batch, evaluation.roles)
    program = compile_gradients(subject, chosen, method, steps, measure)
    runs, changes = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64),
        jax.device_get(program(subject.params, subject.batch, positions)),
    )
    present = np.asarray(positions) >= 0
    return Effects(method, measure, chosen, evaluation, present, runs, changes)


def check_request(subject: Subject, steps: int, measure: str) -> None:
    """Raise UserError for an estimate by gradient that there is not; arguments as `attribute`."""
    for corruption in subject.evaluation.corruptions:
        choose("corruption", corruption, subject.task.corruptions)
    choose("measure", measure, MEASURES)
    if steps < 1:
        raise UserError(f"steps is {steps}: it must be at least 1")


def compile_gradients(
    subject: Subject, sites: Sequence[str], method: str, steps: int, measure: str
):
    """The jitted estimate: (params, batch, positions) -> (runs, changes), as in `Effects`."""
    module, task, evaluation = subject.model, subject.task, subject.evaluation
    directions, corruptions = evaluation.directions, evaluation.corruptions
    places, used = runs_of(method, steps, directions, len(corruptions))

    @jax.jit
    def program(params, batch, positions):
        query = batch.query_positions[:, :1]
        clean = batch.tokens
        tokens = jnp.stack([clean, *corrupted_tokens(task, batch, corruptions, evaluation.seed)])
        tokens = tokens[:, :, : task.read_length]

        def look(tokens):
            logits, activations = observe(module, params, tokens, positions=query, skip_unread=True)
            return getattr(score(logits, batch), measure)[:, 0], activations

        def end(tokens):
            value, seen = look(tokens)
            at_roles = {site: read_roles(seen[site], positions, query) for site in sites}
            return value, seen["embedding"], at_roles

        runs, embeddings, at_roles = jax.lax.map(end, tokens)
        shapes = jax.eval_shape(look, tokens[CLEAN])[1]
        blank = {site: jnp.zeros(shapes[site].shape, shapes[site].dtype) for site in sites}

        def changes_at(place):
            """[corruption, role, document] of each site, with the slopes of one run."""
            source, time = place
            along = (1 - time) * embeddings[source] + time * embeddings[CLEAN]

            def answer(shifts):
                embedding = {"embedding": along.astype(embeddings.dtype)}
                patch = compose(pin(embedding, "embedding"), shift(shifts))
                logits = run(module, params, tokens[CLEAN], patch, query, skip_unread=True)
                return getattr(score(logits, batch), measure).sum()

            slopes = jax.grad(answer)(blank)
            return {
                site: _products(
                    read_roles(slopes[site], positions, query),
                    at_roles[site][CLEAN][None] - at_roles[site][1:],
                )
                for site in sites
            }

        sources, times = (jnp.asarray(column) for column in zip(*places, strict=True))
        found = jax.lax.map(changes_at, (sources, times))
        return runs, {site: by_direction(changes) for site, changes in found.items()}

    def by_direction(changes):
        """From [run, corruption, role, document] to [direction, corruption, role, document]."""
        signs = {"restore": 1, "damage": -1}
        means = [
            [signs[direction] * changes[np.array(chosen), c].mean(axis=0) for c, chosen in cases]
            for direction, cases in zip(directions, used, strict=True)
        ]
        return jnp.stack([jnp.stack(row) for row in means])

    return program


Place = tuple[int, float]
"""(index of a corrupted run, t): a run on the line from it to the clean run."""


def runs_of(
    method: str, steps: int, directions: Sequence[str], corruptions: int
) -> tuple[list[Place], list[list[tuple[int, list[int]]]]]:
    """Where slopes are taken, each place once, and which of them are used.

    Returns:
        The places; and for each direction, for each corruption, its index with the indices of
        the places over which its slopes are averaged.
    """
    lines = [1 + c for c in range(corruptions)]

    def wanted(direction: str, line: int) -> list[Place]:
        if method == "integrated_gradients":
            return [(line, time) for time in middles(steps)]
        # All lines end in the same clean run.
        return [(line, 0.0) if direction == "restore" else (lines[0], 1.0)]

    table = [[wanted(direction, line) for line in lines] for direction in directions]
    places = list(dict.fromkeys(place for row in table for cell in row for place in cell))
    used = [[(c, [places.index(p) for p in cell]) for c, cell in enumerate(row)] for row in table]
    return places, used


def middles(steps: int) -> tuple[float, ...]:
    """The middles of equal parts of the line from 0 to 1."""
    return tuple((step + 0.5) / steps for step in range(steps))


def read_roles(
    x: Float[Array, "documents length *channels"],
    positions: Int[Array, "roles documents"],
    query: Int[Array, "documents 1"],
) -> Float[Array, "roles documents *channels"]:
    """An activation at the roles, 0 where there is none.

    One that is known at the query alone (length 1) is there at the roles that stand on it.
    """
    values, present = gather(x, as_computed(positions.T, query, x))
    values = jnp.where(present.reshape(*present.shape, *(1,) * (x.ndim - 2)), values, 0)
    return jnp.swapaxes(values, 0, 1)


def _products(slopes, differences):
    """Sums over all channels, in float32: [corruption, role, document]."""
    axes = tuple(range(3, differences.ndim))
    return (slopes.astype(jnp.float32)[None] * differences.astype(jnp.float32)).sum(axis=axes)
