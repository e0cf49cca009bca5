"""Running a sweep from plan to tables: the executor drains the queue, the writer follows in MLflow, the store is asked what is really done."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from orchestrator.execute import Outcome
from orchestrator.executors import Executor, executor
from orchestrator.figures import heat_map
from orchestrator.plan import Plan, make_plan
from orchestrator.progress import Progress
from orchestrator.results import Results
from orchestrator.schedule import Queue
from orchestrator.site import Site
from orchestrator.store import Store
from orchestrator.sweep import Sweep
from orchestrator.trial import Trial
from orchestrator.writer import Writer, sheet

PANELS = 36  # matrices in the overview; more cannot be read


@dataclass(frozen=True)
class Home:
    """Where everything of a working folder lies, unless placed elsewhere: store, MLflow database and artifacts, tables, scratch."""

    root: Path
    store: Path
    tracking: str | None

    @property
    def artifacts(self) -> str | None:
        """Where artifacts go with a database of our own; a server decides for itself."""
        own = self.tracking is not None and self.tracking.startswith("sqlite:")
        return (self.root / "mlartifacts").absolute().as_uri() if own else None

    def tables(self, sweep: str) -> Path:
        return self.root / "tables" / sweep


def home(root: Path, store: Path | None, tracking: str | None) -> Home:
    """`tracking` is an MLflow address, `none` to track nothing, or nothing for a database in `root`."""
    root = root.expanduser().absolute()
    address = tracking or f"sqlite:///{root / 'mlflow.db'}"
    return Home(root, (store or root / "store").expanduser().absolute(), None if address == "none" else address)


@dataclass(frozen=True)
class Report:
    """How a run of a sweep ended. `interrupted` says that somebody stopped it."""

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


class Listeners:
    """Passes what happens on to the progress display and to the writer."""

    def __init__(self, progress: Progress, writer: Writer | None) -> None:
        self._progress, self._writer = progress, writer

    def started(self, trial: Trial) -> None:
        self._progress.started(trial)

    def ended(self, outcome: Outcome) -> None:
        self._progress.ended(outcome)
        if self._writer is not None:
            failed = {"failed": outcome.key, "reason": outcome.reason, "traceback": outcome.traceback}
            self._writer.send({"key": outcome.key} if outcome.is_result else failed)


def launch(plan: Plan, sweep: Sweep, place: Home, site: Site, executor_name: str, console: Console) -> Report:
    """Run what a planned sweep lacks. Errors of trials are in the report."""
    store = Store(place.store)
    runner = executor(executor_name)
    queue = Queue(plan)
    writer = None
    if place.tracking is not None:
        place.root.mkdir(parents=True, exist_ok=True)
        writer = Writer(sheet(plan, store, place.tracking, place.artifacts), place.root / "tracking.log")
        for key in plan.trials:
            if key in plan.outcomes:
                writer.send({"key": key})
    try:
        interrupted = _drain(runner, queue, store, site, writer, console)
    except BaseException:
        if writer is not None:
            writer.finish(None)
        raise
    # Whatever the executor believes, the store knows.
    after = make_plan(plan.name, sweep, store)
    results = Results(after, store)
    tables = results.write(place.tables(plan.name))
    tracked, error = _finish(writer, after, results, tables, console) if writer else (0, "")
    return Report(after, results, len(queue.of_kind("done", "diverged", "infeasible")), tuple(queue.of_kind("failed", "lost")), queue.blocked,
                  tables, tracked, error, interrupted)  # fmt: skip


def _drain(runner: Executor, queue: Queue, store: Store, site: Site, writer: Writer | None, console: Console) -> bool:
    """Run the queue empty; whether somebody interrupted it."""
    if not queue.trials:
        return False
    try:
        with Progress(console, queue, site.slots or 1) as progress:
            runner.run(queue, store, site, Listeners(progress, writer))
    except KeyboardInterrupt:
        console.print("[bold]Interrupted.[/] What is done is kept; the same command goes on from here.")
        return True
    return False


def _finish(writer: Writer, plan: Plan, results: Results, tables: list[Path], console: Console) -> tuple[int, str]:
    """Close the parent run with aggregated tables and a figure, and wait until MLflow is level."""
    counts = Counter(plan.outcomes.get(cell.trial.key, "open") for cell in plan.cells)
    with tempfile.TemporaryDirectory() as folder:
        artifacts = [str(p) for p in tables]
        if figure := overview(results):
            (path := Path(folder) / "overview.png").write_bytes(figure)
            artifacts.append(str(path))
        order = {"artifacts": artifacts, "note": note(plan, results), "counts": counts, "complete": plan.is_complete}
        if console.is_terminal:
            with console.status("bringing MLflow level with the store"):
                return writer.finish(order)
        return writer.finish(order)


def overview(results: Results) -> bytes | None:
    """The headline matrix of every group, averaged over its trials, as one PNG; None where there is none."""
    name = results.headline_matrix()
    if name is None:
        return None
    found = [(group.labels, pair) for group in results.groups() if (pair := group.matrix(name))][:PANELS]
    if not found:
        return None
    # Where the last axis has few values, they stand beside each other, so that the picture reads as a table.
    last = len({list(labels.values())[-1] for labels, _ in found if labels})
    panels = [(" · ".join(str(v) for v in labels.values()) or name, mean, half.values) for labels, (mean, half) in found]
    return heat_map(panels, name.replace("_", " "), columns=last if 1 < last <= 6 else 4)


def note(plan: Plan, results: Results) -> str:
    """The parent run's description: question, and means with 95 % intervals over distinct trials, as a Markdown table."""
    groups, metrics = results.groups(), results.headline()
    if not groups:
        return plan.question
    axes = list(groups[0].labels)
    lines = [plan.question, "", "| " + " | ".join([*axes, *metrics, "n"]) + " |", "|" + "---|" * (len(axes) + len(metrics) + 1)]
    for group in groups:
        estimates = [group.metric(m) for m in metrics]
        cells = [*(str(v) for v in group.labels.values()), *(str(e) for e in estimates), str(len(group.results))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "Means with the half-width of the 95 % interval over n distinct trials."])
