"""SIGTERM is noted, and not died of."""

import os
import signal
import threading
import time

from mecheval_jax.training.preemption import Preemption


def test_sigterm_is_noted_and_not_died_of():
    """Catches a handler that stays behind, or that is never there."""
    before = signal.getsignal(signal.SIGTERM)
    with Preemption() as preemption:
        assert not preemption.requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.requested()
        assert preemption.requested()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_has_no_handler():
    """Catches an error of Python's where a run is trained in a thread."""
    found = []

    def enter():
        with Preemption() as preemption:
            found.append(preemption.requested())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_time_is_as_good_as_a_signal():
    """Catches a time that is not looked at, and one that is over before it has come."""
    with Preemption(time.monotonic() + 3600) as later, Preemption(time.monotonic()) as now:
        assert not later.requested()
        assert now.requested()
