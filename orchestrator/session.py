"""Running a sweep from plan to tables: the executor drains the queue, the writer follows in MLflow,
the store is asked what is really done.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from orchestrator.analysis.matrix_pictures import overview
from orchestrator.analysis.report import report
from orchestrator.analysis.results import Results
from orchestrator.analysis.summary import summary
from orchestrator.errors import StoreError
from orchestrator.executors.by_name import executor
from orchestrator.executors.executor import Executor, Listener
from orchestrator.executors.site import Site
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.queue import Queue
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.trial import Trial
from orchestrator.store.home import Home
from orchestrator.store.store import Store
from orchestrator.tracking.writer import Writer, sheet
from orchestrator.training.outcome import Outcome, failure_record


@dataclass(frozen=True)
class Report:
    """How a run of a sweep ended. `plan` is what was asked for (a part of the sweep, perhaps),
    `results` are those of the whole sweep. `interrupted` says that somebody stopped it."""

    plan: Plan
    results: Results
    executed: int
    problems: tuple[Outcome, ...]
    blocked: dict[str, str]
    tables: list[Path]
    tracked: int
    tracking_error: str
    interrupted: bool

    @property
    def is_complete(self) -> bool:
        """All that was asked for is done: every cell has a result, and MLflow has all of them."""
        return self.plan.is_complete and not self.tracking_error and not self.interrupted


class Display(Protocol):
    """What people see of a run while it runs: the command line draws it in a terminal."""

    def follow(self, queue: Queue, slots: int) -> contextlib.AbstractContextManager[Listener]:
        """While trials run: hears of each that starts and ends."""
        ...

    def busy(self, doing: str) -> contextlib.AbstractContextManager[object]:
        """While something takes its time."""
        ...

    def say(self, text: str) -> None:
        """A sentence in between."""
        ...


class Listeners:
    """Passes what happens on to the progress display and to the writer."""

    def __init__(
        self, progress: Listener, writer: Writer | None, store: Store, trials: Mapping[str, Trial]
    ) -> None:
        self._progress, self._writer, self._store, self._trials = progress, writer, store, trials

    def started(self, trial: Trial) -> None:
        self._progress.started(trial)
        if self._writer is not None:
            self._writer.send({"started": trial.key})

    def ended(self, outcome: Outcome) -> None:
        self._progress.ended(outcome)
        if not outcome.is_result:
            self._remember(outcome)
        if self._writer is not None:
            self._writer.send({"key" if outcome.is_result else "failed": outcome.key})

    def _remember(self, outcome: Outcome) -> None:
        """A worker tells the store of an exception itself; what was lost with its worker can tell
        nobody.
        """
        with contextlib.suppress(StoreError):
            if (self._store.failure(outcome.key) or {}).get("reason") != outcome.reason:
                trial = self._trials[outcome.key]
                self._store.put_failure(outcome.key, failure_record(trial, outcome))


def launch(
    plan: Plan, whole: Sweep, place: Home, site: Site, executor_name: str, display: Display
) -> Report:
    """Run what a plan lacks; `whole` is the sweep that it is a plan of, or a part of. Errors of
    trials are in the report.
    """
    store = Store(place.store)
    runner = executor(executor_name)
    for key in plan.outdated:
        store.retire(key)
    queue = Queue(plan)
    everything = make_plan(plan.name, whole, store)
    writer = _writer(everything, store, place) if place.tracking is not None else None
    try:
        interrupted = _drain(runner, queue, store, site, writer, display)
    except BaseException:
        if writer is not None:
            writer.finish(None)
        raise
    # Whatever the executor believes, the store knows.
    after = make_plan(plan.name, whole, store)
    results = Results(after, store)
    tables = results.write(place.tables(plan.name))
    tracked, error = _finish(writer, after, results, tables, display) if writer else (0, "")
    asked = replace(after, cells=plan.cells, trials=plan.trials)
    return Report(
        asked,
        results,
        len(queue.of_kind("done", "diverged", "infeasible")),
        tuple(queue.of_kind("failed", "lost")),
        queue.blocked,
        tables,
        tracked,
        error,
        interrupted,
    )


def track(plan: Plan, place: Home, display: Display) -> tuple[int, str]:
    """Bring MLflow level with the store: how many runs were written, and why writing stopped early,
    or an empty string.
    """
    store = Store(place.store)
    results = Results(plan, store)
    tables = results.write(place.tables(plan.name))
    return _finish(_writer(plan, store, place), plan, results, tables, display)


def _writer(plan: Plan, store: Store, place: Home) -> Writer:
    """The writer process, told of all that is done or has failed so far."""
    assert place.tracking is not None
    place.root.mkdir(parents=True, exist_ok=True)
    writer = Writer(
        sheet(plan, store, place.tracking, place.artifacts), place.root / "tracking.log"
    )
    for key in plan.trials:
        if key in plan.outcomes:
            writer.send({"key": key})
        elif key in plan.failures:
            writer.send({"failed": key})
    return writer


def _drain(
    runner: Executor,
    queue: Queue,
    store: Store,
    site: Site,
    writer: Writer | None,
    display: Display,
) -> bool:
    """Run the queue empty; whether somebody interrupted it."""
    if not queue.trials:
        return False
    try:
        with display.follow(queue, site.slots or 1) as progress:
            runner.run(queue, store, site, Listeners(progress, writer, store, queue.trials))
    except KeyboardInterrupt:
        display.say("Interrupted. What is done is kept; the same command goes on from here.")
        return True
    return False


def _finish(
    writer: Writer, plan: Plan, results: Results, tables: list[Path], display: Display
) -> tuple[int, str]:
    """Close the parent run with aggregated tables and a figure, and wait until MLflow is level."""
    counts = Counter(plan.outcomes.get(cell.trial.key, "open") for cell in plan.cells)
    with tempfile.TemporaryDirectory() as folder:
        artifacts = [str(p) for p in tables]
        figure = overview(results)
        if figure:
            (path := Path(folder) / "overview.png").write_bytes(figure)
            artifacts.append(str(path))
        (page := Path(folder) / "report.html").write_text(report(results, results.store, figure))
        artifacts.append(str(page))
        order = {
            "artifacts": artifacts,
            "note": summary(results),
            "counts": counts,
            "complete": plan.is_complete,
            "ended": int(plan.span[1] * 1000) or None,
        }
        with display.busy("bringing MLflow level with the store"):
            return writer.finish(order)
