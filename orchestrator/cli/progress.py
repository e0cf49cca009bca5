"""Live progress of a sweep: a line that moves on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import STYLES
from orchestrator.cli.plans import print_plan
from orchestrator.planning.plan import Plan
from orchestrator.planning.queue import Queue
from orchestrator.session.display import SEPARATOR, Tally
from orchestrator.spec.trial import Trial
from orchestrator.training.outcome import Outcome

PLAIN_EVERY = 10.0  # seconds between lines where output is not a terminal, and trials come and go
QUIET_FOR = 600.0  # seconds after which there is one though none does


class TerminalDisplay:
    """Shows a run on a console (an `orchestrator.session.display.Display`)."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def planned(self, plan: Plan) -> None:
        print_plan(self._console, plan)

    def follow(self, queue: Queue) -> Progress:
        return Progress(self._console, queue)

    def busy(self, doing: str) -> AbstractContextManager[object]:
        return self._console.status(Text(doing)) if self._console.is_terminal else nullcontext()

    def say(self, text: str, *, strongly: bool = False) -> None:
        self._console.print(Text(text, style="bold" if strongly else ""))


class Progress:
    """A tally of a queue, drawn; a listener for executors."""

    def __init__(self, console: Console, queue: Queue) -> None:
        self._console, self._queue = console, queue
        self._tally = Tally(queue)
        self._last_line = time.monotonic()
        self._failures: Counter[str] = Counter()
        self._waits: tuple[float, list[str]] = (-1.0, [])
        self._live: Live | None = None
        self._has_ended = threading.Event()
        if console.is_terminal:
            # Last, because it draws at once, and what it draws has to be there.
            self._live = Live(
                get_renderable=self._render, console=console, refresh_per_second=4, transient=True
            )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        else:
            threading.Thread(target=self._break_silence, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._has_ended.set()
        if self._live:
            self._live.stop()
        self._console.print(self.text())
        if self._failures:
            self._console.print(Text(f"failures: {self._failure_counts()}", style="red"))

    def _failure_counts(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in self._failures.most_common())

    def started(self, trial: Trial) -> None:
        self._tally.started(trial)
        self._print_now_and_then()

    def ended(self, outcome: Outcome) -> None:
        self._tally.ended(outcome)
        if not outcome.is_result:
            self._count_failure(outcome)
        # While something waits, the worker that is free now gets it at once: a line would count one
        # running too few.
        if not self._queue.num_waiting:
            self._print_now_and_then()

    def noted(self, text: str) -> None:
        """A decision of the queue, as a line of its own."""
        self._console.print(Text(text, style="yellow"), soft_wrap=True)

    def _print_now_and_then(self) -> None:
        """A plain line, where the last one is long ago and there is no terminal to draw on."""
        if self._live is None and time.monotonic() - self._last_line >= PLAIN_EVERY:
            self._last_line = time.monotonic()
            self._console.print(self.text())

    def _break_silence(self) -> None:
        """A plain line now and then while nothing starts or ends: whoever follows a job with trials
        of hours is to see that it lives.
        """
        while not self._has_ended.wait(QUIET_FOR / 4):
            if time.monotonic() - self._last_line >= QUIET_FOR:
                self._last_line = time.monotonic()
                self._console.print(self.text())

    def _count_failure(self, outcome: Outcome) -> None:
        """The first failure of a kind is printed in full; the rest is counted, and is in the
        store.
        """
        kind = _kind(outcome)
        self._failures[kind] += 1
        if self._failures[kind] > 1:
            return
        label = self._queue.trials[outcome.key].label
        details = (outcome.traceback or outcome.reason).rstrip()
        self._console.print(Text(f"{outcome.kind}: {label}", style="bold red"))
        self._console.print(Text(details, style="red"), highlight=False, soft_wrap=True)

    def line(self) -> str:
        """How many trials stand how, and how fast it goes, in one line; see `Tally.parts`."""
        return self.text().plain

    def text(self) -> Text:
        """The same in colours: what ended otherwise than done stands out."""
        parts = [Text(words, style=STYLES.get(state, "")) for words, state in self._tally.parts()]
        return Text(SEPARATOR).join(parts)

    def _render(self) -> Table:
        queue = self._queue
        table = Table.grid(padding=(0, 1))
        # What is blocked will not run, so the bar comes to its end without it.
        share = len(queue.ended) + len(queue.blocked)
        table.add_row(ProgressBar(total=max(1, len(queue.trials)), completed=share, width=30))
        table.add_row(self.text())
        if self._failures:
            table.add_row(Text(f"failures: {self._failure_counts()}", style="red"))
        for line in self._what_waits():
            table.add_row(Text(line, style="dim"))
        return table

    def _what_waits(self) -> list[str]:
        """What runs, and what waits for what, by method; looked up once a second."""
        looked_at, lines = self._waits
        now = time.monotonic()
        if now - looked_at <= 1.0:  # drawn four times a second, and too fast to read
            return lines
        queue, lines = self._queue, []
        running = Counter(queue.trials[key].method.name for key in list(queue.running))
        if running:
            listed = ", ".join(f"{count} {name}" for name, count in running.most_common(4))
            lines.append(f"running: {listed}")
        # A copy, as above: the executor goes on meanwhile.
        for (name, needed), count in Counter(dict(queue.left.waits)).most_common(3):
            if count:
                lines.append(f"{count} {name} wait for {needed}")
        self._waits = (now, lines)
        return lines


def _kind(outcome: Outcome) -> str:
    """What failures are counted by: the exception's type, or that a worker was lost."""
    return outcome.reason.partition(":")[0] if outcome.kind == "failed" else outcome.kind
