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
from orchestrator.spec.canonical import digest
from orchestrator.spec.task import Task
from orchestrator.store.store import Store
from orchestrator.tracking.finished_run import (
    Point,
    WholeRun,
    curve_points,
    params_of,
    put_files,
    whole_run,
)
from orchestrator.tracking.sqlite_rows import BulkWriter

if TYPE_CHECKING:
    from orchestrator.parts.component import ComponentRecord

METRICS_AT_ONCE = (
    800  # in one request, with 100 params and some tags beside them; MLflow's limit is 1000
)
ERRORS = (
    MlflowException,
    SpoliaError,
    OSError,
    sqlite3.Error,
)  # what ends the writing; the training goes on
LIVE_EVERY = 10.0  # seconds between looks at a trial under way


class Tracker:
    """Writes one sweep. `sheet` says what runs there are (see
    `orchestrator.tracking.writer.sheet`).
    """

    def __init__(self, sheet: Mapping[str, Any]) -> None:
        self.sheet = sheet
        self.store = Store(sheet["store"])
        mlflow.set_tracking_uri(sheet["tracking"])
        self.client = MlflowClient(sheet["tracking"])
        self.experiment = self._experiment()
        self.source = {"mlflow.source.name": sheet["sweep"], "mlflow.source.type": "LOCAL"}
        self.bulk = self._bulk()
        self.runs: dict[str, Any] = {}
        for found in sorted(
            (r for r in self._search() if "spolia.id" in r.data.tags),
            key=lambda r: (r.info.start_time, r.info.run_id),
        ):
            if self.runs.setdefault(found.data.tags["spolia.id"], found) is not found:
                self.client.delete_run(
                    found.info.run_id
                )  # the younger of two that one outage or two writers made
        self.models: dict[
            str, dict[tuple[str, str], str]
        ] = {}  # ids by trial, and by component and weights
        for model in self._search_models():
            named = (model.tags.get("spolia.component", ""), model.tags.get("spolia.blob", ""))
            self.models.setdefault(model.tags.get("spolia.key", ""), {})[named] = model.model_id
        about = {
            "mlflow.note.content": sheet["question"],
            "spolia.role": "sweep",
            **{f"spolia.{k}": v for k, v in sheet["code"].items()},
        }
        self.parent = self._open(
            "parent", sheet["sweep"], sheet["began"] or int(time.time() * 1000), about
        )
        self.about = {"mlflow.parentRunId": self.parent, **self.source}
        self.by_key: dict[str, list[Mapping[str, Any]]] = {}
        for run in sheet["runs"]:
            self.by_key.setdefault(run["key"], []).append(run)
        self.live: dict[
            str, float
        ] = {}  # trials under way, and when their curves were last written
        self.written = 0

    # ------------------------------------------------------------------ what is there

    def _experiment(self) -> str:
        name = self.sheet["sweep"]
        found = self.client.get_experiment_by_name(name)
        if found is None:
            # The kind decides which of MLflow's two faces the UI shows; ours is model training.
            tags = {
                "spolia.question": self.sheet["question"],
                "mlflow.experimentKind": "custom_model_development",
            }
            return str(
                self.client.create_experiment(
                    name, artifact_location=self.sheet["artifacts"], tags=tags
                )
            )
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _bulk(self) -> BulkWriter | None:
        """The short way into a database on this machine, where it has the tables that we know."""
        address = str(self.sheet["tracking"])
        place = urlparse(self.client.get_experiment(self.experiment).artifact_location)
        if not address.startswith("sqlite:///") or place.scheme != "file":
            return None
        database = Path(address.removeprefix("sqlite:///"))
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(database)) as connection,
        ):
            connection.execute(
                "PRAGMA journal_mode=WAL"
            )  # set once, kept by the file: the UI reads while we write
        return (
            BulkWriter(database, self.experiment, Path(unquote(place.path)))
            if BulkWriter.fits(database)
            else None
        )

    def _search(self) -> Iterator[Any]:
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

    def _open(self, identity: str, name: str, began: int, tags: Mapping[str, str]) -> str:
        """The run with our identity, made if there is none."""
        if identity not in self.runs:
            tags = {"mlflow.runName": name, "spolia.id": identity, **self.source, **tags}
            self.runs[identity] = self.client.create_run(
                self.experiment, start_time=began, tags=dict(tags)
            )
        return str(self.runs[identity].info.run_id)

    # ------------------------------------------------------------------ writing

    def write(self, keys: Sequence[str]) -> None:
        """All runs of finished trials. What is there already stays; runs that need no request of
        their own go in together.
        """
        together: list[tuple[Mapping[str, Any], WholeRun]] = []
        for key in keys:
            record = self.store.find(key)
            self.live.pop(key, None)
            if record is None:
                continue
            mark = digest(record)
            for sheet in self.by_key.get(key, []):
                if self._is_written(sheet, mark, str(record["timings"]["began"])):
                    continue
                run = whole_run(sheet, record, self.store, self.about, mark)
                models = record["components"] or any(
                    self.models.get(need["key"]) for need in record["needs"].values()
                )
                if self.bulk is not None and sheet["id"] not in self.runs and not models:
                    together.append((sheet, run))
                    self.runs[sheet["id"]] = _Written(
                        run.tags
                    )  # two cells with the same labels and trial are one run
                else:
                    self._write_run(sheet, run, record)
        if self.bulk is not None and together:
            for (sheet, run), number in zip(
                together, self.bulk.write([run for _, run in together]), strict=True
            ):
                self.runs[sheet["id"]] = _Written(run.tags, number)
            self.written += len(together)

    def _is_written(self, sheet: Mapping[str, Any], mark: str, began: str) -> bool:
        """Whether a run is there and whole. One of a try or a result that is not on record any more
        goes: its points and the new ones would be twins of each other."""
        existing = self.runs.get(sheet["id"])
        if existing is None:
            return False
        if existing.data.tags.get("spolia.written") == mark and existing.info.status == "FINISHED":
            return True
        if (
            existing.data.tags.get("spolia.live", began) != began
            or existing.data.tags.get("spolia.written", mark) != mark
        ):
            self.client.delete_run(existing.info.run_id)
            del self.runs[sheet["id"]]
        return False

    def follow(self, key: str) -> None:
        """A trial has begun: its curves appear while it runs."""
        self.live[key] = time.monotonic()

    def write_live(self) -> None:
        """The curves of trials under way, as far as they have left them in the store; each trial
        every so often.
        """
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
            self._fill(run_id, params_of(sheet), [])
            self.client.log_batch(
                run_id,
                tags=[RunTag("spolia.live", str(began)), RunTag("spolia.key", progress["key"])],
            )
            self.client.update_run(run_id, status="RUNNING")
            self.runs[sheet["id"]].data.tags["spolia.live"] = str(began)
        self._fill(run_id, {}, curve_points(progress["curves"]))

    def _write_run(
        self, sheet: Mapping[str, Any], run: WholeRun, record: Mapping[str, Any]
    ) -> None:
        """A run through MLflow's client: made, filled, ended. The mark that it is whole goes in
        with the last values; a run that bears the mark but was not ended is written again."""
        run_id = self._open(
            sheet["id"],
            run.name,
            run.began,
            {k: v for k, v in run.tags.items() if k != "spolia.written"},
        )
        self._write_files(run_id, run.files)
        self._write_models(run_id, record, sheet["params"])
        self._fill(run_id, run.params, run.points)
        self.client.log_batch(run_id, tags=[RunTag(k, v) for k, v in run.tags.items()])
        self.client.set_terminated(run_id, "FINISHED", end_time=run.ended)
        self.runs[sheet["id"]] = _Written(run.tags, run_id)
        self.written += 1

    def _fill(self, run_id: str, params: Mapping[str, str], points: Iterable[Point]) -> None:
        """Params and metrics, within MLflow's limits for one request."""
        pairs = [Param(k, v) for k, v in params.items()]
        metrics = [Metric(*point) for point in points]
        for start in range(0, max(len(metrics), 1), METRICS_AT_ONCE):
            self.client.log_batch(
                run_id,
                metrics=metrics[start : start + METRICS_AT_ONCE],
                params=[] if start else pairs[:100],
            )
        for start in range(100, len(pairs), 100):
            self.client.log_batch(run_id, params=pairs[start : start + 100])

    def _write_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as folder:
            put_files(Path(folder), files)
            self.client.log_artifacts(run_id, folder)

    def _write_models(
        self, run_id: str, record: Mapping[str, Any], params: Mapping[str, str]
    ) -> None:
        """Components once a trial, as models that load without pickle; the models of needs as this
        run's inputs.
        """
        if not record["components"] and not record["needs"]:
            return
        from orchestrator.parts.component import (
            ComponentRecord,  # brings torch: two seconds that runs without models can do without
        )

        known, outputs = self.models.setdefault(record["key"], {}), list[LoggedModelOutput]()
        for component in (ComponentRecord(**c) for c in record["components"]):
            if (component.title, component.blob) not in known:
                known[component.title, component.blob] = self._write_model(
                    run_id, record, component, params
                )
            outputs.append(LoggedModelOutput(known[component.title, component.blob], step=0))
        inputs = [
            LoggedModelInput(m)
            for need in record["needs"].values()
            for m in self.models.get(need["key"], {}).values()
        ]
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
        tasks = {t.name: t for t in (Task.from_json(t) for t in record["trial"]["tasks"])}
        task = tasks.get(component.labels.get("task", "")) or next(iter(tasks.values()))
        data = self.store.data(task.data)
        assert data is not None  # planning wrote it before the trial had a key
        with tempfile.TemporaryDirectory() as folder:
            (parts := Path(folder) / "parts").mkdir()
            from mlflow import pyfunc

            from orchestrator.tracking import pyfunc_model

            pyfunc_model.write(
                parts, component, self.store.blob(component.blob), data, list(task.class_names)
            )
            needed = [
                f"{name}=={record['provenance'][name].partition('+')[0]}"
                for name in ("spolia", "torch")
                if name in record["provenance"]
            ]
            pyfunc.save_model(
                Path(folder) / "model",
                loader_module="orchestrator.tracking.pyfunc_model",
                data_path=str(parts),
                pip_requirements=needed,
            )
            tags = {
                "spolia.key": record["key"],
                "spolia.component": component.title,
                "spolia.blob": component.blob,
            }
            about = {**params, **component.labels}
            model = self.client.create_logged_model(
                self.experiment,
                name=model_name(component.title),
                source_run_id=run_id,
                tags=tags,
                params=about,
                model_type="spolia",
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
        now, reason, traceback = (
            int(failure["time"] * 1000),
            str(failure["reason"]),
            str(failure["traceback"]),
        )
        for sheet in self.by_key.get(key, []):
            run_id = self._open(
                sheet["id"],
                sheet["name"],
                now,
                {"mlflow.parentRunId": self.parent, "spolia.role": sheet["role"]},
            )
            self._fill(run_id, params_of(sheet), [])
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
        self.client.set_terminated(
            self.parent, "FINISHED" if summary["complete"] else "FAILED", end_time=summary["ended"]
        )
        for found in (
            self._search()
        ):  # what was under way and did not come to its end must not look as if it still ran
            if found.info.status == "RUNNING" and "spolia.id" in found.data.tags:
                self.client.set_terminated(found.info.run_id, "KILLED")


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


class _Written:
    """A run that this process wrote, as far as we look at it again."""

    def __init__(self, tags: Mapping[str, str], run_id: str = "") -> None:
        self.data = SimpleNamespace(tags=dict(tags))
        self.info = SimpleNamespace(run_id=run_id, status="FINISHED")
