"""SIGTERM is noted, and not died of."""

import os
import signal
import threading
import time

import pytest

from mecheval_jax.errors import Interrupted, Stopped, TimeIsOver
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


def test_ctrl_c_is_noted_once():
    """Catches what was computed and is lost by Ctrl-C, and a program that cannot be ended by it."""
    # A shell may have started the tests with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Preemption() as preemption:
            os.kill(os.getpid(), signal.SIGINT)
            assert preemption.requested()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_signal_stays_ignored():
    """Catches a program in the background of a shell that another's Ctrl-C ends."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Preemption() as preemption:
            os.kill(os.getpid(), signal.SIGINT)
            assert not preemption.requested()
    finally:
        signal.signal(signal.SIGINT, before)


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


def test_a_time_that_is_over_is_told_from_a_signal():
    """Catches a program told to end that goes on with what is left of its budget."""
    with pytest.raises(TimeIsOver, match="saved"), Preemption(time.monotonic()):
        raise Interrupted("saved")
    with pytest.raises(Stopped), Preemption(time.monotonic() + 3600):
        raise Stopped

    def told():
        os.kill(os.getpid(), signal.SIGTERM)
        raise Stopped

    with pytest.raises(Stopped), Preemption(time.monotonic()):
        told()
