"""Attribution patching: an estimate of the whole interchange grid from a few gradients.

To first order, putting the activation a' of another run in the place of a changes the
answer by

    (a' - a) . d y / d a,    the derivative with everything after the site live,

and one backward pass gives the derivative at every site and position at once. The corrupted and
the clean run differ in their embeddings e(c) and e(o) alone, so all derivatives are taken in runs
on the line between them, e(t) = (1 - t) e(c) + t e(o):

    attribution_patching    at the run that is patched: t = 0 to restore, t = 1 to damage
                            (Nanda 2023; Syed, Rager and Conmy 2023)
    integrated_gradients    the mean over the midpoints of `steps` equal parts of the line
                            (Sundararajan et al. 2017; on inner activations as in Hanna,
                            Pezzelle and Belinkov 2024); the same for both directions

For the embedding itself the latter is complete: over all positions, its changes sum to
y(o) - y(c), up to the error of the midpoint rule, which `Effects.whole` lets one see. Inside the
model they need not, since activations do not move on a straight line while the embedding does. The
estimate fails where y is far from linear in a, above all where a softmax is saturated; `agreement`
measures by how much.

Only changes of the answer are estimated here. `evaluation.patching.effects` defines the attribution
that follows from a change, for these estimates and for the measured grid alike.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import choose
from mecheval_jax.evaluation.config import DAMAGE, RESTORE, AnalysesConfig, GradientsConfig
from mecheval_jax.evaluation.patching.effects import Effects
from mecheval_jax.evaluation.patching.grid import (
    CLEAN,
    check_request,
    role_positions,
    tokens_of_runs,
)
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.interventions.patch import compose, pin, shift
from mecheval_jax.interventions.positions import as_computed, gather
from mecheval_jax.tasks.base import Batch

METHODS = ("attribution_patching", "integrated_gradients")


def attribute(
    subject: Subject,
    sites: Sequence[str] | None = None,
    method: str = "attribution_patching",
    options: GradientsConfig = AnalysesConfig.gradients,
) -> Effects:
    """Estimate the interchange grid at all sites and roles at once.

    Args:
        subject: Subject that is measured.
        sites: Sites as in `grid.grid`.
        method: One of `METHODS`.
        options: Steps of integrated gradients, and the measure of the answer.

    Raises:
        UserError: If a site, role, corruption or method does not exist; before any compute.
    """
    choose("method", method, METHODS)
    evaluation, chosen = subject.evaluation, check_request(subject, sites)
    program = compile_gradients(subject, chosen, method, options)
    runs, changes, whole = as_doubles(program(subject.params, subject.batch))
    present = np.asarray(role_positions(subject.batch, evaluation.roles)) >= 0
    return Effects(method, options.measure, evaluation, runs, chosen, present, changes, whole)


def as_doubles(found: PyTree) -> PyTree:
    """Arrays on the host, in the precision of statistics."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), jax.device_get(found))


def compile_gradients(
    subject: Subject, sites: Sequence[str], method: str, options: GradientsConfig
) -> jax.stages.Wrapped:
    """The jitted estimate: (params, batch) -> (runs, changes, whole), as in `Effects`."""
    task, evaluation = subject.task, subject.evaluation
    # Slopes are taken at times t on the line from each corrupted run (by its index) to the clean.
    integrated = method == "integrated_gradients"
    times = middles(options.steps) if integrated else (0.0, 1.0)
    lines = 1 + np.arange(len(evaluation.corruptions))
    places = np.repeat(lines, len(times)), np.tile(np.float32(times), len(lines))

    @jax.jit
    def program(params: PyTree, batch: Batch) -> PyTree:
        question = Question(subject.model, params, batch)
        positions = role_positions(batch, evaluation.roles)
        tokens = tokens_of_runs(task, batch, evaluation)

        # Activations of the clean and the corrupted runs at the roles.
        def end(tokens: Array) -> tuple[Array, Array, dict[str, Array]]:
            logits, seen = question.observe(tokens)
            at_roles = {site: read_roles(seen[site], positions, question.query) for site in sites}
            return question.answers(logits)[options.measure], seen["embedding"], at_roles

        runs, embeddings, at_roles = jax.lax.map(end, tokens)
        shapes = jax.eval_shape(question.observe, tokens[CLEAN])[1]
        moved = dict.fromkeys((*sites, "embedding"))
        blank = {site: jnp.zeros(shapes[site].shape, shapes[site].dtype) for site in moved}

        # Changes that the slopes of one run give for these differences: [role, document] of every
        # site, and [document] of the embedding at all positions together.
        def changes_at(place: tuple[Array, Array]) -> tuple[dict[str, Array], Array]:
            source, time = place
            along = (1 - time) * embeddings[source] + time * embeddings[CLEAN]

            def answer(shifts: dict[str, Array]) -> Array:
                embedding = {"embedding": along.astype(embeddings.dtype)}
                patch = compose(pin(embedding, "embedding"), shift(shifts))
                return question.answers(question.run(tokens[CLEAN], patch))[options.measure].sum()

            slopes = jax.grad(answer)(blank)
            changes = {
                site: _products(
                    read_roles(slopes[site], positions, question.query),
                    at_roles[site][CLEAN] - at_roles[site][source],
                )
                for site in sites
            }
            whole = _products(slopes["embedding"], embeddings[CLEAN] - embeddings[source])
            return changes, whole.sum(axis=-1)

        found, whole = jax.lax.map(changes_at, jax.tree.map(jnp.asarray, places))
        changes = {site: by_direction(changes) for site, changes in found.items()}
        return runs, changes, mean_of_lines(whole) if integrated else None

    def of_lines(changes: Array) -> Array:
        return changes.reshape(len(lines), len(times), *changes.shape[1:])

    def mean_of_lines(changes: Array) -> Array:
        return of_lines(changes).mean(axis=1)

    def by_direction(changes: Array) -> Array:
        """From [place, role, document] to [direction, corruption, role, document]."""
        mean, by_line = mean_of_lines(changes), of_lines(changes)
        restored, lost = (mean, mean) if integrated else (by_line[:, 0], by_line[:, 1])
        by_name = {RESTORE: restored, DAMAGE: -lost}
        return jnp.stack([by_name[direction] for direction in evaluation.directions])

    return program


def middles(steps: int) -> tuple[float, ...]:
    """The midpoints of equal parts of the line from 0 to 1."""
    return tuple((step + 0.5) / steps for step in range(steps))


def read_roles(
    x: Float[Array, "documents length *channels"],
    positions: Int[Array, "roles documents"],
    query: Int[Array, "documents 1"],
) -> Float[Array, "roles documents *channels"]:
    """The values of an activation at each role's token; 0 where a document lacks the role.

    The last sites may have been computed at the query alone, so that they have length 1. That one
    value is given for roles that stand at the query, and 0 for all others.
    """
    values, present = gather(x, as_computed(positions.T, query, x))
    values = jnp.where(present.reshape(*present.shape, *(1,) * (x.ndim - 2)), values, 0)
    return jnp.swapaxes(values, 0, 1)


def _products(slopes: Array, differences: Array) -> Array:
    """Products summed over all channels, in float32: [role, document], or whichever axes lead."""
    axes = tuple(range(2, differences.ndim))
    return (slopes.astype(jnp.float32) * differences.astype(jnp.float32)).sum(axis=axes)
