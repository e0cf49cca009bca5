"""A run on a terminal: a picture that moves, or where there is none, plain lines now and then."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import STYLES
from orchestrator.cli.plans import print_plan
from orchestrator.planning.plan import Plan
from orchestrator.planning.queue import Queue
from orchestrator.session.display import SEPARATOR, Tally
from orchestrator.session.trial_names import TrialNames
from orchestrator.session.under_way import News
from orchestrator.spec.trial import Trial
from orchestrator.spec.wording import duration, short
from orchestrator.store.store import Store
from orchestrator.training.outcome import Outcome

# Seconds between plain lines: soon at first, and seldom in a log of many hours. In between, a share
# of the time that the run has taken so far.
PLAIN_EVERY, PLAIN_AT_MOST, PLAIN_SHARE = 10.0, 300.0, 0.05
DRAWN_A_SECOND = 2
MOST_ROWS = 20  # of trials that run
FEW = 2  # of them that a plain line names
WIDE = 100  # columns from which there is room for more than the least


class TerminalDisplay:
    """Shows a run on a console (an `orchestrator.session.display.Display`). `hints` are lines that
    say where more is to be seen meanwhile.
    """

    def __init__(self, console: Console, hints: Sequence[str] = ()) -> None:
        self._console, self._hints = console, hints

    def planned(self, plan: Plan) -> None:
        print_plan(self._console, plan)

    def follow(self, queue: Queue, store: Store) -> Progress:
        return Progress(self._console, queue, store, self._hints)

    def busy(self, doing: str) -> AbstractContextManager[object]:
        return self._console.status(Text(doing)) if self._console.is_terminal else nullcontext()

    def say(self, text: str, *, strongly: bool = False) -> None:
        self._console.print(Text(text, style="bold" if strongly else ""), soft_wrap=True)

    def wrote(self, tables: Sequence[Path]) -> None:
        self._console.print("Tables")
        for path in tables:
            self._console.print(Text(f"  {short(path)}"), soft_wrap=True)


class Progress:
    """A tally of a queue, drawn; a listener for executors."""

    def __init__(
        self, console: Console, queue: Queue, store: Store, hints: Sequence[str] = ()
    ) -> None:
        self._console, self._queue, self._hints = console, queue, hints
        self._tally = Tally(queue)
        self._news = News(store, self._shown, self._tally.heard)
        self._began = self._last_line = time.monotonic()
        self._failures: Counter[str] = Counter()
        self._has_ended = threading.Event()
        self._console_file = vars(console)["_file"]  # None: wherever `sys.stdout` goes
        self._live: Live | None = None
        if console.is_terminal:
            # Last, because it draws at once, and what it draws has to be there.
            self._live = Live(
                get_renderable=self._render,
                console=console,
                refresh_per_second=DRAWN_A_SECOND,
                transient=True,
            )

    def __enter__(self) -> Self:
        self._news.start()
        if self._live:
            # Where it draws, whatever `sys.stdout` is meanwhile: a trial in this process puts its
            # own there, and through that each picture would come back as something to print.
            self._console.file = self._console.file
            self._live.start()
        else:
            threading.Thread(target=self._keep_printing, daemon=True).start()
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
            vars(self._console)["_file"] = self._console_file
        self._news.stop()
        self._console.print(self.text())
        if self._failures:
            self._console.print(Text(f"failures: {self._failure_counts()}", style="red"))

    # ------------------------------------------------------------------ what is heard

    def preparing(self, what: str) -> None:
        self._tally.preparing = what
        self._news.is_silent = True  # of whoever is going to work now
        if self._live is None:
            self._console.print(Text(what))

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

    def _failure_counts(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in self._failures.most_common())

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

    # ------------------------------------------------------------------ plain lines

    def _keep_printing(self) -> None:
        """Lines also while nothing starts or ends: a long trial is not silence."""
        while not self._has_ended.wait(1.0):
            self._print_now_and_then()

    def _print_now_and_then(self) -> None:
        """A plain line, where the last one is long ago and there is no terminal to draw on."""
        now = time.monotonic()
        pause = min(max(PLAIN_EVERY, PLAIN_SHARE * (now - self._began)), PLAIN_AT_MOST)
        if self._queue.is_finished:  # the last line comes at the end, once
            return
        if self._live is None and now - self._last_line >= pause:
            self._last_line = now
            self._console.print(self.text(), soft_wrap=True)
            for key, (trial, _) in self._tally.running(FEW).items():
                if told := self._news.of(key):
                    loss = "" if told.loss is None else f", loss {told.loss:.4g}"
                    place = f"{told.stage} {told.epoch}/{told.epochs}{loss}"
                    words = f"  {key[:12]}  {self._names.of(trial)}: {place}"
                    self._console.print(Text(words), soft_wrap=True)

    def line(self) -> str:
        """How many trials stand how, and how fast it goes, in one line; see `Tally.parts`."""
        return self.text().plain

    def text(self) -> Text:
        """The same in colours: what ended otherwise than done stands out."""
        return _coloured(self._tally.parts(math.inf))

    # ------------------------------------------------------------------ the picture

    @cached_property
    def _names(self) -> TrialNames:
        return TrialNames(self._queue.plan)

    @property
    def _num_rows(self) -> int:
        """How many of the trials that run have a line, so that all of it stays in sight."""
        # Bar, counts, what is prepared, heads, how many more, failures, what waits, hints, and a
        # line for the cursor.
        others = 10 + len(self._hints)
        fitting = max(1, min(MOST_ROWS, self._console.height - others))
        # What is handed out behind another trial, to the same worker, does not run yet.
        return int(min(fitting, self._queue.at_once or fitting))

    def _shown(self) -> dict[str, tuple[Trial, float]]:
        """The trials that have a line, each with when it was handed out."""
        return self._tally.running(self._num_rows)

    def _render(self) -> Group:
        queue, tally = self._queue, self._tally
        bar = Table.grid(padding=(0, 1))
        # What is blocked will not run, so the bar comes to its end without it.
        share = len(queue.ended) + len(queue.blocked)
        pace = Text(SEPARATOR.join(tally.pace()), no_wrap=True)
        total = max(1, len(queue.trials))
        bar.add_row(ProgressBar(total=total, completed=share, width=24), pace)
        parts: list[RenderableType] = [bar, _coloured(tally.counts())]
        # Until one of them has said something, workers may still be loading what they need.
        if tally.preparing and self._news.is_silent:
            parts.append(Text(f"{tally.preparing} ...", style="cyan"))
        if self._failures:
            parts.append(Text(f"failures: {self._failure_counts()}", style="red"))
        parts += self._running()
        parts += [Text(line, style="dim") for line in self._what_waits()]
        parts += [Text(hint, style="dim", no_wrap=True) for hint in self._hints]
        return Group(*parts)

    def _running(self) -> list[RenderableType]:
        """A line each of the trials that run longest: where they are, and for how long."""
        is_wide = self._console.width >= WIDE
        rows = self._shown()
        news = {key: self._news.of(key) for key in rows}
        hosts = {told.host for told in news.values() if told}
        heads = ["running", "trial", *(["on"] if len(hosts) > 1 else []), "epoch", "loss", "for"]
        heads += ["of about"] if is_wide else []
        table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
        for head in heads:
            ratio = 1 if head == "trial" else None
            table.add_column(head, no_wrap=True, overflow="ellipsis", ratio=ratio)
            if head not in ("running", "trial", "on"):
                table.columns[-1].justify = "right"
        for key, (trial, handed_out) in rows.items():
            told = news[key]
            epoch = f"{told.epoch}/{told.epochs}" if told else ""
            expected = self._tally.expected(key)
            cells = {
                "running": key[: 12 if is_wide else 8],
                "trial": self._names.of(trial),
                "on": told.host if told else "",
                "epoch": f"{told.stage} {epoch}" if told and is_wide else epoch,
                "loss": "" if told is None or told.loss is None else f"{told.loss:.4g}",
                "for": duration(max(0.0, time.time() - handed_out)),
                "of about": "" if expected is None else duration(expected),
            }
            table.add_row(*(Text(cells[head]) for head in heads))
        num_more = min(len(self._queue.running), self._queue.at_once or 0) - len(rows)
        more = [Text(f"and {int(num_more)} more", style="dim")] if num_more > 0 else []
        return [table, *more] if rows else []

    def _what_waits(self) -> list[str]:
        """What waits for what, by method."""
        # A copy: the executor goes on meanwhile.
        lines = []
        for methods, count in Counter(dict(self._queue.left.waits)).most_common(2):
            if count:
                lines.append(f"{count} {' wait for '.join(methods)}")
        return lines


def _coloured(parts: Sequence[tuple[str, str]]) -> Text:
    """Words, each in the colour of the state of trials that it counts."""
    return Text(SEPARATOR).join(Text(words, style=STYLES.get(state, "")) for words, state in parts)


def _kind(outcome: Outcome) -> str:
    """What failures are counted by: the exception's type, or that a worker was lost."""
    return outcome.reason.partition(":")[0] if outcome.kind == "failed" else outcome.kind
