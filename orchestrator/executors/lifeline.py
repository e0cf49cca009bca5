"""A connection from every worker to its driver, over which nothing is ever said: that it breaks
tells a worker, on whatever machine, that nobody waits for what it computes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

CONNECT_WITHIN = 5.0  # seconds
# Seconds without a word until the operating system asks the other end, and between its questions;
# and after how many without an answer the connection is cut: five minutes in all. A machine that
# loses its power says nothing, and routers forget connections that are silent for long.
ASK_AFTER, ASK_EVERY, UNANSWERED = 60, 30, 8


@contextlib.contextmanager
def lifeline(host: str) -> Iterator[str]:
    """The driver's end, as an address for workers, on an interface of this machine; empty where it
    cannot be had. The operating system cuts it when the driver ends, however it does.
    """
    try:
        listener = socket.create_server((host, 0))
    except OSError:  # workers then run to the end of their trials, as they would without it
        yield ""
        return
    connections: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed below
            while True:
                connections.append(listener.accept()[0])

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"{host}:{listener.getsockname()[1]}"
    finally:
        # A thread that waits in `accept` keeps the socket open, unless it is woken.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for one in (listener, *connections):
            one.close()


class Lifeline:
    """A worker's end. One that was never connected (no address, a firewall) is never cut."""

    def __init__(self, address: str) -> None:
        self._socket: socket.socket | None = None
        host, _, port = address.rpartition(":")
        if host:
            with contextlib.suppress(OSError, ValueError):
                self._socket = socket.create_connection((host, int(port)), CONNECT_WITHIN)
                self._socket.setblocking(False)
                _have_it_asked(self._socket)

    @property
    def is_cut(self) -> bool:
        """Whether the driver is gone; microseconds, so it may be asked often."""
        if self._socket is None:
            return False
        try:
            return not self._socket.recv(1)  # nothing to read, for ever: the other end is closed
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Let go of it; it is not cut by that."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _have_it_asked(connection: socket.socket) -> None:
    """Have the operating system ask now and then whether the other end is there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", ASK_AFTER),
        ("TCP_KEEPINTVL", ASK_EVERY),
        ("TCP_KEEPCNT", UNANSWERED),
    ):
        if hasattr(socket, name):  # other systems ask, too, but not as often
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
