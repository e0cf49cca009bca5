"""The runs that one store has in one experiment of MLflow: found, made, filled, replaced, ended.

Requests are as few and as large as MLflow's client admits. Each may be made twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from orchestrator.tracking.finished_run import LAYOUT, Point, put_files
from orchestrator.tracking.patience import of_artifacts

# In one request, with some tags beside them; MLflow's limits are 1000 in all, 100 params, 1 MB.
METRICS_AT_ONCE, PARAMS_AT_ONCE = 800, 100
REPLACED_BY = "spolia.replaced_by"  # tag of a run that another one has taken the place of: its id


class OfModel(NamedTuple):
    """Of which model a metric is, and on which data set it was measured, by name and digest."""

    model: str
    data: str | None = None
    digest: str | None = None


NOBODY: Mapping[str, OfModel] = MappingProxyType({})


@dataclass
class KnownRun:
    """A run as MLflow has it, as far as we look at it again. `metrics` are the names of those that
    it has, `points` all that they were, or None where that has not been looked up; `params` are
    those to which others may be added.
    """

    run_id: str
    status: str
    artifacts: str
    tags: dict[str, str] = field(default_factory=dict)
    metrics: frozenset[str] = frozenset()
    points: set[Point] | None = None
    params: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(run: Any) -> KnownRun:
        info, tags = run.info, dict(run.data.tags)
        known = KnownRun(info.run_id, str(info.status), info.artifact_uri, tags)
        # Of whole runs they are not asked for, and a sweep may have thousands.
        is_setting = tags.get("spolia.role") == "setting"
        if is_setting:
            known.metrics = frozenset(run.data.metrics)
        if is_setting or not known.is_result:
            known.params = dict(run.data.params)
        return known

    def contradicts(self, params: Mapping[str, str]) -> bool:
        """Whether it has one of these params with another value, which is there for good."""
        return any(self.params.get(name, value) != value for name, value in params.items())

    @property
    def is_result(self) -> bool:
        """Whether it is the whole run of a result."""
        return "spolia.result" in self.tags and self.status == "FINISHED"

    @property
    def is_written(self) -> bool:
        """The same, laid out as today."""
        return self.is_result and self.tags.get("spolia.layout") == LAYOUT


class Runs:
    """The runs of a store by their `spolia.id`. What other stores have in the same experiment is
    neither seen nor touched.
    """

    def __init__(self, client: MlflowClient, experiment: str, store: str) -> None:
        self.client, self.experiment, self.store = client, experiment, store
        self._known: dict[str, KnownRun] = {}
        for run in self.search():
            self._add(run)

    def get(self, identity: str) -> KnownRun | None:
        return self._known.get(identity)

    def know(self, runs: Mapping[str, KnownRun]) -> None:
        """Take in what another process knows of runs."""
        self._known.update(runs)

    def known(self, identities: Iterable[str]) -> dict[str, KnownRun]:
        """Of these runs those that are there."""
        return {one: self._known[one] for one in identities if one in self._known}

    def look_again(self, identity: str) -> None:
        """Ask MLflow for a run: a request that failed may have been heard all the same. Another
        thread may ask what is known of it meanwhile.
        """
        found = list(self.search(f"tags.`spolia.id` = '{identity}'"))
        if not found:
            self._known.pop(identity, None)
            return
        self._known[identity] = KnownRun.of(found[0])
        for run in found[1:]:
            self._add(run)

    def search(self, condition: str = "") -> Iterator[Any]:
        """This store's runs that have not been replaced, the oldest first."""
        parts = [f"tags.`spolia.store` = '{self.store}'", *filter(None, [condition])]
        found = pages(
            lambda token: self.client.search_runs(
                [self.experiment], " and ".join(parts), max_results=1000, page_token=token
            )
        )
        ours = []
        for run in list(found):
            if REPLACED_BY in run.data.tags:
                # In sight all the same: nobody heard that it was to be deleted, or its experiment
                # was restored, and all its runs with it.
                self._hide(KnownRun.of(run))
            else:
                ours.append(run)
        yield from sorted(ours, key=lambda run: (run.info.start_time, run.info.run_id))

    def _add(self, run: Any) -> None:
        """Of two runs with one identity, which an outage or two writers made, one stays: a whole
        one if there is one, else the elder.
        """
        added, identity = KnownRun.of(run), run.data.tags.get("spolia.id", run.info.run_id)
        other = self._known.setdefault(identity, added)
        if other is added:
            return
        if added.is_written and not other.is_written:
            self._known[identity], added, other = added, other, added
        self._retire(added, other.run_id)

    def create(self, identity: str, name: str, began: int, tags: Mapping[str, str]) -> KnownRun:
        """A new run. One that had this identity is told that this one has replaced it, and is out
        of sight from then on, though links to it go on leading there.
        """
        old = self._known.get(identity)
        tags = {
            "mlflow.runName": name,
            "spolia.id": identity,
            "spolia.store": self.store,
            **tags,
        }
        made = KnownRun.of(self.client.create_run(self.experiment, began, dict(tags)))
        made.points = set()
        self._known[identity] = made
        if old is not None:
            self._retire(old, made.run_id)
        return made

    def _retire(self, run: KnownRun, by: str) -> None:
        note = f"Replaced by run {by}."
        tags = {REPLACED_BY: by, "mlflow.note.content": note}
        self.fill(run, {}, [], tags)
        self._hide(run)

    def _hide(self, run: KnownRun) -> None:
        """Delete a run as MLflow deletes."""
        if run.status == "RUNNING":
            self.end(run, "KILLED", None)
        self.client.delete_run(run.run_id)

    def points_of(self, run: KnownRun) -> set[Point]:
        """The points that a run holds."""
        if run.points is None:
            names = self.client.get_run(run.run_id).data.metrics
            run.points = {
                (name, point.value, point.timestamp, point.step)
                for name in names
                for point in self.client.get_metric_history(run.run_id, name)
            }
        return run.points

    def fill(
        self,
        run: KnownRun,
        params: Mapping[str, str],
        points: Iterable[Point],
        tags: Mapping[str, str],
        of_models: Mapping[str, OfModel] = NOBODY,
    ) -> None:
        """Params, points and tags that a run does not have yet, in as few requests as MLflow's
        limits admit. `of_models` says by name of which models metrics are.
        """
        held = run.points or set()
        new = [point for point in dict.fromkeys(points) if point not in held]
        pairs = [Param(name, value) for name, value in params.items()]
        changed = [RunTag(k, v) for k, v in tags.items() if run.tags.get(k) != v]
        metrics = []
        for point in new:
            about = (*of_models[point[0]], run.run_id) if point[0] in of_models else ()
            metrics.append(Metric(*point, *about))
        for start in range(PARAMS_AT_ONCE, len(pairs), PARAMS_AT_ONCE):
            self.client.log_batch(run.run_id, params=pairs[start : start + PARAMS_AT_ONCE])
        for start in range(METRICS_AT_ONCE, len(metrics), METRICS_AT_ONCE):
            self.client.log_batch(run.run_id, metrics=metrics[start : start + METRICS_AT_ONCE])
        first, pairs = metrics[:METRICS_AT_ONCE], pairs[:PARAMS_AT_ONCE]
        if first or pairs or changed:
            self.client.log_batch(run.run_id, metrics=first, params=pairs, tags=changed)
        run.tags.update(tags)
        run.params.update(params)
        run.metrics = run.metrics.union(point[0] for point in new)
        if run.points is not None:
            run.points.update(new)

    def put_files(self, run: KnownRun, files: Mapping[str, bytes]) -> None:
        """Artifacts by their paths within the run."""
        if not files:
            return
        # What `client.log_artifacts` does after it has asked for the run once more.
        with tempfile.TemporaryDirectory() as folder:
            put_files(Path(folder), files)
            with of_artifacts():
                self._place(run).log_artifacts(folder)

    def remove_files(self, run: KnownRun, folder: str, kept: Container[str]) -> None:
        """Remove the files of a folder of artifacts but for those whose path, without its endings,
        is one of `kept`.
        """
        with of_artifacts():
            place = self._place(run)
            for file in place.list_artifacts(folder):
                path = file.path.rpartition(".")[0].removesuffix("+compressed")
                if path not in kept:
                    place.delete_artifacts(file.path)

    def _place(self, run: KnownRun) -> Any:
        """Where a run's artifacts lie."""
        return get_artifact_repository(run.artifacts, tracking_uri=self.client.tracking_uri)

    def end(self, run: KnownRun, status: str, ended: int | None) -> None:
        """Give a run its last status, and when it ended in milliseconds since 1970 (None: now)."""
        self.client.set_terminated(run.run_id, status, end_time=ended)
        run.status = status

    def move(self, run: KnownRun, name: str, parent: str | None) -> None:
        """Give a run the name and the place that it has today (None: at the top): a sweep that
        grows an axis calls all of its cells otherwise.
        """
        if run.tags.get("mlflow.runName") != name:
            self.client.update_run(run.run_id, name=name)
            run.tags["mlflow.runName"] = name
        if parent is not None and run.tags.get("mlflow.parentRunId") != parent:
            self.client.set_tag(run.run_id, "mlflow.parentRunId", parent)
            run.tags["mlflow.parentRunId"] = parent

    def reopen(self, run: KnownRun) -> None:
        """Say of a run that it goes on."""
        if run.status != "RUNNING":
            self.client.update_run(run.run_id, status="RUNNING")
            run.status = "RUNNING"


def pages(fetch: Callable[[str | None], Any]) -> Iterator[Any]:
    """All entries of a search, page after page."""
    token: str | None = None
    while True:
        page = fetch(token)
        yield from page
        token = page.token
        if not token:
            return
