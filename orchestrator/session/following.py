"""MLflow follows the store: while trials run, and whenever it is to be brought level."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.analysis.results import Results
from orchestrator.planning.plan import Plan
from orchestrator.session.display import Display
from orchestrator.store.home import Home
from orchestrator.store.store import Store
from orchestrator.tracking.manifest import manifest
from orchestrator.tracking.names import LONGEST_TAG
from orchestrator.tracking.writer import Writer


@dataclass(frozen=True)
class Tracked:
    """How many runs were written to MLflow, of which plan, why writing stopped early (empty: it did
    not), and where a server shows the sweep (empty: none does).
    """

    plan: Plan
    num_written: int = 0
    error: str = ""
    page: str = ""

    @property
    def is_level(self) -> bool:
        """Whether MLflow has all that the store has."""
        return not self.error


def track(plan: Plan, home: Home, display: Display) -> Tracked:
    """Bring MLflow level with the store."""
    store = Store(home.store)
    results = Results(plan, store)
    writer = start_writer(plan, store, home, display)
    with closed_on_errors(writer):
        writer.send({"trials_ended": True})
        tables = write_tables(results, home)
    return finish_writer(writer, results, tables, display)


@contextlib.contextmanager
def closed_on_errors(writer: Writer | None) -> Iterator[None]:
    """Where something goes wrong there is nothing to close the sweep's own run with; what was sent
    gets written, and no process is left that waits for more.
    """
    try:
        yield
    except BaseException:
        if writer is not None:
            writer.finish(None)
        raise


def write_tables(results: Results, home: Home) -> list[Path]:
    """The sweep's tables as Parquet; none where nothing has a result."""
    return results.write(home.tables(results.plan.name)) if results.by_key else []


def start_writer(plan: Plan, store: Store, home: Home, display: Display) -> Writer:
    """The tracker's process, told of all that is done or has failed so far. Where a server shows
    the sweep is said as soon as the server has it.
    """
    assert home.tracking is not None
    home.root.mkdir(parents=True, exist_ok=True)
    described = manifest(plan, store, home.tracking, home.artifacts)
    writer = Writer(
        described, home.root / "tracking.log", lambda page: display.say(f"in MLflow: {page}")
    )
    for key in plan.trials:
        # What earlier runs left, too: the tracker may have been away then, and skips what MLflow
        # has.
        if key in plan.outcomes:
            writer.send({"finished": key})
        elif key in plan.failures:
            writer.send({"failed": key})
    return writer


def finish_writer(
    writer: Writer,
    results: Results,
    tables: list[Path],
    display: Display,
    *,
    is_interrupted: bool = False,
) -> Tracked:
    """Close the sweep's own run with tables, a figure and the report, and wait until MLflow is
    level with the store.
    """
    plan = results.plan
    # The folder is there until `finish` returns: the tracker's process reads the files from it.
    with tempfile.TemporaryDirectory() as folder:
        with closed_on_errors(writer):
            _send_rest(writer, plan)
            closing = _closing(results, tables, Path(folder), _status(plan, is_interrupted))
        with display.busy("bringing MLflow level with the store"):
            num_written, error = writer.finish({"summary": closing})
    return Tracked(plan, num_written, error, writer.page)


def _closing(results: Results, tables: list[Path], folder: Path, status: str) -> dict[str, Any]:
    """What closes the sweep's own run (see `Tracker.close`); a figure and the report are drawn into
    the folder.
    """
    # Late: they draw pictures, and a run without MLflow needs none.
    from orchestrator.analysis.matrix_pictures import overview
    from orchestrator.analysis.report import report
    from orchestrator.analysis.summary import summary

    artifacts = [str(path) for path in tables]
    figure = overview(results)
    if figure is not None:
        picture = folder / "overview.png"
        picture.write_bytes(figure)
        artifacts.append(str(picture))
    if results.by_key:
        page = folder / "report.html"
        page.write_text(report(results))
        artifacts.append(str(page))
    return {
        "artifacts": artifacts,
        "note": summary(results, LONGEST_TAG),
        "counts": dict(results.plan.cell_counts),
        "status": status,
        # MLflow counts milliseconds since 1970; 0 where nothing has a result.
        "ended": int(results.plan.span[1] * 1000) or None,
    }


def _send_rest(writer: Writer, plan: Plan) -> None:
    """Tell of what another run of the sweep has done meanwhile in this store."""
    for key in plan.outcomes:
        if key not in writer.finished:
            writer.send({"finished": key})


def _status(plan: Plan, is_interrupted: bool) -> str:
    """MLflow's word for how a sweep stands."""
    if plan.is_complete:
        return "FINISHED"
    if is_interrupted:
        return "KILLED"
    # Nothing went wrong where some cells have not been asked for yet.
    counts = plan.trial_counts
    return "FAILED" if counts.get("failed") or counts.get("lost") else "SCHEDULED"
