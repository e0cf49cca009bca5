"""A connection from every worker to its driver, over which nothing is ever said: that it breaks
tells a worker, on whatever machine, that nobody waits for what it computes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

CONNECT_WITHIN = 5.0  # seconds


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
