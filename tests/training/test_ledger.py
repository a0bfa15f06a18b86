"""What is recorded of an ensemble, stretch by stretch."""

from tests.support.ensembles import MEMBERS, ensemble_of, experiment, train


def test_a_group_with_nothing_left_says_so():
    """Catches a status of members that train, where all were through before."""
    base = experiment()
    members, _ = train(ensemble_of(base, MEMBERS[3:]))
    _, recorder = train(ensemble_of(base, MEMBERS[3:]), state=members)
    assert recorder.rows == []
    standing = recorder.standing
    assert (standing.step, standing.learns.sum(), standing.taken) == (60, 0, 0)
