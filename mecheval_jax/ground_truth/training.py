"""Interchange intervention training: a model is made to recall by a chosen mechanism.

Beside the loss of its answers, a model has a loss for every rule of the mechanism (`mechanisms`),
after Geiger et al. 2022, and of the strict kind: what must not carry the answer is trained as well
(Gupta et al. 2024). With o and c the clean and the corrupted run, and S the set of a rule,

    S carries the answer     c with o's activations in S answers as o should, and
                             o with c's activations in S answers as c does;
    it does not              c with o's activations in S answers as c does, and
                             o with c's activations in S answers as o should.

"As o should" is the cross-entropy of the right answer; "as c does" is KL to the corrupted run's
answer, through which no gradient passes. Both leave room for an answer that is one in a thousand
where it should be one in a million: a place that must not carry the answer may then hold a fifth of
it in logits. Where that matters (`Settings.logits`), the logit of the answer is held as well, by
the square of the share of the gap that it misses. Gradients pass through both runs that are
exchanged. All seeds of one shape and mechanism train together.

The loop of runs (`training.loop`) is not used: what is trained here has no documents of a run, no
folder to resume from and no checkpoints, and takes minutes.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from mecheval_jax.array_types import Array, Float, Int, Key, PyTree, UInt32
from mecheval_jax.evaluation.patching.exchange import CLEAN, Runs
from mecheval_jax.evaluation.question import Question
from mecheval_jax.evaluation.verdict.exchanges import CORRUPTED, pair_runs
from mecheval_jax.evaluation.verdict.places import Place, judged
from mecheval_jax.fields import POSITIVE, Section
from mecheval_jax.ground_truth.mechanisms import Rule, rules_of
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.tasks.geometry import Geometry
from mecheval_jax.tasks.scoring import divergence, log_probabilities, score, weighted_mean
from mecheval_jax.training.data import stream
from mecheval_jax.training.step import answer

Rules = tuple[tuple[Rule, Place], ...]
"""Rules of a mechanism, each with its place in a model."""


@dataclasses.dataclass(frozen=True)
class Settings(Section, section="training to a mechanism"):
    """How models are trained to a mechanism.

    Attributes:
        steps: Number of steps of AdamW.
        batch_size: Number of documents of a step, each fresh.
        learning_rate: Highest rate, reached after a third of the steps and falling to 0.
        weight_decay: Decoupled decay.
        weight: Weight of the mean loss of the rules beside that of the answers.
        logits: Weight of the squared shares of the gap in logits that rules miss, beside their
            losses in nats.
        gain: Factor of the initial embedding and kernels. Those of the library are drawn for wide
            models: at width 32 scores start so near 0 that attention stays uniform for long.
    """

    steps: int = 700
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    weight: float = 1.0
    logits: float = 0.0
    gain: float = 6.0

    def check(self) -> None:
        """Check bounds."""
        self.at_least(1, "steps", "batch_size")
        self.require(POSITIVE, "learning_rate", "gain")
        self.at_least(0, "weight", "weight_decay", "logits")


def train_to(
    config: ModelConfig,
    task: Task,
    mechanism: str,
    seeds: tuple[int, ...],
    settings: Settings = Settings(),
    say: Callable[[int, dict[str, Array]], None] = lambda step, losses: None,
) -> list[PyTree]:
    """Train models of one shape to a mechanism; their parameters, one model for each seed.

    Args:
        config: Shape of the models, of two layers.
        task: Task of pairs that can be corrupted.
        mechanism: Name in `mechanisms.MECHANISMS`.
        seeds: Seeds of initialisation and documents.
        settings: Length and rates of the training.
        say: Function that is told the step and the losses [seed], ten times on the way.

    Raises:
        UserError: If the architecture cannot hold the mechanism.
    """
    # The rules, and the optimizer with its schedule.
    rules = rules_of(config, mechanism, task.usual_length)
    warmup = max(settings.steps // 3, 1)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, warmup, max(settings.steps, warmup + 1)
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=settings.weight_decay)
    )
    losses = functools.partial(losses_of, config, task, rules)

    # One model: how it begins, and one step of its training.
    def begin(seed: UInt32[Array, ""]) -> tuple[PyTree, PyTree, Key]:
        key = jax.random.key(seed)
        params = scaled(initialize(config, key), settings.gain)
        return params, optimizer.init(params), stream(key, "train")

    def step(carry: tuple, number: Int[Array, ""]) -> tuple[tuple, dict[str, Array]]:
        params, state, key = carry
        draw, replace = jax.random.split(jax.random.fold_in(key, number))
        batch = task.sample(draw, settings.batch_size, "train")

        def total(params: PyTree) -> tuple[Array, dict[str, Array]]:
            found = losses(params, batch, replace)
            rules = found["rules"] + settings.logits * found["logits"]
            return found["answer"] + settings.weight * rules, found

        gradients, found = jax.grad(total, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state, key), found

    # All models at once, in ten stretches, after each of which the losses are told.
    @jax.jit
    def stretch(carries: tuple, numbers: Int[Array, " steps"]) -> tuple[tuple, dict[str, Array]]:
        run = jax.vmap(lambda carry: jax.lax.scan(step, carry, numbers))
        carries, found = run(carries)
        return carries, jax.tree.map(lambda loss: loss[:, -20:].mean(axis=1), found)

    carries = jax.jit(jax.vmap(begin))(jnp.asarray(seeds, jnp.uint32))
    size = -(-settings.steps // 10)
    for first in range(0, settings.steps, size):
        numbers = jnp.arange(first, min(first + size, settings.steps))
        carries, found = stretch(carries, numbers)
        say(first + len(numbers), jax.device_get(found))
    params = jax.device_get(carries[0])
    return [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(len(seeds))]


def scaled(params: PyTree, gain: float) -> PyTree:
    """Parameters with embeddings and kernels times a factor."""

    def scale(path: tuple, leaf: Array) -> Array:
        return gain * leaf if path[-1].key in ("embedding", "kernel") else leaf

    return jax.tree_util.tree_map_with_path(scale, params)


def losses_of(
    config: ModelConfig,
    task: Task,
    rules: Rules,
    params: PyTree,
    batch: Batch,
    key: Key,
) -> dict[str, Float[Array, ""]]:
    """Means over documents: losses of the answers and of the rules, and what rules miss in logits.

    Traceable.

    Args:
        config: Shape of the model.
        task: Task of the documents.
        rules: Rules with their places.
        params: Parameters of the model.
        batch: Documents, of which query 0 is asked.
        key: Random key of the replaced tokens.
    """
    runs, found = _both_runs(config, task, rules, params, batch, key)

    answered = [_answers(runs, found, rule, place) for rule, place in rules]
    losses = [(_wrong(runs, right) + _away(runs, corrupted)) / 2 for right, corrupted in answered]
    missed = [_missed(runs, right, corrupted) for right, corrupted in answered]
    scores = answer(config, params, task, batch)
    mean = weighted_mean(scores.loss, batch.weights)
    return {
        "answer": mean,
        "rules": _over_documents(losses, found).mean(),
        "logits": _over_documents(missed, found).mean(),
    }


def rules_kept(
    config: ModelConfig, task: Task, mechanism: str, params: PyTree, batch: Batch, key: Key
) -> Float[Array, " rules"]:
    """Interchange accuracy of each rule of a mechanism. Traceable.

    The share of the documents in which both runs that a rule exchanges answer as it says: the one
    with the right token, the other with the token of the corrupted run.

    Args:
        config: Shape of the model.
        task: Task of the documents.
        mechanism: Name in `mechanisms.MECHANISMS`.
        params: Parameters of the model.
        batch: Documents that the model has not seen, of which query 0 is asked.
        key: Random key of the replaced tokens.

    Raises:
        UserError: If the architecture cannot hold the mechanism.
    """
    rules = rules_of(config, mechanism, task.usual_length)
    runs, found = _both_runs(config, task, rules, params, batch, key)

    def kept(right: Array, corrupted: Array) -> Float[Array, " documents"]:
        without = runs.log_probabilities[CORRUPTED].argmax(-1)
        as_without = corrupted.argmax(-1) == without
        return score(right[:, None], batch).correct[:, 0] * as_without

    # Counts are divided: shares that are summed may give more than 1, or less than a threshold.
    counts = [(kept(*_answers(runs, found, *each)) * found.applies).sum() for each in rules]
    return jnp.stack(counts) / jnp.maximum(found.applies.sum(), 1)


def _both_runs(
    config: ModelConfig, task: Task, rules: Rules, params: PyTree, batch: Batch, key: Key
) -> tuple[Runs, Geometry]:
    """The clean and the corrupted run, with all that rules exchange, and where pairs stand."""
    found = judged(config, task, batch)
    question = Question(LanguageModel(config), params, batch)
    sites = {path for _, place in rules for path in place.sites}
    sites |= {SitePath(layer, "block_input").path for layer in range(config.layers)}
    return pair_runs(question, task, key, sites), found


def _over_documents(
    of_rules: Sequence[Float[Array, " documents"]], found: Geometry
) -> Float[Array, " rules"]:
    """The mean of each rule over the documents to which rules apply."""
    counted = found.applies / jnp.maximum(found.applies.sum(), 1)
    return jnp.stack([(of_rule * counted).sum() for of_rule in of_rules])


def _answers(
    runs: Runs, found: Geometry, rule: Rule, place: Place
) -> tuple[Float[Array, "documents vocabulary"], Float[Array, "documents vocabulary"]]:
    """Log-probabilities of the patched run that should answer right, and of the other one."""
    mask = found.mask(rule.positions, place.reach)

    def patched(run: int, source: int) -> Float[Array, "documents vocabulary"]:
        patch = runs.exchange(place.sites, run, source, mask)
        logits = runs.question.run(runs.tokens[run], patch)
        return log_probabilities(logits)

    restored, damaged = patched(CORRUPTED, CLEAN), patched(CLEAN, CORRUPTED)
    return (restored, damaged) if rule.carries else (damaged, restored)


def _wrong(runs: Runs, found: Float[Array, "documents vocabulary"]) -> Float[Array, " documents"]:
    """Cross-entropy of the right answer, in nats."""
    return score(found[:, None], runs.question.batch).loss[:, 0]


def _away(runs: Runs, found: Float[Array, "documents vocabulary"]) -> Float[Array, " documents"]:
    """KL of the corrupted run's answer from another one, in nats."""
    corrupted = jax.lax.stop_gradient(runs.log_probabilities[CORRUPTED])
    return divergence(corrupted, found)


def _missed(
    runs: Runs,
    right: Float[Array, "documents vocabulary"],
    corrupted: Float[Array, "documents vocabulary"],
) -> Float[Array, " documents"]:
    """Squared shares of the gap in logits by which two answers miss those that they should be."""

    def logit(found: Array) -> Float[Array, " documents"]:
        return score(found[:, None], runs.question.batch).logit[:, 0]

    clean, without = (
        jax.lax.stop_gradient(logit(runs.log_probabilities[run])) for run in (CLEAN, CORRUPTED)
    )
    gap = jnp.maximum(clean - without, 1.0)
    return (((logit(right) - clean) / gap) ** 2 + ((logit(corrupted) - without) / gap) ** 2) / 2
