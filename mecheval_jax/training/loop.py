"""The training loop: from a state to the last step, resumable at any moment.

It trains an ensemble; a single run is an ensemble of one. The loop does not know how members lie on
the devices: the `Programs` that it is given do. `training.device_programs` has their interface and
those of a single run, `training.ensemble.member_programs` those of many.
"""

from collections.abc import Callable

import jax
import numpy as np

from mecheval_jax.partitioning.multihost import fetch
from mecheval_jax.training.callbacks import Callbacks
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.device_programs import Programs
from mecheval_jax.training.ledger import Dispatched, Ledger
from mecheval_jax.training.preemption import Preempted, Preemption
from mecheval_jax.training.state import Policy, TrainState, flags_of
from mecheval_jax.training.step import is_finite

_is_finite = jax.jit(is_finite)


def restore_or_create(
    programs: Programs, checkpoints: Checkpoints, say: Callable[[str], None]
) -> tuple[TrainState, int]:
    """The state of the newest checkpoint that can be read, or a new one; and its step."""
    if not checkpoints.steps():
        return programs.create(), 0
    saved = checkpoints.restore(programs.saved_form, say)
    if saved is None:
        say("no checkpoint can be read: starting anew")
        return programs.create(), 0
    state = programs.restored(saved)
    step = int(np.max(fetch(state.step)))
    say(f"resuming at step {step}")
    return state, step


def fit(
    state: TrainState,
    programs: Programs,
    checkpoints: Checkpoints,
    callbacks: Callbacks,
    policy: Policy,
    preemption: Preemption | None = None,
) -> TrainState:
    """Train until every member has taken its last step, reached its target or diverged.

    Metrics of a stretch are fetched after the next one is dispatched, so that the devices do not
    wait for the host.

    Args:
        state: State of all members, new or restored.
        programs: The ensemble on its devices.
        checkpoints: Checkpoints, saved at every interval, at the end and before leaving.
        callbacks: Callbacks that are told of metrics and progress.
        policy: Policy for members that diverge.
        preemption: Preemption that is asked at every stop whether to save and end there; never if
            None.

    Raises:
        Diverged: If a member diverged, under `Policy.RAISE`; what was written before is kept.
        Preempted: If `preemption` requested it; the state is saved.
    """
    ensemble, training = programs.ensemble, programs.ensemble.training
    step = int(np.max(fetch(state.step)))
    if step and training.target_accuracy is not None and ensemble.is_evaluated_at(step):
        # The run may have been interrupted after its end, which checkpoints of 0.4 do not record.
        state, _ = programs.evaluate()(state)
    ledger = Ledger(ensemble, flags_of(state), callbacks, policy, checkpoints)
    if not ledger.learns:
        return state  # nothing is compiled for steps that nobody takes
    run, evaluate = programs.steps(policy), programs.evaluate()
    pending: Dispatched | None = None
    while ledger.learns:
        stop = ensemble.next_stop(step)
        state, metrics = run(state, np.int32(step), np.int32(stop))
        scores = None
        if ensemble.is_evaluated_at(stop):
            state, scores = evaluate(state)
        ledger.settle(pending)
        pending, step = Dispatched(stop, flags_of(state), metrics, scores), stop

        # Was this the last stretch? Where the target may have been reached, the host has to wait.
        if scores is not None and training.target_accuracy is not None:
            ledger.settle(pending)
            pending = None
        over = step >= training.steps or not ledger.learns
        # A stop may be the last step of a shorter member alone. Training does not end there: this
        # would cut in two the stretch of steps over which a longer member's row is averaged.
        asked = preemption is not None and training.is_stop(step) and preemption.requested()

        if over or asked or step % training.checkpoint_every == 0:
            ledger.settle(pending)
            pending = None
            # No state that diverged is ever saved. The loss of a step tells only of the
            # parameters before it.
            if policy is Policy.RAISE and not _is_finite((state.params, state.opt_state)):
                raise ledger.diverged(step - 1, "the parameters are not finite after the update")
            checkpoints.save(step, programs.saved(state))
        if asked and not over:
            raise Preempted(step)
    return state
