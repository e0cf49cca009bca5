"""Settings as MLflow is to have them, from the records of their finished trials: by the code that
makes tables of results, so that every number is the one that they show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from orchestrator.analysis.estimates import Estimate
from orchestrator.analysis.groups import Column, Group, columns_of
from orchestrator.parts.matrix import Matrix
from orchestrator.spec.canonical import digest
from orchestrator.spec.task import Task
from orchestrator.tracking.finished_run import costs_of
from orchestrator.tracking.names import fit_name

if TYPE_CHECKING:
    from orchestrator.parts.result import Result
    from orchestrator.spec.trial import Trial
    from orchestrator.store.records import Record
    from orchestrator.store.store import Store
    from orchestrator.tracking.manifest import Manifest, SettingEntry

INTERVAL, COUNT = ".ci95", ".n"
"""What stands behind a metric's name for the half-width of its 95 % interval and its own n."""


class _Metric(NamedTuple):
    name: str
    of_targets: bool


class _Method(NamedTuple):
    metrics: Sequence[_Metric]


@dataclass(frozen=True)
class _Trial:
    """What a mean has to know of a trial; its method need not be imported for it."""

    method: _Method
    tasks: Sequence[Task]
    seed: int | None


@dataclass(frozen=True)
class _Result:
    """What a mean has to know of a result; nothing is read before it is asked for."""

    store: Store
    record: Mapping[str, Any]

    @property
    def key(self) -> str:
        return str(self.record["key"])

    @property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        return cast(Sequence[Mapping[str, Any]], self.record["metrics"])

    def matrix(self, name: str) -> Matrix:
        blob = next(one["blob"] for one in self.record["matrices"] if one["name"] == name)
        return Matrix.from_parquet(self.store.blob(blob, of=self.key))


@dataclass(frozen=True)
class SettingState:
    """How a setting stands: its `metrics`, what identifies this state, when its trials began and
    the last of them ended in milliseconds since 1970, and whether all have ended.
    """

    metrics: Mapping[str, float]
    digest: str
    began: int
    ended: int
    is_whole: bool


@dataclass(frozen=True)
class Shown:
    """What views show: the axes of the settings; the headline metrics and whether a higher value is
    better; all metrics that settings have; the headline matrix (blank where there is none), and the
    series of its pictures in the sweep's run.
    """

    axes: Sequence[str]
    headline: Mapping[str, bool]
    metrics: Sequence[str]
    matrix: str = ""
    series: Sequence[str] = ()


class SettingMeans:
    """The settings of a sweep, as far as their trials have ended."""

    def __init__(self, manifest: Manifest, store: Store) -> None:
        self._store, self._methods, self._axes = store, manifest["methods"], manifest["axes"]
        self.entries: dict[str, SettingEntry] = {e["id"]: e for e in manifest["settings"]}
        self._of_key: dict[str, list[str]] = {}
        for identity, entry in self.entries.items():
            for key in entry["seeds"]:
                self._of_key.setdefault(key, []).append(identity)
        self._trials: dict[str, _Trial] = {}  # by key
        self._results: dict[str, _Result] = {}
        self._digests: dict[str, str] = {}
        self._groups: dict[str, Group] = {}  # of the settings that have not changed since

    def add(self, record: Record) -> list[str]:
        """A trial has ended: the settings that change by it."""
        key = record["key"]
        changed = self._of_key.get(key, [])
        if not changed or self._digests.get(key) == record.digest:
            return []
        self._digests[key] = record.digest
        # Curves and provenance are most of a record, and no matter of means.
        names = ("key", "outcome", "metrics", "matrices", "needs", "timings", "memory")
        kept = {name: record[name] for name in names if name in record}
        self._results[key] = _Result(self._store, kept)
        tasks = [Task.from_json(task) for task in record["trial"]["tasks"]]
        for identity in changed:
            entry = self.entries[identity]
            self._trials[key] = _Trial(self._method(entry["method"]), tasks, entry["seeds"][key])
            self._groups.pop(identity, None)
        return changed

    def _method(self, name: str) -> _Method:
        declared = self._methods[name]
        return _Method([_Metric(one, one in declared["of_targets"]) for one in declared["metrics"]])

    def ended(self, identity: str) -> list[str]:
        """Keys of a setting's trials that have ended, in the order of the sweep."""
        return [key for key in self.entries[identity]["seeds"] if key in self._results]

    def is_whole(self, identity: str) -> bool:
        """Whether all of a setting's trials have ended."""
        return len(self.ended(identity)) == len(self.entries[identity]["seeds"])

    def matrices(self, identity: str) -> list[str]:
        """Names of the matrices that a setting's method declares, the headline first."""
        return self._methods[self.entries[identity]["method"]]["matrices"]

    def group(self, identity: str) -> Group:
        """The setting as tables of results have it."""
        if identity not in self._groups:
            entry, ended = self.entries[identity], self.ended(identity)
            states = {key: "open" for key in entry["seeds"]}
            states.update({key: str(self._results[key].record["outcome"]) for key in ended})
            done = [self._results[key] for key in ended if states[key] == "done"]
            needs = {need["key"] for one in done for need in one.record["needs"].values()}
            # By what it asks of them, these are trials and results.
            trials = cast("Mapping[str, Trial]", {key: self._trials[key] for key in ended})
            results = cast("tuple[Result, ...]", tuple(done))
            self._groups[identity] = Group({}, trials, states, results, len(needs), {})
        return self._groups[identity]

    def columns(self) -> dict[str, list[Column]]:
        """By metric the columns that tables of the whole sweep show it in."""
        groups = [self.group(identity) for identity in self.entries if self.ended(identity)]
        names = dict.fromkeys(n for one in self._methods.values() for n in one["metrics"])
        return {name: columns_of(name, groups) for name in names}

    def shown(self) -> Shown:
        """What is worth a look, by what is known so far."""
        columns = self.columns()
        headline: dict[str, bool] = {}
        for declared in self._methods.values():
            for name, is_higher_better in declared["headline"].items():
                # Before there are results, by its name alone.
                for one in columns[name] or [Column(name)]:
                    headline.setdefault(column_name(one), is_higher_better)
        metrics = [column_name(one) for those in columns.values() for one in those]
        matrix = next((one["matrices"][0] for one in self._methods.values() if one["matrices"]), "")
        series = [
            entry["series"]
            for identity, entry in self.entries.items()
            if matrix in self.matrices(identity)
        ]
        return Shown(self._axes, headline, metrics, matrix, list(dict.fromkeys(series)))

    def state(self, identity: str, columns: Mapping[str, Sequence[Column]]) -> SettingState:
        """How a setting of which some trial has ended stands."""
        group, ended = self.group(identity), self.ended(identity)
        records = [self._results[key].record for key in ended]
        metrics = {
            "n": float(group.n),
            "planned": float(group.num_planned),
            "diverged": float(group.counts.get("diverged", 0)),
            "infeasible": float(group.counts.get("infeasible", 0)),
        }
        metrics.update(_mean_costs(records))
        for column in (column for those in columns.values() for column in those):
            metrics.update(_of_column(column, group.value(column)))
        state = digest([[key, self._digests[key]] for key in ended] + [sorted(metrics)])
        return SettingState(
            metrics=metrics,
            digest=state,
            began=int(min(one["timings"]["began"] for one in records) * 1000),
            ended=int(max(one["timings"]["ended"] for one in records) * 1000),
            is_whole=self.is_whole(identity),
        )


def column_name(column: Column) -> str:
    """A column's name as a metric: as that of a cell, `accuracy/a` of one label."""
    return fit_name("/".join([column.metric, *(value for _, value in column.label or ())]))


def _of_column(column: Column, value: Estimate) -> Iterator[tuple[str, float]]:
    if not value.n:
        return
    name = column_name(column)
    yield name, value.mean
    # A single seed has no interval.
    if value.n > 1:
        yield name + INTERVAL, value.half
    yield name + COUNT, float(value.n)


def _mean_costs(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds and memory a trial, over those that have ended, however they did."""
    found: dict[str, list[float]] = {}
    for record in records:
        for name, value in costs_of(record):
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}
