"""What people see of a run while it runs. The command line draws it in a terminal
(`orchestrator.cli.progress`); notebooks and scripts get one line that moves.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Protocol, TextIO

from orchestrator.executors.executor import Listener
from orchestrator.planning import standing
from orchestrator.planning.plan import Plan
from orchestrator.planning.queue import Queue
from orchestrator.spec.trial import Trial
from orchestrator.spec.wording import duration
from orchestrator.training.outcome import Outcome

LINE, SEPARATOR = 80, " · "
OFTEN = 0.2  # seconds between two states of the line that moves


class Display(Protocol):
    """Shows a run."""

    def planned(self, plan: Plan) -> None:
        """What is going to run, before it does."""
        ...

    def follow(self, queue: Queue) -> contextlib.AbstractContextManager[Listener]:
        """While trials run: a listener that hears of each that starts and ends."""
        ...

    def busy(self, doing: str) -> contextlib.AbstractContextManager[object]:
        """While something else takes its time; `doing` says what."""
        ...

    def say(self, text: str, *, strongly: bool = False) -> None:
        """A sentence in between."""
        ...


class _Mean:
    """The mean of what was added so far."""

    def __init__(self) -> None:
        self._sum, self._number = 0.0, 0

    def add(self, value: float) -> None:
        self._sum += value
        self._number += 1

    @property
    def value(self) -> float:
        return self._sum / self._number


class Tally:
    """Counts of a queue's trials by how they stand, and how fast it goes; a listener. What it says
    is made of sums kept on the way, and of the trials that run: it is asked four times a second.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._began: dict[str, float] = {}
        self._spent: dict[str, _Mean] = {}  # seconds of trials that ended now, by method
        self._start = time.monotonic()
        # Trials start and end in the executor's thread, and a terminal draws in one of its own.
        self._lock = threading.Lock()

    def started(self, trial: Trial) -> None:
        with self._lock:
            self._began[trial.key] = time.monotonic()

    def ended(self, outcome: Outcome) -> None:
        with self._lock:
            self._began.pop(outcome.key, None)
            if outcome.is_result:
                method = self._queue.trials[outcome.key].method.name
                self._spent.setdefault(method, _Mean()).add(outcome.seconds)

    def parts(self) -> list[tuple[str, str]]:
        """The pieces of a line of 80 characters (more only where the counts alone take more), each
        with the state of trials that it counts, or none: `2 of 4 done`, `1 failed`, `5 s left`.
        """
        counts = self._counts()
        parts = [(f"{counts.pop('done', 0)} of {len(self._queue.trials)} done", "")]
        parts += [(f"{count} {state}", state) for state, count in counts.items()]
        length = sum(len(words) + len(SEPARATOR) for words, _ in parts)
        for words in self._pace():
            length += len(words) + len(SEPARATOR)
            # Counts are never left out; of the pace whatever still fits.
            if length - len(SEPARATOR) <= LINE:
                parts.append((words, ""))
        return parts

    def line(self) -> str:
        """All of them, one behind the other."""
        return SEPARATOR.join(words for words, _ in self.parts())

    def seconds_left(self) -> float | None:
        """Estimated from trials of the same method, finished now or before; None while nothing is
        known of one of them, or of how many run at once.
        """
        queue, total = self._queue, 0.0
        if queue.at_once is None:
            return None
        with self._lock:
            for method, left in list(queue.left.by_method.items()):
                spent = self._spent.get(method)
                if spent is None and left.num_unknown:
                    return None
                # Of this run, else from earlier ones.
                total += left.seconds if spent is None else left.number * spent.value
            total -= sum(self._run_already())
        # As if the work spread evenly: chains of needs make it an underestimate near the end.
        return max(total, 0.0) / queue.at_once

    def _run_already(self) -> Iterator[float]:
        """Seconds of each trial that runs, out of those that are expected of it."""
        now, queue = time.monotonic(), self._queue
        for key, began in self._began.items():
            if key not in queue.running:  # its worker went away, and it waits again
                continue
            trial = queue.trials[key]
            spent = self._spent.get(trial.method.name)
            cost = queue.plan.cost(trial) if spent is None else spent.value
            # One that takes longer than expected is taken to end any moment.
            yield min(now - began, cost or 0.0)

    def _counts(self) -> dict[str, int]:
        """How many trials have ended how, or are blocked."""
        # A copy: the executor may add to it while this is drawn.
        return standing.in_order({**self._queue.num_ended, "blocked": len(self._queue.blocked)})

    def _pace(self) -> list[str]:
        """What goes on: running, waiting, time left or taken, trials a minute."""
        queue = self._queue
        elapsed = time.monotonic() - self._start
        if queue.is_finished:
            times = [duration(elapsed)]
        else:
            left = self.seconds_left()
            times = [f"{len(queue.running)} running", f"{queue.num_waiting} waiting"]
            times += [] if left is None else [f"{duration(left)} left"]
        rate = [f"{len(queue.ended) / elapsed * 60:.1f}/min"] if queue.ended else []
        return times + rate


class LineDisplay:
    """One line that is written over as a run goes on, in a notebook or on a terminal; elsewhere
    nothing, since what came of the run is in its summary.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream

    @property
    def _stream(self) -> TextIO:
        return self._given or sys.stderr  # asked for each time: a notebook puts its own there

    def planned(self, plan: Plan) -> None:
        pass

    @contextlib.contextmanager
    def follow(self, queue: Queue) -> Iterator[Listener]:
        line = _MovingLine(Tally(queue), self._stream)
        try:
            yield line
        finally:
            line.end()

    def busy(self, doing: str) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def say(self, text: str, *, strongly: bool = False) -> None:
        if _moves(self._stream):
            print(text, file=self._stream)


class _MovingLine:
    """The line of a tally; drawn when a trial starts or ends, a few times a second at most."""

    def __init__(self, tally: Tally, stream: TextIO) -> None:
        self._tally, self._stream = tally, stream
        self._is_seen = _moves(stream)
        self._drawn, self._length = 0.0, 0

    def started(self, trial: Trial) -> None:
        self._tally.started(trial)
        self._draw_now_and_then()

    def ended(self, outcome: Outcome) -> None:
        self._tally.ended(outcome)
        self._draw_now_and_then()

    def noted(self, text: str) -> None:
        if self._is_seen:
            self._stream.write("\r" + text.ljust(self._length) + "\n")
            self._draw("")

    def end(self) -> None:
        """The last state stays."""
        self._draw("\n")

    def _draw_now_and_then(self) -> None:
        if time.monotonic() - self._drawn >= OFTEN:
            self._draw("")

    def _draw(self, end: str) -> None:
        if not self._is_seen:
            return
        line = self._tally.line()
        # Blanks over what is left of a longer line before it.
        self._stream.write("\r" + line.ljust(self._length) + end)
        self._stream.flush()
        self._drawn, self._length = time.monotonic(), len(line)


def _moves(stream: TextIO) -> bool:
    """Whether a line on a stream can be written over: on a terminal, and in a notebook, whose
    streams are no terminals.
    """
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")
