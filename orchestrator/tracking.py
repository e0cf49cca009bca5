"""MLflow, brought level with the store. The only file that imports mlflow; it runs as a process of its own (see `orchestrator.writer`).

One experiment a sweep, a parent run, a child run a cell and one a needed training. Everything is derived from the store's records, timestamps too, so
writing again changes nothing; a run counts as written when its tag `spolia.written` holds the record's digest, and is completed otherwise.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import queue
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from orchestrator import served
from orchestrator.canonical import digest
from orchestrator.component import ComponentRecord
from orchestrator.errors import SpoliaError
from orchestrator.figures import matrix_svg
from orchestrator.matrix import Matrix
from orchestrator.store import Store
from orchestrator.task import Task

LOGGED_AT_ONCE = 1000  # metrics in one request; MLflow's limit
LONGEST_PARAM = 6000
LIVE_EVERY = 10.0  # seconds between looks at a trial under way


class Tracker:
    """Writes one sweep. `sheet` says what runs there are (see `orchestrator.writer.sheet`)."""

    def __init__(self, sheet: Mapping[str, Any]) -> None:
        self.sheet = sheet
        self.store = Store(sheet["store"])
        mlflow.set_tracking_uri(sheet["tracking"])
        self.client = MlflowClient(sheet["tracking"])
        self.experiment = self._experiment()
        _quick(sheet["tracking"])
        self.runs: dict[str, Any] = {}
        for found in sorted((r for r in self._search() if "spolia.id" in r.data.tags), key=lambda r: (r.info.start_time, r.info.run_id)):
            if self.runs.setdefault(found.data.tags["spolia.id"], found) is not found:
                self.client.delete_run(found.info.run_id)  # the younger of two that one outage or two writers made
        self.models: dict[str, dict[str, str]] = {}
        for model in self._search_models():
            self.models.setdefault(model.tags.get("spolia.key", ""), {})[model.tags.get("spolia.component", "")] = model.model_id
        about = {"mlflow.note.content": sheet["question"], "spolia.role": "sweep", **{f"spolia.{k}": v for k, v in sheet["code"].items()}}
        self.parent = self._open("parent", sheet["sweep"], sheet["began"] or int(time.time() * 1000), about)
        self.by_key: dict[str, list[Mapping[str, Any]]] = {}
        for run in sheet["runs"]:
            self.by_key.setdefault(run["key"], []).append(run)
        self.live: dict[str, float] = {}  # trials under way, and when their curves were last written
        self.written = 0

    # ------------------------------------------------------------------ what is there

    def _experiment(self) -> str:
        name = self.sheet["sweep"]
        found = self.client.get_experiment_by_name(name)
        if found is None:
            # The kind decides which of MLflow's two faces the UI shows; ours is model training.
            tags = {"spolia.question": self.sheet["question"], "mlflow.experimentKind": "custom_model_development"}
            return str(self.client.create_experiment(name, artifact_location=self.sheet["artifacts"], tags=tags))
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _search(self) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _search_models(self) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_logged_models([self.experiment], max_results=100, page_token=token)
            yield from (m for m in page if str(m.status) == "READY")
            token = page.token
            if not token:
                return

    def _open(self, identity: str, name: str, began: int, tags: Mapping[str, str]) -> str:
        """The run with our identity, made if there is none."""
        if identity not in self.runs:
            source = {"mlflow.source.name": self.sheet["sweep"], "mlflow.source.type": "LOCAL"}
            tags = {"mlflow.runName": name, "spolia.id": identity, **source, **tags}
            self.runs[identity] = self.client.create_run(self.experiment, start_time=began, tags=dict(tags))
        return str(self.runs[identity].info.run_id)

    # ------------------------------------------------------------------ writing

    def write(self, key: str) -> None:
        """All runs of a finished trial. What is there already stays."""
        record = self.store.find(key)
        self.live.pop(key, None)
        if record is None:
            return
        mark = digest(record)
        for sheet in self.by_key.get(key, []):
            existing = self.runs.get(sheet["id"])
            if existing is not None and existing.data.tags.get("spolia.written") == mark and existing.info.status == "FINISHED":
                continue
            if existing is not None and existing.data.tags.get("spolia.live", mark) not in (mark, str(record["timings"]["began"])):
                # Curves of a try that is not the one on record: points of two tries in one run would be twins of each other.
                self.client.delete_run(existing.info.run_id)
                del self.runs[sheet["id"]]
            self._write_run(sheet, record, mark)

    def follow(self, key: str) -> None:
        """A trial has begun: its curves appear while it runs."""
        self.live[key] = time.monotonic()

    def write_live(self) -> None:
        """The curves of trials under way, as far as they have left them in the store; each trial every so often."""
        for key, last in list(self.live.items()):
            if time.monotonic() - last < LIVE_EVERY:
                continue
            self.live[key] = time.monotonic()
            if (progress := self.store.progress(key)) is not None:
                for sheet in self.by_key.get(key, []):
                    self._write_progress(sheet, progress)

    def _write_progress(self, sheet: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        began = round(progress["began"], 3)
        existing = self.runs.get(sheet["id"])
        if existing is not None and existing.data.tags.get("spolia.live") not in (None, str(began)):
            self.client.delete_run(existing.info.run_id)
            del self.runs[sheet["id"]]
        new = sheet["id"] not in self.runs
        tags = {"mlflow.parentRunId": self.parent, "spolia.role": sheet["role"]}
        run_id = self._open(sheet["id"], sheet["name"], int(began * 1000), tags)
        if new or existing is None or "spolia.live" not in existing.data.tags:
            params = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in sheet["params"].items()][:100]
            self.client.log_batch(run_id, params=params, tags=[RunTag("spolia.live", str(began)), RunTag("spolia.key", progress["key"])])
            self.client.update_run(run_id, status="RUNNING")
            self.runs[sheet["id"]].data.tags["spolia.live"] = str(began)
        metrics = list(_curves(progress["curves"]))
        for start in range(0, len(metrics), LOGGED_AT_ONCE):
            self.client.log_batch(run_id, metrics=metrics[start : start + LOGGED_AT_ONCE])

    def _write_run(self, sheet: Mapping[str, Any], record: Mapping[str, Any], mark: str) -> None:
        """Three requests for a run: made, filled, ended. The mark that it is whole goes in with the last values; a run that bears the mark but was not
        ended is written again."""
        began, ended = (int(record["timings"][k] * 1000) for k in ("began", "ended"))
        tags = {"spolia.key": record["key"], "spolia.outcome": record["outcome"]}
        tags |= {"spolia.reason": record["reason"][:5000]} if record["reason"] else {}
        tags |= {f"spolia.{k}": str(v) for k, v in record["provenance"].items()}
        tags |= {f"spolia.memory.{k}": str(v) for k, v in record.get("memory", {}).items()}
        about = {"mlflow.parentRunId": self.parent, "spolia.role": sheet["role"]}
        run_id = self._open(sheet["id"], sheet["name"], began, {**about, **tags})
        self._write_matrices(run_id, self.runs[sheet["id"]].info.artifact_uri, record, sheet["headline"])
        self._write_models(run_id, record, sheet["params"])
        params = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in sheet["params"].items()]
        metrics = list(_metrics(record, ended))
        for start in range(0, len(metrics) - LOGGED_AT_ONCE // 2, LOGGED_AT_ONCE // 2):
            self.client.log_batch(run_id, metrics=metrics[start : start + LOGGED_AT_ONCE // 2])
        rest = metrics[max(0, -(-len(metrics) // (LOGGED_AT_ONCE // 2)) - 1) * (LOGGED_AT_ONCE // 2) :]
        marks = [RunTag(k, v) for k, v in {**tags, "spolia.written": mark}.items()]
        for start in range(100, len(params), 100):
            self.client.log_batch(run_id, params=params[start : start + 100])
        self.client.log_batch(run_id, params=params[:100], metrics=rest, tags=marks)
        self.client.set_terminated(run_id, "FINISHED", end_time=ended)
        self.runs[sheet["id"]].data.tags["spolia.written"] = mark  # two cells with the same labels and trial are one run
        self.written += 1

    def _write_matrices(self, run_id: str, artifacts: str, record: Mapping[str, Any], headline: str | None) -> None:
        files: dict[str, bytes] = {}
        for entry in record["matrices"]:
            content = self.store.blob(entry["blob"])
            files[f"{entry['name']}.parquet"] = content
            if entry["name"] == headline:
                files[f"{entry['name']}.svg"] = matrix_svg(Matrix.from_parquet(content)).encode()
        if not files:
            return
        if artifacts.startswith("file://"):
            _put(Path(unquote(urlparse(artifacts).path)) / "matrices", files)
            return
        with tempfile.TemporaryDirectory() as folder:
            _put(Path(folder), files)
            self.client.log_artifacts(run_id, folder, "matrices")

    def _write_models(self, run_id: str, record: Mapping[str, Any], params: Mapping[str, str]) -> None:
        """Components once a trial, as models that load without pickle; the models of needs as this run's inputs."""
        known = self.models.setdefault(record["key"], {})
        for component in (ComponentRecord(**c) for c in record["components"]):
            if component.title not in known:
                known[component.title] = self._write_model(run_id, record, component, params)
        outputs = [LoggedModelOutput(model_id, step=0) for model_id in known.values()]
        inputs = [LoggedModelInput(m) for need in record["needs"].values() for m in self.models.get(need["key"], {}).values()]
        if outputs:
            self.client.log_outputs(run_id, models=outputs)
        if inputs:
            self.client.log_inputs(run_id, models=inputs)

    def _write_model(self, run_id: str, record: Mapping[str, Any], component: ComponentRecord, params: Mapping[str, str]) -> str:
        tasks = {t.name: t for t in (Task.from_json(t) for t in record["trial"]["tasks"])}
        task = tasks.get(component.labels.get("task", "")) or next(iter(tasks.values()))
        data = self.store.data(task.data)
        assert data is not None  # planning wrote it before the trial had a key
        with tempfile.TemporaryDirectory() as folder:
            (parts := Path(folder) / "parts").mkdir()
            served.write(parts, component, self.store.blob(component.blob), data, list(task.class_names))
            needed = [f"{name}=={record['provenance'][name].partition('+')[0]}" for name in ("spolia", "torch") if name in record["provenance"]]
            mlflow.pyfunc.save_model(Path(folder) / "model", loader_module="orchestrator.served", data_path=str(parts), pip_requirements=needed)
            tags = {"spolia.key": record["key"], "spolia.component": component.title, "spolia.blob": component.blob}
            about = {**params, **component.labels}
            model = self.client.create_logged_model(
                self.experiment, name=component.title, source_run_id=run_id, tags=tags, params=about, model_type="spolia"
            )
            self.client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
            self.client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)

    def write_failure(self, key: str) -> None:
        """A trial that failed stands as a failed run until it is run again with success."""
        self.live.pop(key, None)
        failure = self.store.failure(key)
        if failure is None:
            return
        now, reason, traceback = int(failure["time"] * 1000), str(failure["reason"]), str(failure["traceback"])
        for sheet in self.by_key.get(key, []):
            run_id = self._open(sheet["id"], sheet["name"], now, {"mlflow.parentRunId": self.parent, "spolia.role": sheet["role"]})
            self.client.log_batch(run_id, params=[Param(k, str(v)[:LONGEST_PARAM]) for k, v in sheet["params"].items()][:100])
            if self.runs[sheet["id"]].data.tags.get("spolia.reason") == reason[:5000]:
                continue  # told before
            self.client.set_tag(run_id, "spolia.reason", reason[:5000])
            self.client.log_text(run_id, traceback or reason, "traceback.txt")
            self.client.set_terminated(run_id, "FAILED", end_time=now)

    def close(self, summary: Mapping[str, Any]) -> None:
        """The parent run: counts, aggregated tables and figures."""
        for path in summary["artifacts"]:
            self.client.log_artifact(self.parent, path)
        self.client.set_tag(self.parent, "mlflow.note.content", summary["note"])
        self.client.set_tag(self.parent, "spolia.counts", json.dumps(summary["counts"]))
        self.client.set_terminated(self.parent, "FINISHED" if summary["complete"] else "FAILED", end_time=summary["ended"])
        for found in self._search():  # what was under way and did not come to its end must not look as if it still ran
            if found.info.status == "RUNNING" and "spolia.id" in found.data.tags:
                self.client.set_terminated(found.info.run_id, "KILLED")


def _put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write an artifact folder that lies on this machine ourselves: MLflow would ask its database for the run first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _quick(tracking: str) -> None:
    """SQLite's write-ahead log, set once and kept by the file: half the time a run, and the UI reads while we write."""
    if tracking.startswith("sqlite:///"):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(tracking.removeprefix("sqlite:///"))) as database:
            database.execute("PRAGMA journal_mode=WAL")


def _metrics(record: Mapping[str, Any], ended: int) -> Iterator[Metric]:
    """Final metrics and curves with the record's own times; a value that was not finite is left out."""
    for m in record["metrics"]:
        if m["value"] is not None:
            yield Metric("/".join([m["name"], *m["labels"].values()]), m["value"], ended, 0)
    yield from _curves(record["curves"])


def _curves(points: Iterable[Sequence[Any]]) -> Iterator[Metric]:
    for name, step, value, when in points:
        if value is not None and math.isfinite(value):
            yield Metric(name, value, int(when * 1000), step)


def _orders() -> Iterator[Mapping[str, Any] | None]:
    """Orders from standard input as they come; None now and then while there is none, until the driver closes it."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in itertools.chain(sys.stdin, [""]):
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=LIVE_EVERY / 2)
        except queue.Empty:
            yield None
            continue
        if not line:
            return
        yield json.loads(line)


def main() -> int:
    """Read the sheet and then orders from standard input, a JSON line each; print one JSON line at the end."""
    report: dict[str, Any] = {"written": 0, "error": ""}
    try:
        tracker = Tracker(json.loads(sys.stdin.readline()))
        for order in _orders():
            tracker.write_live()
            if order is None:
                continue
            if "started" in order:
                tracker.follow(order["started"])
            elif "key" in order:
                tracker.write(order["key"])
            elif "failed" in order:
                tracker.write_failure(order["failed"])
            else:
                tracker.close(order)
            report["written"] = tracker.written
    except (MlflowException, SpoliaError, OSError) as error:
        report["error"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    print(json.dumps(report))
    return 1 if report["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
