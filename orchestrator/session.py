"""Running a sweep from plan to tables: the executor drains the queue, the tracker's process writes
MLflow meanwhile, and at the end the store is asked what is really done.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
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
from orchestrator.planning.kinds import Kind, one_of_each
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.queue import Queue
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.trial import Cell, Trial
from orchestrator.store.code import code_of
from orchestrator.store.content import content_digest
from orchestrator.store.heartbeat import alive
from orchestrator.store.home import Home
from orchestrator.store.store import Store, record_digest
from orchestrator.tracking.manifest import manifest
from orchestrator.tracking.writer import Writer
from orchestrator.training.outcome import Outcome, failure_record


@dataclass(frozen=True)
class RunSummary:
    """How a run of a sweep ended.

    `results` are those of what was asked for, perhaps a part of the sweep, as it stands now.
    `problems` are the trials that failed or were lost, `blocked` says of each
    trial that could not start why. `tracked` counts the runs written to MLflow, `tracking_error`
    says why that stopped early, or is empty. `is_interrupted` says that somebody stopped the run.
    """

    results: Results
    num_executed: int
    problems: tuple[Outcome, ...]
    blocked: Mapping[str, str]
    tables: list[Path]
    num_tracked: int
    tracking_error: str
    is_interrupted: bool

    @property
    def plan(self) -> Plan:
        """What was asked for, as it stands now."""
        return self.results.plan

    @property
    def is_complete(self) -> bool:
        """All that was asked for has ended: every cell has a result, of whatever outcome, and
        MLflow has all of them.
        """
        return self.plan.is_complete and not self.tracking_error and not self.is_interrupted


class Display(Protocol):
    """What people see of a run while it runs: the command line draws it in a terminal."""

    def follow(self, queue: Queue, slots: int) -> contextlib.AbstractContextManager[Listener]:
        """While trials run: a listener that hears of each that starts and ends."""
        ...

    def busy(self, doing: str) -> contextlib.AbstractContextManager[object]:
        """While something else takes its time; `doing` says what."""
        ...

    def say(self, text: str) -> None:
        """A sentence in between."""
        ...


class TrialListener:
    """Passes on what becomes of trials: to the display, to the tracker, and failures to the
    store.
    """

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
            self._record_failure(outcome)
        if self._writer is not None:
            self._writer.send({"finished" if outcome.is_result else "failed": outcome.key})

    def noted(self, text: str) -> None:
        self._progress.noted(text)

    def _record_failure(self, outcome: Outcome) -> None:
        """A worker records an exception itself; for a trial that was lost with its worker it is
        done here.
        """
        with contextlib.suppress(StoreError):
            recorded = self._store.failure(outcome.key)
            if recorded is None or recorded.get("reason") != outcome.reason:
                trial = self._trials[outcome.key]
                self._store.put_failure(outcome.key, failure_record(trial, outcome))


def run_sweep(
    plan: Plan, sweep: Sweep, home: Home, site: Site, executor_name: str, display: Display
) -> RunSummary:
    """Run what a plan lacks, of `sweep` or of a part of it. What became of trials that failed is in
    the summary; nothing is raised for them. Results that the plan calls outdated stay in the store
    until others take their places.
    """
    store = Store(home.store)
    runner = executor(executor_name)
    queue = Queue(plan)
    writer = None
    if home.tracking is not None:
        # Of the whole sweep, whatever part of it runs now: the axes in which its cells differ name
        # the runs in MLflow.
        full_plan = make_plan(plan.name, sweep, store, outdated=plan.outdated)
        writer = _start_writer(full_plan, store, home)
    try:
        is_interrupted = _drain(runner, queue, store, site, writer, display)
    except BaseException:
        if writer is not None:
            # Nothing to close the sweep's own run with; what was sent gets written.
            writer.finish(None)
        raise
    # Whatever the executor believes, the store knows. What was to be replaced and was not is not
    # done.
    plan_now = make_plan(plan.name, sweep, store, outdated=plan.outdated)
    results = Results(plan_now, store)
    tables = _write_tables(results, home)
    num_tracked, tracking_error = 0, ""
    if writer is not None:
        num_tracked, tracking_error = _finish_writer(writer, results, tables, display)
    return RunSummary(
        results=_of_part(results, plan),
        num_executed=len(queue.of_kind("done", "diverged", "infeasible")),
        problems=tuple(queue.of_kind("failed", "lost")),
        blocked=queue.blocked,
        tables=tables,
        num_tracked=num_tracked,
        tracking_error=tracking_error,
        is_interrupted=is_interrupted,
    )


@dataclass(frozen=True)
class Check:
    """What came of `--stale check`: how many kinds of results the code of today computes to the
    same bits, and of each other kind what was found.
    """

    num_equal: int
    problems: tuple[str, ...]


def check_stale(plan: Plan, home: Home, site: Site, executor_name: str, display: Display) -> Check:
    """Run one result of each kind that was made with other code again, with its needs as the store
    has them, and remember in the store for which kinds the bits agree. No result changes.
    """
    store = Store(home.store)
    chosen = one_of_each(plan.kinds, plan.seconds)
    with alive(store) as run:
        layer = f"checks/{run}"
        queue = Queue(_once_more(plan, list(chosen), store))
        try:
            with display.follow(queue, site.slots or 1) as progress:
                executor(executor_name).run(queue, store.layer(layer), site, progress)
            made_now = Store(store.folder(layer))
            problems = [
                _compare(plan.trials[key], kind, store, made_now, queue.ended.get(key))
                for key, kind in chosen.items()
            ]
        finally:
            store.clear(layer)
    found = tuple(problem for problem in problems if problem)
    return Check(len(chosen) - len(found), found)


def _once_more(plan: Plan, keys: Sequence[str], store: Store) -> Plan:
    """A plan that runs these trials again and nothing else."""
    cells = [Cell(i, {}, plan.trials[key]) for i, key in enumerate(keys)]
    outcomes = {key: outcome for key, outcome in plan.outcomes.items() if key not in keys}
    outdated = {record["key"]: record_digest(record) for record in store.find_all(keys)}
    return replace(plan, cells=tuple(cells), outcomes=outcomes, outdated=outdated)


def _compare(
    trial: Trial, kind: Kind, store: Store, made_now: Store, outcome: Outcome | None
) -> str:
    """Remember that a kind's bits agree, or say what was found instead."""
    record, again = store.find(trial.key), made_now.find(trial.key)
    if record is None or again is None:
        reason = outcome.reason.splitlines()[0] if outcome and outcome.reason else "it did not run"
        return f"{kind.label}: not checked; {trial.label}: {reason}"
    if content_digest(record) == content_digest(again):
        store.put_equal(kind.equal_to(code_of(trial).digest))
        return ""
    now = again["provenance"]
    elsewhere = ""
    if (kind.device, kind.torch) != (now["device"], now["torch"]):
        elsewhere = (
            f" (made on {kind.device} with torch {kind.torch}, checked on {now['device']} with "
            f"torch {now['torch']}, which may be the reason)"
        )
    return f"{kind.label}: {trial.label} comes out otherwise{elsewhere}"


def _of_part(results: Results, plan: Plan) -> Results:
    """The results of a plan's cells out of those of the whole sweep."""
    if len(plan.cells) == len(results.plan.cells):
        return results
    now = replace(results.plan, cells=plan.cells, trials=plan.trials, claims=plan.claims)
    return Results(now, results.store)


def track(plan: Plan, home: Home, display: Display) -> tuple[int, str]:
    """Bring MLflow level with the store: how many runs were written, and why writing stopped early,
    or an empty string.
    """
    store = Store(home.store)
    results = Results(plan, store)
    tables = _write_tables(results, home)
    return _finish_writer(_start_writer(plan, store, home), results, tables, display)


def _write_tables(results: Results, home: Home) -> list[Path]:
    """The sweep's tables as Parquet; none where nothing has a result."""
    return results.write(home.tables(results.plan.name)) if results.by_key else []


def _start_writer(plan: Plan, store: Store, home: Home) -> Writer:
    """The tracker's process, told of all that is done or has failed so far."""
    assert home.tracking is not None
    home.root.mkdir(parents=True, exist_ok=True)
    described = manifest(plan, store, home.tracking, home.artifacts)
    writer = Writer(described, home.root / "tracking.log")
    for key in plan.trials:
        if key in plan.outcomes:
            writer.send({"finished": key})
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
    """Run all trials of a queue; whether somebody interrupted that."""
    if not queue.trials:
        return False
    try:
        with display.follow(queue, site.slots or 1) as progress:
            runner.run(queue, store, site, TrialListener(progress, writer, store, queue.trials))
    except KeyboardInterrupt:
        display.say("Interrupted. What is done is kept; the same command goes on from here.")
        return True
    return False


def _finish_writer(
    writer: Writer, results: Results, tables: list[Path], display: Display
) -> tuple[int, str]:
    """Close the sweep's own run with tables, a figure and the report, and wait until MLflow is
    level with the store: how many runs were written, and why writing stopped early.
    """
    plan = results.plan
    with tempfile.TemporaryDirectory() as folder:
        artifacts = [str(path) for path in tables]
        figure = overview(results)
        if figure is not None:
            picture = Path(folder) / "overview.png"
            picture.write_bytes(figure)
            artifacts.append(str(picture))
        if results.by_key:
            page = Path(folder) / "report.html"
            page.write_text(report(results, results.store, figure))
            artifacts.append(str(page))
        closing = {
            "artifacts": artifacts,
            "note": summary(results),
            "counts": dict(plan.cell_counts),
            "complete": plan.is_complete,
            "ended": int(plan.span[1] * 1000) or None,
        }
        with display.busy("bringing MLflow level with the store"):
            return writer.finish({"summary": closing})
