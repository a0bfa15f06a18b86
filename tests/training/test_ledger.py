"""What is recorded of an ensemble, stretch by stretch."""

import numpy as np

from mecheval_jax.training.ledger import Dispatched, Ledger
from mecheval_jax.training.state import NEVER, Policy
from tests.support import small
from tests.support.ensembles import MEMBERS, ensemble_of, experiment, train


def test_a_group_with_nothing_left_says_so():
    """Catches a status of members that train, where all were through before."""
    base = experiment()
    members, _ = train(ensemble_of(base, MEMBERS[3:]))
    _, recorder = train(ensemble_of(base, MEMBERS[3:]), state=members)
    assert recorder.rows == []
    standing = recorder.standing
    assert (standing.step, standing.learns.sum(), standing.taken) == (60, 0, 0)


def test_a_row_that_another_member_cut_in_two():
    """Catches the last row of a member that diverges right where a shorter one has ended."""
    ensemble = ensemble_of(experiment(), ({"steps": 60}, {"steps": 100}))

    def flags(*steps, diverged=NEVER):
        learns = np.array([steps[0] < 60, steps[1] < 100 and diverged == NEVER])
        ends = np.array([NEVER, diverged])
        return {
            "step": np.array(steps), "learns": learns, "diverged_at": ends,
            "stopped_at": np.array([NEVER, NEVER]),
        }  # fmt: skip

    def metrics(count):
        return {"loss": np.ones((2, count)), "accuracy": np.zeros((2, count))}

    recorder = small.Recorder()
    ledger = Ledger(ensemble, flags(50, 50), recorder, Policy.FREEZE, small.Nowhere())
    ledger.settle(Dispatched(60, flags(60, 60), metrics(10), None))
    ledger.settle(Dispatched(75, flags(60, 60, diverged=60), metrics(15), None))
    rows = [(row["member"], row["step"], row["split"]) for row in recorder.rows]
    assert rows == [(0, 60, "train"), (1, 60, "train")]
    ledger.settle(Dispatched(100, flags(60, 60, diverged=60), metrics(25), None))
    assert len(recorder.rows) == 2
    assert recorder.standing.step == 60  # as it is told again when the group is resumed
