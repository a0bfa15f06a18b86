"""When a choice has to be done."""

from mecheval_jax.selection.deadline import Deadline


def test_clocks():
    """Catches shares of a budget that are counted from another time."""
    clock = Deadline(100.0, 60.0)
    assert clock.until(0.5) == 130.0
    assert clock.is_over  # it began long ago
    endless = Deadline(100.0, None)
    assert endless.until() is None
    assert not endless.is_over
