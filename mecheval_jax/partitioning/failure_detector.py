"""Detection of lost processes, by an idle connection of every process to the first.

The operating system closes the connections of a process that dies for any reason. The first
process notices this at once and tells the others. jax alone would let them wait in a collective
until heartbeats are missed, and then abort them. A host that loses its power or its network does
not close its connections, but keepalive packets detect this earlier than jax does.
"""

import atexit
import socket
import threading
from collections.abc import Callable
from typing import Any

from mecheval_jax.errors import UserError

GOODBYE = b"goodbye"
END = b"\n"
"""End of a message: two may arrive together."""

PORT = "mecheval_jax/watch/port"
"""Key of jax's key-value store that holds the port on which the first process listens."""

CONNECT = 60
"""Time limit for connecting, and for saying who connects, in seconds."""

LONGEST = 64
"""Bytes of a message; ours are much shorter."""

KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""Idle seconds before the first probe, seconds between probes, number of probes: 40 s in all."""


def watch(on_loss: Callable[[int], None]) -> None:
    """Watch for processes that are lost; ones that exit normally are not.

    To be called once on every process, after ``jax.distributed.initialize``.

    Args:
        on_loss: Function that is called from a thread with the number of a lost process; it
            need not return.

    Raises:
        UserError: If the first process cannot be reached.
    """
    from jax._src.distributed import (
        global_state as state,  # jax has no public access to the service
    )

    if state.process_id == 0:
        _First(on_loss).listen(state)
    else:
        port = state.client.blocking_key_value_get(PORT, CONNECT * 1000)
        host = state.coordinator_address.rpartition(":")[0].strip("[]")
        try:
            connection = socket.create_connection((host, int(port)), timeout=CONNECT)
        except OSError as error:
            raise UserError(
                f"port {port} of {host} cannot be reached ({error}): hosts have to let each "
                "other's connections through"
            ) from None
        connection.settimeout(None)
        connection.sendall(str(state.process_id).encode() + END)
        _keep_alive(connection)
        atexit.register(_say, connection, GOODBYE)

        def follow() -> None:
            """Wait for the end of the first process, or its report of a loss."""
            heard = _hear(connection)
            if heard != GOODBYE:
                on_loss(int(heard or 0))

        threading.Thread(target=follow, daemon=True).start()


class _First:
    """The first process, to which all others connect."""

    def __init__(self, on_loss: Callable[[int], None]):
        self._on_loss, self._connections, self._told = on_loss, [], []
        self._awaited: set[bytes] = set()
        self._lock = threading.Lock()

    def listen(self, state: Any) -> None:
        """Accept the connections of all other processes of jax's distributed `state`."""
        self._awaited = {str(number).encode() for number in range(1, state.num_processes)}
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        server = socket.create_server(("", 0), family=family, dualstack_ipv6=both)
        state.client.key_value_set(PORT, str(server.getsockname()[1]))
        atexit.register(self._tell, GOODBYE)

        def accept() -> None:
            while True:  # anybody may connect, so that no count says when all have come
                connection, _ = server.accept()
                threading.Thread(target=self._follow, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _follow(self, connection: socket.socket) -> None:
        """Wait for the end of the process that connected, and report it if it was lost."""
        connection.settimeout(CONNECT)
        number = _hear(connection)
        with self._lock:
            if number not in self._awaited:  # a stranger, such as a scan of ports
                connection.close()
                return
            self._awaited.remove(number)
            connection.settimeout(None)
            _keep_alive(connection)
            self._connections.append(connection)
            for message in self._told:  # to who comes late, too
                _say(connection, message)
        if _hear(connection) != GOODBYE:
            self._tell(number)
            self._on_loss(int(number))

    def _tell(self, message: bytes) -> None:
        """Send a message to all other processes, also to those that have yet to connect."""
        with self._lock:
            self._told.append(message)
            for connection in self._connections:
                _say(connection, message)


def _keep_alive(connection: socket.socket) -> None:
    """Turn keepalive packets on, with the times of `KEEPALIVE`."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):  # the options of Linux
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _hear(connection: socket.socket) -> bytes:
    """The next message; empty if the other end is gone."""
    message = b""
    try:
        while not message.endswith(END) and len(message) < LONGEST:
            byte = connection.recv(1)
            if not byte:
                return b""
            message += byte
    except OSError:
        return b""
    return message.removesuffix(END)


def _say(connection: socket.socket, message: bytes) -> None:
    try:
        connection.sendall(message + END)
    except OSError:  # a lost process needs no message
        return
