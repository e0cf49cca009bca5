"""The process that works with Ray, as the driver sees it. Ray ends the process that uses it where
its head service dies, and writes what it likes to its error output: neither is to befall the run.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestrator.executors.assignment import Assignment
from orchestrator.executors.handshake import Greeting
from orchestrator.executors.placement import Nodes
from orchestrator.executors.pool import PoolEnded, Source

RELEASE = "release"  # the last message: the process is to end, and its Ray with it
LARGEST_LOG = 10_000_000  # bytes after which the next process begins a new one
LEAVE_WITHIN = 30.0  # seconds for the process to end its Ray

# It finds modules where this process does, and Ray is told of the same program.
PROGRAM = """
import json, sys
said = json.loads(sys.argv[1])
sys.path[:], sys.argv[:] = said["path"], said["program"]
from orchestrator.executors.ray.served import main
main(said["connection"])
"""


class PoolProcess:
    """A `Pool` in a process of its own, on a cluster or (`address` None) on a private Ray of so
    many CPUs. All that it and Ray have to say goes to a log file. It ends when this process does.
    """

    def __init__(self, log: Path, address: str | None, cpus: float, say_after: float) -> None:
        self._asked = address, cpus, say_after
        self._connection, theirs = Pipe()
        said = {"path": [*map(str, sys.path)], "program": sys.argv, "connection": theirs.fileno()}
        with open(_begun(log), "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, json.dumps(said)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                # Ctrl-C is for the driver, which then closes the connection.
                process_group=0,
            )
        theirs.close()

    def __enter__(self) -> Self:
        try:
            self._call("connect", *self._asked)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Have it end its Ray and itself, and wait for that."""
        with contextlib.suppress(OSError):  # it may have ended already
            self._connection.send(RELEASE)
        self._connection.close()
        try:
            self._process.wait(LEAVE_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()  # takes a private Ray along
            self._process.wait()

    def nodes(self) -> Nodes:
        return self._call("nodes")  # type: ignore[no-any-return]

    def greetings(
        self, store: str, probe: str, classes: Sequence[str], variables: Mapping[str, str]
    ) -> list[Greeting]:
        found: list[Greeting] = self._call("greetings", store, probe, classes, variables)
        return found

    def drain(self, lots: Source, assignment: Assignment, slots: int) -> None:
        self._call("drain", assignment, slots, lots=lots)

    def _call(self, name: str, *arguments: Any, lots: Source | None = None) -> Any:
        """Have the process do something, and answer what it asks of the source meanwhile."""
        self._send((name, arguments))
        while True:
            kind, value = self._receive()
            if kind == "returned":
                return value
            if kind == "raised":
                raise value
            self._send(getattr(lots, kind)(*value))

    def _send(self, message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._ended() from error

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error

    def _ended(self) -> PoolEnded:
        status = self._process.wait()
        return PoolEnded(f"the process that works with it ended with status {status}")


def _begun(log: Path) -> Path:
    """A log file, in a folder that is there. A long one makes room for a new one; the last but one
    is kept.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # there is none, or another run just moved it
        if log.stat().st_size > LARGEST_LOG:
            # Another run of the same home goes on writing to the file that it has open.
            log.replace(log.with_name(f"{log.name}.1"))
    return log
