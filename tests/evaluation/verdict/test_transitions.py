"""When a mechanism appears: the step, and between which steps it may have happened."""

import numpy as np
import pytest

from mecheval_jax.evaluation.verdict.transitions import find_transitions

N, D, B, U = "not_learned", "direct_retrieval", "induction", "undecided"


def same(verdicts, replicates=20):
    return [[verdict] * replicates for verdict in verdicts]


def places(changes):
    return [(c.before, c.after, c.step, c.low, c.high) for c in changes]


def test_a_certain_transition_lies_between_two_checkpoints():
    """Catches an interval without the spacing of the checkpoints, and one step too far."""
    verdicts = [N, N, B, B]
    changes = find_transitions([10, 20, 30, 40], verdicts, same(verdicts), 0.95)
    assert places(changes) == [(N, B, 30, 20, 30)]


def test_every_change_is_reported_and_undecided_steps_are_passed_over():
    """Catches only the first change, and undecided counted as a mechanism."""
    verdicts = [N, U, D, D, U, B]
    changes = find_transitions([1, 2, 3, 4, 5, 6], verdicts, same(verdicts), 0.95)
    assert places(changes) == [(N, D, 3, 2, 3), (D, B, 6, 5, 6)]


def test_a_mechanism_at_the_first_checkpoint_came_after_step_0():
    """Catches a model that was born with a mechanism."""
    assert places(find_transitions([50, 90], [B, B], same([B, B]), 0.95)) == [(N, B, 50, 0, 50)]
    assert places(find_transitions([0, 90], [N, B], same([N, B]), 0.95)) == [(N, B, 90, 0, 90)]


def test_another_layer_is_another_mechanism():
    """Catches labels with layers that are cut to the length of the shortest."""
    verdicts = [N, f"{D} (layer 0)", U, f"{D} (layer 1)"]
    changes = find_transitions([10, 20, 30, 40], verdicts, same(verdicts), 0.95)
    assert places(changes) == [(N, verdicts[1], 20, 10, 20), (*verdicts[1::2], 40, 30, 40)]


def test_nothing_changes():
    """Catches a transition to what was there before."""
    assert find_transitions([5, 6, 7], [N, U, N], same([N, U, N]), 0.95) == []


@pytest.mark.parametrize(("late", "high"), [(0.01, 30), (0.2, 40), (0.0, 30)])
def test_replicates_widen_the_interval(late, high):
    """Catches an interval that ignores the bootstrap, or follows its last replicate."""
    steps, verdicts, count = [10, 20, 30, 40], [N, N, B, B], 200
    classes = np.full((4, count), N, dtype=object)
    classes[2:] = B
    classes[2, : int(late * count)] = N
    classes[1, -int(0.1 * count) :] = B  # a tenth earlier
    (change,) = find_transitions(steps, verdicts, classes.tolist(), 0.95)
    assert (change.low, change.high) == (10, high)


def test_a_replicate_that_flickers_is_placed_where_it_fits_best():
    """Catches the first step of a replicate taken for its transition, whatever follows."""
    steps, verdicts = [1, 2, 3, 4, 5, 6], [N, N, N, N, B, B]
    classes = [[N], [B], [N], [N], [B], [B]]
    (change,) = find_transitions(steps, verdicts, classes, 0.95)
    assert (change.low, change.high) == (4, 5)


def test_replicates_that_never_change_leave_the_end_open():
    """Catches the last checkpoint reported as a bound that it is not."""
    classes = [[N] * 10, [B] * 7 + [N] * 3]
    (change,) = find_transitions([10, 20], [N, B], classes, 0.95)
    assert (change.step, change.low, change.high) == (20, 10, None)
