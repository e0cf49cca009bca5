"""What people see of a run while it runs. The command line draws it in a terminal
(`orchestrator.cli.progress`); notebooks and scripts get one line that moves.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TextIO

from orchestrator.executors.executor import Listener
from orchestrator.planning import standing
from orchestrator.planning.durations import size_of
from orchestrator.planning.plan import Plan
from orchestrator.planning.queue import Queue
from orchestrator.planning.remainder import Left
from orchestrator.session.under_way import UnderWay
from orchestrator.spec.trial import Trial
from orchestrator.spec.wording import duration
from orchestrator.store.store import Store
from orchestrator.training.outcome import Outcome

LINE, SEPARATOR = 80, " · "
OFTEN = 0.2  # seconds between two states of the line that moves


class Display(Protocol):
    """Shows a run."""

    def planned(self, plan: Plan) -> None:
        """What is going to run, before it does."""
        ...

    def follow(self, queue: Queue, store: Store) -> contextlib.AbstractContextManager[Listener]:
        """While trials run: a listener that hears of each that starts and ends. How far they are,
        they leave in the store.
        """
        ...

    def busy(self, doing: str) -> contextlib.AbstractContextManager[object]:
        """While something else takes its time; `doing` says what."""
        ...

    def say(self, text: str, *, strongly: bool = False) -> None:
        """A sentence in between."""
        ...

    def wrote(self, tables: Sequence[Path]) -> None:
        """The sweep's tables are there."""
        ...


class Tally:
    """Counts of a queue's trials by how they stand, and how fast it goes; a listener. What it says
    is made of sums kept on the way, and of the trials that run: it is asked twice a second.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._began: dict[str, tuple[float, float]] = {}  # by both clocks, the oldest first
        self._foretold: dict[str, float] = {}  # seconds at their ends, of those that said so
        self._start = time.monotonic()
        self.preparing = ""  # what the executor does before the first trial runs
        # Trials start and end in the executor's thread, and a terminal draws in one of its own.
        self._lock = threading.Lock()

    def started(self, trial: Trial) -> None:
        with self._lock:
            self._began[trial.key] = time.monotonic(), time.time()

    def ended(self, outcome: Outcome) -> None:
        self.preparing = ""
        with self._lock:
            self._began.pop(outcome.key, None)
            self._foretold.pop(outcome.key, None)

    def heard(self, told: UnderWay) -> None:
        """What one that runs says of itself: from its pace follows what it will have taken at its
        end, and what others of its size take, of which none may have ended.
        """
        trial, began = self._queue.trials[told.key], self._began.get(told.key)
        # Where a method trains in several stages, one of them says too little.
        if told.pace is None or began is None or told.epochs != size_of(trial).length:
            return
        seconds = told.time - began[1] + (told.epochs - told.epoch) * told.pace
        with self._lock:
            if told.key in self._began:  # it may have ended meanwhile
                self._foretold[told.key] = seconds
        self._queue.left.foretell(told.key, seconds)

    def expected(self, key: str) -> float | None:
        """Seconds of a trial: by what it says of itself, else by others like it; None where neither
        is known.
        """
        return self._foretold.get(key, self._queue.left.expected(key))

    def running(self, most: int) -> dict[str, tuple[Trial, float]]:
        """The trials that run longest, each with when it was handed out, in seconds since 1970."""
        with self._lock:
            oldest = list(itertools.islice(self._now_running(), most))
        return {key: (self._queue.trials[key], began[1]) for key, began in oldest}

    def _now_running(self) -> Iterator[tuple[str, tuple[float, float]]]:
        """Keys and beginnings of those that run; one whose worker went away waits again."""
        running = self._queue.running
        return ((key, began) for key, began in self._began.items() if key in running)

    def parts(self, longest: float = LINE) -> list[tuple[str, str]]:
        """The pieces of a line of so many characters (more only where the counts alone take more),
        each with the state of trials that it counts, or none: `2 of 4 done`, `1 failed`,
        `5 s left`.
        """
        parts = self.counts()
        length = sum(len(words) + len(SEPARATOR) for words, _ in parts)
        for words in self.pace():
            length += len(words) + len(SEPARATOR)
            # Counts are never left out; of the pace whatever still fits.
            if length - len(SEPARATOR) <= longest:
                parts.append((words, ""))
        return parts

    def line(self) -> str:
        """All of them, one behind the other; what is prepared, as long as nothing has ended."""
        parts = [words for words, _ in self.parts()]
        return SEPARATOR.join([self.preparing, parts[0]] if self.preparing else parts)

    def counts(self) -> list[tuple[str, str]]:
        """How many trials have ended how, are blocked, run and wait; see `parts`."""
        queue = self._queue
        # A copy: the executor may add to it while this is drawn.
        counts = standing.in_order({**queue.num_ended, "blocked": len(queue.blocked)})
        parts = [(f"{counts.pop('done', 0)} of {len(queue.trials)} done", "")]
        parts += [(f"{count} {state}", state) for state, count in counts.items()]
        if not queue.is_finished:
            num_open = len(queue.running) + queue.num_waiting
            # What is handed out behind another trial, to the same worker, waits as well.
            num_running = int(min(len(queue.running), queue.at_once or 0))
            parts += [(f"{num_running} running", ""), (f"{num_open - num_running} waiting", "")]
        return parts

    def pace(self) -> list[str]:
        """Time taken, time left, trials a minute."""
        queue = self._queue
        elapsed = time.monotonic() - self._start
        rate = [f"{len(queue.ended) / elapsed * 60:.1f}/min"] if queue.ended else []
        if queue.is_finished:
            return [duration(elapsed), *rate]
        return [f"{duration(elapsed)} so far", *filter(None, [self.time_left()]), *rate]

    def time_left(self) -> str:
        """`5 s left`, `about 5 s left` where some of it rests on shorter or longer trials only, or
        `over 5 s left` where of some trials nothing like them has run yet; empty where that is so
        of all of them, or nobody knows how many run at once.
        """
        left = self.left()
        if left is None or (left.num_unknown and not left.seconds):
            return ""
        how = "over " if left.num_unknown else "about " if left.num_guessed else ""
        return f"{how}{duration(left.seconds)} left"

    def left(self) -> Left | None:
        """What is left, in seconds from now, estimated from trials of the same method and size that
        have ended, now or before, or run; None where it is not known how many run at once.
        """
        queue = self._queue
        if queue.at_once is None:
            return None
        left = queue.left.all()
        seconds, longest = left.seconds, 0.0
        for lasts, expected, by_size in self._run_already():
            # One that takes longer than expected is taken to end any moment.
            still = max(expected - lasts, 0.0)
            seconds += still - by_size
            longest = max(longest, still)
        # As if the work spread evenly over what runs at once, which at the end is no longer all:
        # chains of needs make it an underestimate.
        at_once = min(queue.at_once, max(1, queue.left.number))
        return left._replace(seconds=max(seconds / at_once, longest, 0.0))

    def _run_already(self) -> list[tuple[float, float, float]]:
        """Of each trial that runs, how long it has run, how long it is expected to take, and how
        long one of its size.
        """
        now = time.monotonic()
        with self._lock:
            began = list(self._now_running())
        found = []
        for key, clocks in began:
            by_size = self._queue.left.expected(key)
            if by_size is not None:
                found.append((now - clocks[0], self._foretold.get(key, by_size), by_size))
        return found


class LineDisplay:
    """One line that is written over as a run goes on, in a notebook or on a terminal; elsewhere
    nothing, since what came of the run is in its summary.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._line: _MovingLine | None = None  # while a run goes on

    @property
    def _stream(self) -> TextIO:
        return self._given or sys.stderr  # asked for each time: a notebook puts its own there

    def planned(self, plan: Plan) -> None:
        pass

    @contextlib.contextmanager
    def follow(self, queue: Queue, store: Store) -> Iterator[Listener]:
        line = self._line = _MovingLine(Tally(queue), self._stream)
        try:
            yield line
        finally:
            self._line = None
            line.end()

    def busy(self, doing: str) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def say(self, text: str, *, strongly: bool = False) -> None:
        if self._line is not None:
            self._line.noted(text)
        elif _moves(self._stream):
            print(text, file=self._stream)

    def wrote(self, tables: Sequence[Path]) -> None:
        pass  # they are in the summary


class _MovingLine:
    """The line of a tally; drawn when a trial starts or ends, a few times a second at most."""

    def __init__(self, tally: Tally, stream: TextIO) -> None:
        self._tally, self._stream = tally, stream
        self._is_seen = _moves(stream)
        self._drawn, self._length = 0.0, 0

    def preparing(self, what: str) -> None:
        self._tally.preparing = what
        self._draw("")

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
