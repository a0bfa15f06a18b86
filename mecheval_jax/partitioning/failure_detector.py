"""Who is gone: a connection of every process to the first, on which no one speaks until the end.

The system closes the connections of a process that dies, whatever it dies of: the first process
hears it at once, and tells the others. jax alone would let them wait in a collective until it
misses heartbeats, and then abort them. A host that lost its power or its network closes nothing;
keepalive packets find it before jax does.
"""

import atexit
import socket
import threading
from collections.abc import Callable

from mecheval_jax.errors import UserError

GOODBYE = b"goodbye"
PORT = "mecheval_jax/watch/port"
"""Under this key jax's service tells the port on which the first process listens."""

CONNECT = 60
"""Seconds in which a connection has to come about."""

KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""Seconds of silence, seconds between questions, and unanswered ones: 40 s in all."""


def watch(on_loss: Callable[[int], None]) -> None:
    """Call a function, from a thread, with the number of the process that is gone.

    A process that ends in an orderly way is not. To be called once on every process, after
    ``jax.distributed.initialize``.

    Args:
        on_loss: what is to be done; it need not return.

    Raises:
        UserError: the first process cannot be reached.
    """
    from jax._src.distributed import global_state as state  # where the service is found

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
        connection.sendall(str(state.process_id).encode())
        _keep_alive(connection)
        atexit.register(_say, connection, GOODBYE)

        def follow():
            heard = _hear(connection)
            if heard != GOODBYE:
                on_loss(int(heard or 0))

        threading.Thread(target=follow, daemon=True).start()


class _First:
    """The first process, which hears all others."""

    def __init__(self, on_loss: Callable[[int], None]):
        self._on_loss, self._connections = on_loss, []

    def listen(self, state) -> None:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        server = socket.create_server(("", 0), family=family, dualstack_ipv6=both)
        state.client.key_value_set(PORT, str(server.getsockname()[1]))
        atexit.register(self._tell, GOODBYE)

        def accept():
            for _ in range(state.num_processes - 1):
                connection, _ = server.accept()
                _keep_alive(connection)
                self._connections.append(connection)
                threading.Thread(target=self._follow, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _follow(self, connection: socket.socket) -> None:
        number = _hear(connection)
        if number and _hear(connection) != GOODBYE:
            self._tell(number)
            self._on_loss(int(number))

    def _tell(self, message: bytes) -> None:
        for connection in self._connections:
            _say(connection, message)


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):  # the names are those of Linux
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _hear(connection: socket.socket) -> bytes:
    """What was said; nothing if the other end is gone."""
    try:
        return connection.recv(64)
    except OSError:
        return b""


def _say(connection: socket.socket, message: bytes) -> None:
    try:
        connection.sendall(message)
    except OSError:  # who is gone needs to hear nothing
        return
