"""MLflow, brought level with the store. The only file that imports mlflow; it runs in a process of
its own (see `orchestrator.tracking.process`).

One experiment a sweep, a parent run, a child run a cell and one a needed training. Everything is
derived from the store's records, timestamps too, so writing again changes nothing; a run counts as
written when its tag `spolia.written` holds the record's digest, and is completed otherwise.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from orchestrator.errors import SpoliaError
from orchestrator.spec.task import Task
from orchestrator.store.store import Store
from orchestrator.tracking.finished_run import (
    LONGEST_TAG,
    FinishedRun,
    Point,
    curve_points,
    finished_run,
    params_of,
    put_files,
)
from orchestrator.tracking.sqlite_rows import SqliteWriter

if TYPE_CHECKING:
    from orchestrator.parts.component import ComponentRecord
    from orchestrator.tracking.manifest import Manifest, RunEntry

# In one request, with 100 params and some tags beside them; MLflow's limit is 1000 in all.
METRICS_AT_ONCE, PARAMS_AT_ONCE = 800, 100

# What ends the writing; the training goes on.
ERRORS = (MlflowException, SpoliaError, OSError, sqlite3.Error)

LIVE_EVERY = 10.0  # seconds between looks at a trial under way


class Tracker:
    """Writes one sweep, whose manifest says which runs there are."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.store = Store(manifest["store"])
        mlflow.set_tracking_uri(manifest["tracking"])
        self.client = MlflowClient(manifest["tracking"])
        self.experiment = self._find_or_create_experiment()
        self.sqlite = self._sqlite_writer()
        self.runs = self._existing_runs()
        self.models = self._existing_models()
        self.source = {"mlflow.source.name": manifest["sweep"], "mlflow.source.type": "LOCAL"}
        self.parent = self._open_parent()
        self.sweep_tags = {"mlflow.parentRunId": self.parent, **self.source}
        self.entries: dict[str, list[RunEntry]] = {}  # by key
        for entry in manifest["runs"]:
            self.entries.setdefault(entry["key"], []).append(entry)
        self.followed: dict[str, float] = {}  # trials under way, and when we last looked at them
        self.written = 0

    # ------------------------------------------------------------------ what exists already

    def _find_or_create_experiment(self) -> str:
        name = self.manifest["sweep"]
        found = self.client.get_experiment_by_name(name)
        if found is None:
            # The kind decides which of MLflow's two faces the UI shows; ours is model training.
            tags = {
                "spolia.question": self.manifest["question"],
                "mlflow.experimentKind": "custom_model_development",
            }
            artifacts = self.manifest["artifacts"]
            return str(self.client.create_experiment(name, artifact_location=artifacts, tags=tags))
        if found.lifecycle_stage == "deleted":
            # A name belongs to one experiment, deleted or not.
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _sqlite_writer(self) -> SqliteWriter | None:
        """The short way into a database on this machine, where it has the tables that we know."""
        address = str(self.manifest["tracking"])
        artifacts = urlparse(self.client.get_experiment(self.experiment).artifact_location)
        if not address.startswith("sqlite:///") or artifacts.scheme != "file":
            return None
        database = Path(address.removeprefix("sqlite:///"))
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(database)) as connection,
        ):
            # Set once and kept by the file: the UI reads while we write.
            connection.execute("PRAGMA journal_mode=WAL")
        if not SqliteWriter.knows_tables_of(database):
            return None
        return SqliteWriter(database, self.experiment, Path(unquote(artifacts.path)))

    def _existing_runs(self) -> dict[str, Any]:
        """Runs of ours by identity. Of two with one identity, which an outage or two writers made,
        the younger is deleted.
        """
        ours = [run for run in self._search_runs() if "spolia.id" in run.data.tags]
        runs: dict[str, Any] = {}
        for run in sorted(ours, key=lambda run: (run.info.start_time, run.info.run_id)):
            if runs.setdefault(run.data.tags["spolia.id"], run) is not run:
                self.client.delete_run(run.info.run_id)
        return runs

    def _existing_models(self) -> dict[str, dict[tuple[str, str], str]]:
        """Ids of models by their trial's key, and by component and weights."""
        models: dict[str, dict[tuple[str, str], str]] = {}
        for model in self._search_models():
            component = model.tags.get("spolia.component", ""), model.tags.get("spolia.blob", "")
            models.setdefault(model.tags.get("spolia.key", ""), {})[component] = model.model_id
        return models

    def _search_runs(self) -> Iterator[Any]:
        return _pages(
            lambda token: self.client.search_runs(
                [self.experiment], max_results=1000, page_token=token
            )
        )

    def _search_models(self) -> Iterator[Any]:
        found = _pages(
            lambda token: self.client.search_logged_models(
                [self.experiment], max_results=100, page_token=token
            )
        )
        return (model for model in found if str(model.status) == "READY")

    # ------------------------------------------------------------------ opening and deleting runs

    def _open_parent(self) -> str:
        """The sweep's own run."""
        tags = {
            "mlflow.note.content": self.manifest["question"],
            "spolia.role": "sweep",
            **{f"spolia.{name}": value for name, value in self.manifest["code"].items()},
        }
        began = self.manifest["began"] or int(time.time() * 1000)
        return self._open("parent", self.manifest["sweep"], began, tags)

    def _open(self, identity: str, name: str, began: int, tags: Mapping[str, str]) -> str:
        """The id of the run with this identity, which is created if there is none."""
        if identity not in self.runs:
            tags = {"mlflow.runName": name, "spolia.id": identity, **self.source, **tags}
            self.runs[identity] = self.client.create_run(
                self.experiment, start_time=began, tags=dict(tags)
            )
        return str(self.runs[identity].info.run_id)

    def _open_unfinished(self, entry: RunEntry, began: int) -> str:
        """The id of the run of a trial that is under way or failed."""
        tags = {"mlflow.parentRunId": self.parent, "spolia.role": entry["role"]}
        return self._open(entry["id"], entry["name"], began, tags)

    def _delete(self, identity: str) -> None:
        self.client.delete_run(self.runs.pop(identity).info.run_id)

    # ------------------------------------------------------------------ trials under way

    def follow(self, key: str) -> None:
        """A trial has begun: its curves appear while it runs."""
        self.followed[key] = time.monotonic()

    def write_live(self) -> None:
        """The curves of trials under way, as far as they have left them in the store; each trial
        every `LIVE_EVERY` seconds.
        """
        for key, last in list(self.followed.items()):
            if time.monotonic() - last < LIVE_EVERY:
                continue
            self.followed[key] = time.monotonic()
            progress = self.store.progress(key)
            if progress is None:
                continue
            for entry in self.entries.get(key, []):
                self._write_progress(entry, progress)

    def _write_progress(self, entry: RunEntry, progress: Mapping[str, Any]) -> None:
        """A running run with the curves so far; its tag `spolia.live` holds when this try began."""
        identity, began = entry["id"], round(progress["began"], 3)
        existing = self.runs.get(identity)
        if existing is not None and existing.data.tags.get("spolia.live") not in (None, str(began)):
            self._delete(identity)  # it is of an earlier try
            existing = None
        run_id = self._open_unfinished(entry, int(began * 1000))
        if existing is None or "spolia.live" not in existing.data.tags:
            self._fill(run_id, params_of(entry), [])
            tags = [RunTag("spolia.live", str(began)), RunTag("spolia.key", progress["key"])]
            self.client.log_batch(run_id, tags=tags)
            self.client.update_run(run_id, status="RUNNING")
            self.runs[identity].data.tags["spolia.live"] = str(began)
        self._fill(run_id, {}, curve_points(progress["curves"]))

    # ------------------------------------------------------------------ finished trials

    def write(self, keys: Sequence[str]) -> None:
        """Write all runs of finished trials. Those that are there already stay; those that need no
        request of their own go in together.
        """
        together: list[tuple[str, FinishedRun]] = []
        for key in keys:
            record = self.store.find(key)
            self.followed.pop(key, None)
            if record is None:
                continue
            for entry in self.entries.get(key, []):
                if self._is_written(entry["id"], record, record.digest):
                    continue
                run = finished_run(entry, record, self.store, self.sweep_tags, record.digest)
                if self._goes_together(entry["id"], record):
                    together.append((entry["id"], run))
                    # Two cells with the same labels and trial are one run.
                    self.runs[entry["id"]] = _WrittenRun(run.tags)
                else:
                    self._write_run(entry, run, record)
        if together:
            self._write_together(together)

    def _is_written(self, identity: str, record: Mapping[str, Any], record_digest: str) -> bool:
        """Whether a run is there and complete. One of a try or a result that is not on record any
        more is deleted: its points and the new ones would be twins of each other.
        """
        existing = self.runs.get(identity)
        if existing is None:
            return False
        tags, began = existing.data.tags, str(record["timings"]["began"])
        if tags.get("spolia.written") == record_digest and existing.info.status == "FINISHED":
            return True
        is_of_this_try = tags.get("spolia.live", began) == began
        is_of_this_record = tags.get("spolia.written", record_digest) == record_digest
        if not (is_of_this_try and is_of_this_record):
            self._delete(identity)
        return False

    def _goes_together(self, identity: str, record: Mapping[str, Any]) -> bool:
        """Whether a run can go straight into the database: it is new and has no models."""
        needs_models = any(self.models.get(need["key"]) for need in record["needs"].values())
        has_models = record["components"] or needs_models
        return self.sqlite is not None and identity not in self.runs and not has_models

    def _write_together(self, runs: Sequence[tuple[str, FinishedRun]]) -> None:
        assert self.sqlite is not None
        ids = self.sqlite.write([run for _, run in runs])
        for (identity, run), run_id in zip(runs, ids, strict=True):
            self.runs[identity] = _WrittenRun(run.tags, run_id)
        self.written += len(runs)

    def _write_run(self, entry: RunEntry, run: FinishedRun, record: Mapping[str, Any]) -> None:
        """A run through MLflow's client: created, filled, ended. The tag that it is complete goes
        in with the last values; a run that has it but was not ended is written again."""
        tags = {name: value for name, value in run.tags.items() if name != "spolia.written"}
        run_id = self._open(entry["id"], run.name, run.began, tags)
        self._write_files(run_id, run.files)
        self._write_models(run_id, record, entry["params"])
        self._fill(run_id, run.params, run.points)
        self.client.log_batch(run_id, tags=[RunTag(k, v) for k, v in run.tags.items()])
        self.client.set_terminated(run_id, "FINISHED", end_time=run.ended)
        self.runs[entry["id"]] = _WrittenRun(run.tags, run_id)
        self.written += 1

    def _fill(self, run_id: str, params: Mapping[str, str], points: Iterable[Point]) -> None:
        """Params and metrics, within MLflow's limits for one request."""
        pairs = [Param(name, value) for name, value in params.items()]
        metrics = [Metric(*point) for point in points]
        for start in range(0, max(len(metrics), 1), METRICS_AT_ONCE):
            self.client.log_batch(
                run_id,
                metrics=metrics[start : start + METRICS_AT_ONCE],
                # Params once, with the first metrics.
                params=[] if start else pairs[:PARAMS_AT_ONCE],
            )
        for start in range(PARAMS_AT_ONCE, len(pairs), PARAMS_AT_ONCE):
            self.client.log_batch(run_id, params=pairs[start : start + PARAMS_AT_ONCE])

    def _write_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as folder:
            put_files(Path(folder), files)
            self.client.log_artifacts(run_id, folder)

    # ------------------------------------------------------------------ models

    def _write_models(
        self, run_id: str, record: Mapping[str, Any], params: Mapping[str, str]
    ) -> None:
        """Components once a trial, as models that load without pickle; the models of needs as this
        run's inputs.
        """
        if not record["components"] and not record["needs"]:
            return
        # Brings torch: two seconds that runs without models can do without.
        from orchestrator.parts.component import ComponentRecord

        known = self.models.setdefault(record["key"], {})
        outputs, inputs = [], []
        for stored in record["components"]:
            component = ComponentRecord(**stored)
            identity = (component.title, component.blob)
            if identity not in known:
                known[identity] = self._write_model(run_id, record, component, params)
            outputs.append(LoggedModelOutput(known[identity], step=0))
        # Lineage: whose models this run was made from. None, where they are another sweep's.
        for need in record["needs"].values():
            inputs += [LoggedModelInput(m) for m in self.models.get(need["key"], {}).values()]
        if outputs:
            self.client.log_outputs(run_id, models=outputs)
        if inputs:
            self.client.log_inputs(run_id, models=inputs)

    def _write_model(
        self,
        run_id: str,
        record: Mapping[str, Any],
        component: ComponentRecord,
        params: Mapping[str, str],
    ) -> str:
        """One component as a model; its id."""
        with tempfile.TemporaryDirectory() as folder:
            saved = self._save_model(Path(folder), record, component)
            model = self.client.create_logged_model(
                self.experiment,
                name=model_name(component.title),
                source_run_id=run_id,
                tags={
                    "spolia.key": record["key"],
                    "spolia.component": component.title,
                    "spolia.blob": component.blob,
                },
                params={**params, **component.labels},
                model_type="spolia",
            )
            self.client.log_model_artifacts(model.model_id, str(saved))
            self.client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)

    def _save_model(
        self, folder: Path, record: Mapping[str, Any], component: ComponentRecord
    ) -> Path:
        """A component in MLflow's format below a folder; the path of it."""
        from mlflow import pyfunc

        from orchestrator.tracking import pyfunc_model

        all_tasks = [Task.from_json(task) for task in record["trial"]["tasks"]]
        tasks = {task.name: task for task in all_tasks}
        task = tasks.get(component.labels.get("task", "")) or next(iter(tasks.values()))
        data = self.store.data(task.data)
        assert data is not None  # planning wrote it before the trial had a key
        parts, model = folder / "parts", folder / "model"
        parts.mkdir()
        weights = self.store.blob(component.blob, of=record["key"])
        pyfunc_model.write(parts, component, weights, data, task)
        versions = record["provenance"]
        requirements = [
            f"{name}=={versions[name].partition('+')[0]}"
            for name in ("spolia", "torch")
            if name in versions
        ]
        pyfunc.save_model(
            model,
            loader_module="orchestrator.tracking.pyfunc_model",
            data_path=str(parts),
            pip_requirements=requirements,
        )
        return model

    # ------------------------------------------------------------------ failures, and the end

    def write_failure(self, key: str) -> None:
        """A trial that failed stands as a failed run until it is run again with success."""
        self.followed.pop(key, None)
        failure = self.store.failure(key)
        if failure is None:
            return
        failed_at = int(failure["time"] * 1000)
        reason, traceback = str(failure["reason"]), str(failure["traceback"])
        for entry in self.entries.get(key, []):
            run_id = self._open_unfinished(entry, failed_at)
            self._fill(run_id, params_of(entry), [])
            tags = self.runs[entry["id"]].data.tags
            if tags.get("spolia.reason") == reason[:LONGEST_TAG]:
                continue  # written before
            self.client.set_tag(run_id, "spolia.reason", reason[:LONGEST_TAG])
            self.client.log_text(run_id, traceback or reason, "traceback.txt")
            self.client.set_terminated(run_id, "FAILED", end_time=failed_at)

    def close(self, summary: Mapping[str, Any]) -> None:
        """End the sweep's own run: `artifacts` (paths of tables and figures), `note` (Markdown),
        `counts` of outcomes, whether it is `complete`, and when it `ended` in milliseconds.
        """
        for path in summary["artifacts"]:
            self.client.log_artifact(self.parent, path)
        self.client.set_tag(self.parent, "mlflow.note.content", summary["note"])
        self.client.set_tag(self.parent, "spolia.counts", json.dumps(summary["counts"]))
        status = "FINISHED" if summary["complete"] else "FAILED"
        self.client.set_terminated(self.parent, status, end_time=summary["ended"])
        # What was under way and did not come to its end must not look as if it still ran.
        for run in self._search_runs():
            if run.info.status == "RUNNING" and "spolia.id" in run.data.tags:
                self.client.set_terminated(run.info.run_id, "KILLED")


def model_name(title: str) -> str:
    """A component's title as MLflow takes it for a model's name; the tag `spolia.component` keeps
    it as it is.
    """
    return re.sub(r"[/:.%\"']", "_", title)


def _pages(fetch: Callable[[str | None], Any]) -> Iterator[Any]:
    """All entries of a search, page after page."""
    token: str | None = None
    while True:
        page = fetch(token)
        yield from page
        token = page.token
        if not token:
            return


class _WrittenRun:
    """A run that this process wrote, with what we look at again of MLflow's own class."""

    def __init__(self, tags: Mapping[str, str], run_id: str = "") -> None:
        self.data = SimpleNamespace(tags=dict(tags))
        self.info = SimpleNamespace(run_id=run_id, status="FINISHED")
