"""What runs in the process that works with Ray: a pool, for a driver in another process."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from orchestrator.errors import ExecutorError, SpoliaError
from orchestrator.executors.assignment import Assignment
from orchestrator.executors.handshake import Greeting
from orchestrator.executors.placement import Nodes, Placement
from orchestrator.executors.pool import Lot, PoolEnded
from orchestrator.executors.ray import cluster
from orchestrator.executors.ray.process import RELEASE
from orchestrator.executors.ray.tune_pool import TunePool
from orchestrator.training.attempts import Attempt

LOOK_EVERY = 1.0  # seconds between two looks whether Ray lives
GRACE = 45.0  # seconds for workers to come to the end of an epoch when the driver was killed
LEAVE_WITHIN = 20.0  # seconds for Ray to end
TELL_WITHIN = 5.0  # seconds in which the driver is told that Ray has died


class Link:
    """The connection to the driver, which asks, and is asked meanwhile. When it is closed, however
    the driver ended, this process is interrupted as by Ctrl-C; `is_released` says whether the
    driver meant to.
    """

    def __init__(self, connection: Any) -> None:
        self.is_released = False
        self._connection = connection
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._turn = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while (message := self._connection.recv()) != RELEASE:
                self._inbox.put(message)
            self.is_released = True
        # Whatever the main thread waits for, a signal ends that; other threads wait for this.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self._inbox.put(RELEASE)

    def receive(self) -> Any:
        """Raises EOFError where nothing will come any more."""
        message = self._inbox.get()
        if message == RELEASE:
            self._inbox.put(message)
            raise EOFError
        return message

    def send(self, kind: str, value: Any) -> None:
        self._connection.send((kind, value))

    def ask(self, name: str, *arguments: Any) -> Any:
        """Ask the driver's source; one thread at a time."""
        with self._turn:
            self.send(name, arguments)
            return self.receive()

    def tell_the_end(self, why: str) -> None:
        """Tell the driver, if it can be told soon, that there will be no answer any more."""
        if self._turn.acquire(timeout=TELL_WITHIN):
            self.send("raised", PoolEnded(why))


class FarSource:
    """The driver's `Source`, seen from here."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def take(self, freed: Placement | None) -> Lot | None:
        return self._link.ask("take", freed)  # type: ignore[no-any-return]

    def is_finished(self) -> bool:
        return bool(self._link.ask("is_finished"))

    def heard(self, lot: Lot, attempts: Sequence[Attempt], nodes: Collection[str] = ()) -> None:
        self._link.ask("heard", lot, attempts, nodes)

    def gone(self, lot: Lot, why: str, is_node: bool) -> None:
        self._link.ask("gone", lot, why, is_node)

    def noted(self, text: str) -> None:
        self._link.ask("noted", text)


class Served:
    """What the driver may ask for, by name."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pool = TunePool()

    def connect(self, address: str | None, cpus: float, say_after: float) -> None:
        self._pool = TunePool(say_after)
        if address:
            cluster.join(address)
        else:
            _start(cpus)
        # When to stop, the driver says, which has had the signal, too. Ray's own handler aborts.
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        threading.Thread(target=self._watch, daemon=True).start()
        _note(f"works with Ray now, whose own logs are in {cluster.logs()}")

    def nodes(self) -> Nodes:
        return self._pool.nodes()

    def greetings(
        self, store: str, probe: str, classes: Sequence[str], variables: Mapping[str, str]
    ) -> list[Greeting]:
        return self._pool.greetings(store, probe, classes, variables)

    def drain(self, assignment: Assignment, slots: int) -> None:
        self._pool.drain(FarSource(self._link), assignment, slots)

    def _watch(self) -> None:
        while not (why := cluster.what_died()):
            time.sleep(LOOK_EVERY)
        _note(f"Ray is gone: {why}")
        self._link.tell_the_end(why)
        # What is left of a private Ray goes with its parent, and its workers with it.
        os._exit(1)


def main(descriptor: int) -> None:
    """Do what the driver asks for, until it closes the connection."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.set_inheritable(descriptor, False)  # Ray's processes must not keep it open
    link = Link(Connection(descriptor))
    served = Served(link)
    with contextlib.suppress(KeyboardInterrupt, EOFError, OSError):
        while True:
            name, arguments = link.receive()
            link.send(*_answer(served, name, arguments))
    _leave(link)


def _leave(link: Link) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard = threading.Timer(GRACE + LEAVE_WITHIN, os._exit, (1,))
    guard.daemon = True
    guard.start()
    if not link.is_released:
        # Nobody meant to stop them: they know already, and leave checkpoints. Ray, told that this
        # process ends, would end them where they stand.
        cluster.wait_for_workers(GRACE)
    cluster.leave()


def _start(cpus: float) -> None:
    """Raises PoolEnded where Ray does not come up: on a busy machine the next may, in half a
    minute, which is all that it gives itself.
    """
    try:
        cluster.start_local(cpus)
    except SpoliaError:
        raise
    except Exception as error:  # Ray raises a bare one
        traceback.print_exc()
        raise PoolEnded(f"it did not come up: {str(error).partition('. ')[0]}") from error


def _note(what: str) -> None:
    """A line in the log, to which this process writes as Ray does."""
    print(f"[{time.strftime('%Y-%m-%d %H:%M:%S')} spolia {os.getpid()}] {what}", flush=True)


def _answer(served: Served, name: str, arguments: Sequence[Any]) -> tuple[str, Any]:
    try:
        return "returned", getattr(served, name)(*arguments)
    except (SpoliaError, PoolEnded) as error:
        return "raised", error
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        return "raised", ExecutorError(f"Ray cannot go on: {type(error).__name__}: {lines[-1]}")
