"""The loss of a process, seen by sockets of this one."""

import itertools
import queue
import socket
import threading
import types

import pytest

from mecheval_jax.partitioning import failure_detector
from mecheval_jax.partitioning.failure_detector import END, GOODBYE, PORT

SECONDS = 10


@pytest.fixture
def first(monkeypatch):
    """The first of three processes listens: its losses, and connections as the two others.

    Strangers come before them: one that says nothing, one with no number, one with another's.
    """
    said, losses, registered = {}, queue.Queue(), []
    monkeypatch.setattr(failure_detector.atexit, "register", lambda *call: registered.append(call))
    client = types.SimpleNamespace(key_value_set=said.__setitem__)
    state = types.SimpleNamespace(client=client, num_processes=3)
    detector = failure_detector._First(losses.put)
    detector.listen(state)

    def connect(message):
        other = socket.create_connection(("localhost", int(said[PORT])), timeout=SECONDS)
        other.sendall(message)
        return other

    strangers = [connect(message) for message in (b"", b"GET / HTTP/1.1" + END, b"3" + END)]
    others = [connect(str(number).encode() + END) for number in (1, 2)]
    yield losses, others, registered
    for stranger in strangers:
        stranger.close()


@pytest.fixture
def slow_to_accept(monkeypatch):
    """The last of the five that connect is accepted only after this is set."""
    turn, accept, accepted = threading.Event(), socket.socket.accept, itertools.count(1)

    def later(server):
        connection = accept(server)
        if next(accepted) == 5:
            turn.wait(SECONDS)
        return connection

    monkeypatch.setattr(socket.socket, "accept", later)
    return turn


def test_a_process_that_connects_late_hears_of_an_early_loss(slow_to_accept, first):
    """Catches a loss that is told only to the processes which are connected by then."""
    losses, (one, two), _ = first
    one.close()
    assert losses.get(timeout=SECONDS) == 1
    slow_to_accept.set()
    assert two.recv(64) == b"1" + END


def test_a_lost_process_is_reported_to_all(first):
    """Catches a death that the others hear nothing of, or under another number."""
    losses, (one, two), _ = first
    one.close()
    assert losses.get(timeout=SECONDS) == 1
    assert two.recv(64) == b"1" + END


def test_a_process_that_ends_is_not_lost(first):
    """Catches a normal end that is taken for a loss, one right after the start above all."""
    losses, (one, two), registered = first
    one.sendall(GOODBYE + END)
    one.close()
    two.close()  # this one dies, so that there is an end to wait for
    assert losses.get(timeout=SECONDS) == 2
    assert losses.empty()
    assert [call[1] for call in registered] == [GOODBYE]


def test_the_first_says_goodbye(first):
    """Catches a first process whose normal end the others take for its loss."""
    _, others, registered = first
    ((tell, message),) = registered
    tell(message)
    assert [other.recv(64) for other in others] == [GOODBYE + END] * 2
