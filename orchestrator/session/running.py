"""Running a sweep from plan to tables: the executor drains the queue, the tracker's process writes
MLflow meanwhile, and at the end the store is asked what is really done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.analysis.results import Results
from orchestrator.errors import ExecutorError, StoreError
from orchestrator.executors.by_name import executor
from orchestrator.executors.executor import Executor, Listener
from orchestrator.executors.site import Site
from orchestrator.planning import standing
from orchestrator.planning.explain import first_lines, unmet
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.queue import Queue
from orchestrator.planning.tries import Tries
from orchestrator.session.display import Display
from orchestrator.session.following import (
    Tracked,
    closed_on_errors,
    finish_writer,
    start_writer,
    write_tables,
)
from orchestrator.session.formatting import as_html
from orchestrator.spec.sweep import Sweep
from orchestrator.spec.trial import Trial
from orchestrator.store.home import Home
from orchestrator.store.store import Store
from orchestrator.tracking.writer import Writer
from orchestrator.training.outcome import Outcome, failure_record

SHOWN = 3  # failures that a summary names
INTERRUPTED = "Interrupted. What is done is kept; the same command goes on from here."


@dataclass(frozen=True, repr=False)
class RunSummary:
    """How a run of a sweep ended.

    `results` are those of what was asked for, perhaps a part of the sweep, as it stands now.
    `problems` are the trials that failed or were lost, `blocked` says of each trial that could not
    start why. `num_tracked` counts the runs written to MLflow, `tracking_error` says why that
    stopped early, or is empty. `is_interrupted` says that somebody stopped the run, `stopped` why
    the executor could not go on, or is empty. `page` is where a server shows the sweep, or empty.
    """

    results: Results
    num_executed: int
    problems: tuple[Outcome, ...]
    blocked: Mapping[str, str]
    tables: list[Path]
    num_tracked: int
    tracking_error: str
    is_interrupted: bool
    stopped: str = ""
    page: str = ""

    @property
    def plan(self) -> Plan:
        """What was asked for, as it stands now."""
        return self.results.plan

    @property
    def is_complete(self) -> bool:
        """All that was asked for has ended: every cell has a result, of whatever outcome, and
        MLflow has all of them.
        """
        ended_early = self.is_interrupted or bool(self.stopped)
        return self.plan.is_complete and not self.tracking_error and not ended_early

    def lines(self) -> list[str]:
        """What came of the run, in words."""
        plan = self.plan
        lines = [
            f"{plan.name}: {standing.of_total(plan.cell_counts, 'cells')}; "
            f"{standing.of_total(plan.trial_counts, 'trials')}; {self.num_executed} run now"
        ]
        if self.is_interrupted:
            lines.append(INTERRUPTED)
        if self.stopped:
            lines.append(self.stopped)
        lines += [f"{one.kind}: {self._told(one)}" for one in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"and {len(self.problems) - SHOWN} more that failed")
        lines += first_lines([one for one in unmet(plan) if one.state not in ("failed", "lost")])
        if self.tracking_error:
            lines.append(f"MLflow is behind the store: {self.tracking_error}")
        return lines

    def _told(self, problem: Outcome) -> str:
        reason = problem.reason.partition("\n")[0]
        return f"{self.plan.trials[problem.key].label} ({problem.key[:12]}): {reason}"

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return as_html(self.lines())


class TrialListener:
    """Passes on what becomes of trials: to the display, to the tracker, and failures to the
    store.
    """

    def __init__(
        self, progress: Listener, writer: Writer | None, store: Store, trials: Mapping[str, Trial]
    ) -> None:
        self._progress, self._writer, self._store, self._trials = progress, writer, store, trials

    def preparing(self, what: str) -> None:
        self._progress.preparing(what)

    def started(self, trial: Trial) -> None:
        self._progress.started(trial)
        if self._writer is not None:
            self._writer.send({"started": trial.key})

    def ended(self, outcome: Outcome) -> None:
        self._progress.ended(outcome)
        # Before the tracker hears of it, which reads the failure from the store.
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
        # A store that does not answer now must not end the run of all other trials.
        with contextlib.suppress(StoreError):
            recorded = self._store.failure(outcome.key)
            # The same reason is the worker's own record, with its traceback; another is of an
            # earlier try.
            if recorded is None or recorded.get("reason") != outcome.reason:
                trial = self._trials[outcome.key]
                # Left by a worker that could not clear it away; the trial is not under way.
                progress = self._store.progress(outcome.key)
                self._store.put_failure(outcome.key, failure_record(trial, outcome, progress))
                self._store.put_progress(outcome.key, None)


def run_sweep(
    plan: Plan,
    sweep: Sweep,
    home: Home,
    site: Site,
    executor_name: str,
    display: Display,
    *,
    seeds_first: bool = False,
    is_kept: bool = True,
) -> RunSummary:
    """Run what a plan lacks, of `sweep` or of a part of it. What became of trials that failed is in
    the summary; nothing is raised for them. Results that the plan calls outdated stay in the store
    until others take their places. Unless it `is_kept`, nobody is told where the home is.
    """
    store = Store(home.store)
    runner = executor(executor_name)
    queue = Queue(plan, Tries(site.hold_back_after), seeds_first=seeds_first)
    writer = _writer_of_whole(plan, sweep, store, home, display)
    with closed_on_errors(writer):
        is_interrupted, stopped = _drain(runner, queue, store, site, writer, display)
        if writer is not None:
            writer.send({"trials_ended": True})
        results, tables = _told(plan, sweep, store, home, display, is_kept=is_kept)
    tracked = Tracked(results.plan)
    if writer is not None:
        tracked = finish_writer(writer, results, tables, display, is_interrupted=is_interrupted)
    return RunSummary(
        results=_of_part(results, plan),
        num_executed=len(queue.of_kind("done", "diverged", "infeasible")),
        problems=tuple(queue.of_kind("failed", "lost")),
        blocked=queue.blocked,
        tables=tables,
        num_tracked=tracked.num_written,
        tracking_error=tracked.error,
        is_interrupted=is_interrupted,
        stopped=stopped,
        page=tracked.page,
    )


def _told(
    plan: Plan, sweep: Sweep, store: Store, home: Home, display: Display, *, is_kept: bool
) -> tuple[Results, list[Path]]:
    """The results of the whole sweep as they stand now, and its tables."""
    with display.busy("reading what is done, and writing tables"):
        # Whatever the executor believes, the store knows. What was to be replaced and was not is
        # not done.
        plan_now = make_plan(plan.name, sweep, store, outdated=plan.outdated)
        results = Results(plan_now, store)
        # Tables and MLflow's note are of the whole sweep, whatever part ran; the summary is of the
        # part.
        tables = write_tables(results, home)
    if tables and is_kept:
        display.wrote(tables)
    return results, tables


def _writer_of_whole(
    plan: Plan, sweep: Sweep, store: Store, home: Home, display: Display
) -> Writer | None:
    """The tracker's process, or None where nothing is tracked. It is told of the whole sweep,
    whatever part of it runs now: the axes in which its cells differ name the runs in MLflow.
    """
    if home.tracking is None:
        return None
    if plan.is_part:
        plan = make_plan(plan.name, sweep, store, outdated=plan.outdated, known=plan.records)
    return start_writer(plan, store, home, display)


def _of_part(results: Results, plan: Plan) -> Results:
    """The results of a plan's cells out of those of the whole sweep."""
    # A plan has cells of the sweep only, so as many are all of them.
    if len(plan.cells) == len(results.plan.cells):
        return results
    now = replace(results.plan, cells=plan.cells, trials=plan.trials, claims=plan.claims)
    return Results(now, results.store)


def _drain(
    runner: Executor,
    queue: Queue,
    store: Store,
    site: Site,
    writer: Writer | None,
    display: Display,
) -> tuple[bool, str]:
    """Run all trials of a queue; whether somebody interrupted that, and why the executor could not
    go on, or an empty string. Raises ExecutorError where it could not before any trial had ended.
    """
    # Nothing to run starts no Ray.
    if not queue.trials:
        return False, ""
    try:
        with display.follow(queue, store) as progress:
            runner.run(queue, store, site, TrialListener(progress, writer, store, queue.trials))
    except KeyboardInterrupt:
        display.say(INTERRUPTED, strongly=True)
        return True, ""
    except ExecutorError as error:
        # What has ended is worth its tables.
        if not queue.ended:
            raise
        return False, str(error)
    return False, ""
