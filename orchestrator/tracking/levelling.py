"""MLflow, brought level with the store, through MLflow's client and in no other way.

One experiment a sweep name; in it the runs that the manifest lists, each below the one that it
names; those of settings are `orchestrator.tracking.setting_runs`'. Everything is derived from the
store's records, timestamps too, so writing again changes nothing: a run that is complete is
FINISHED and bears the digest of its record in the tag `spolia.result`. What a run holds that is not
of the same try at the same trial cannot be taken out of it; then another run takes its place.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from mlflow import MlflowClient

from orchestrator.store.records import Record
from orchestrator.store.store import Store
from orchestrator.tracking.databases import make_database
from orchestrator.tracking.finished_run import (
    LAYOUT,
    FinishedRun,
    Point,
    curve_points,
    finished_run,
    name_of_try,
    params_of,
    tags_of,
)
from orchestrator.tracking.manifest import SWEEP
from orchestrator.tracking.models import Models
from orchestrator.tracking.moved_homes import is_elsewhere
from orchestrator.tracking.pages import is_served, page_of, version_at
from orchestrator.tracking.patience import ERRORS, Patience, first_line, is_refusal, of_artifacts
from orchestrator.tracking.runs import KnownRun, Runs
from orchestrator.tracking.setting_runs import SettingRuns
from orchestrator.tracking.views import is_known, views

if TYPE_CHECKING:
    from orchestrator.tracking.manifest import Manifest, RunEntry

LIVE_EVERY = 10.0  # seconds between looks at a trial under way
STILL = 120.0  # seconds after which a trial that leaves no progress is not under way any more
HANDS = 4  # requests to a server at once


READ_AT_ONCE = 100  # records, before helping processes begin with them


class Help(Protocol):
    """Writes runs beside us. What it leaves out is for the tracker, which has the patience."""

    def are_worth_it(self, num_trials: int) -> bool:
        """Whether so many trials are worth the start of processes."""
        ...

    def begin(self, tracker: Tracker, keys: Sequence[str]) -> None:
        """Begin to write the runs of finished trials."""
        ...

    def finish(self, tracker: Tracker) -> None:
        """Wait for what was begun, and tell the tracker of it by `have_written`."""
        ...


class Tracker:
    """Writes one sweep, whose manifest says which runs there are. `refused` says which runs MLflow
    did not take, and why; those of others are written all the same.
    """

    def __init__(self, manifest: Manifest, patience: Patience, helpers: Help | None = None) -> None:
        self.manifest, self.patience, self.helpers = manifest, patience, helpers
        self.store = Store(manifest["store"])
        self.entries: dict[str, list[RunEntry]] = {}  # by key
        for entry in manifest["runs"]:
            self.entries.setdefault(entry["key"], []).append(entry)
        self.source = {
            "mlflow.source.name": manifest["sweep"],
            "mlflow.source.type": "LOCAL",
            # Of two people with one server and one sweep name, whose it is.
            **_user(),
        }
        self.followed: dict[str, float] = {}  # trials under way, and when we last looked at them
        self.begun: set[str] = set()  # identities of runs that we write
        self.written: set[str] = set()
        self.refused: dict[str, str] = {}
        self._making = threading.Lock()  # of runs below which others stand
        self.stumbled: set[str] = set()  # keys that MLflow may take another time
        patience.ask(self._open)
        patience.is_there = self._is_there

    def _open(self) -> None:
        """Find the experiment, and what this store has in it."""
        address, identity = self.manifest["tracking"], self.manifest["identity"]
        make_database(address)
        self.client = MlflowClient(address)
        self.experiment = self._find_or_create_experiment()
        self.runs = Runs(self.client, self.experiment, identity)
        self.models = Models(self.client, self.experiment, self.store, identity)
        self.settings = SettingRuns(self.manifest, self.store, self.runs, self.source)
        self._open_sweep_run()
        self._has_views = self._write_views()

    @property
    def page(self) -> str:
        """The address at which a server shows this sweep; empty for a database, which has none."""
        address = self.manifest["tracking"]
        if not is_served(address):
            return ""
        return page_of(address, self.experiment, has_views=self._has_views)

    @property
    def sweep_run(self) -> KnownRun:
        """The sweep's own run; another one where somebody has deleted it."""
        return self._open_sweep_run()

    def _is_there(self) -> bool:
        """Whether MLflow answers."""
        try:
            self.client.get_experiment(self.experiment)
        except ERRORS:
            return False
        return True

    def _find_or_create_experiment(self) -> str:
        name = self.manifest["sweep"]
        found = self.client.get_experiment_by_name(name)
        if found is not None and self._was_moved(found):
            # MLflow has no way to say where the files of a run are now. The store has them all.
            aside = f"{name}, before its home was moved ({found.experiment_id})"
            self.client.rename_experiment(found.experiment_id, aside)
            self.client.delete_experiment(found.experiment_id)
            found = None
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

    def _was_moved(self, experiment: Any) -> bool:
        """Whether an experiment in a home's own database has its files in another home: it was
        moved since, or is a copy, and would write into the original.
        """
        tracking, artifacts = self.manifest["tracking"], self.manifest["artifacts"]
        if experiment.lifecycle_stage == "deleted" or artifacts is None:
            return False
        return is_elsewhere(experiment.artifact_location, artifacts, tracking)

    def _open_sweep_run(self) -> KnownRun:
        known = self.runs.get(SWEEP)
        if known is not None:
            return known
        tags = {
            "mlflow.note.content": self.manifest["question"],
            "spolia.role": "sweep",
            **self.source,
            **self.manifest["code"],
        }
        return self.runs.create(
            SWEEP, self.manifest["sweep"], self.manifest["began"], tags_of(tags)
        )

    def _write_views(self) -> bool:
        """What MLflow's pages show first, where they are pages that we know; whether they are."""
        self._shown = self.settings.shown()
        if not is_known(version_at(self.manifest["tracking"])):
            return False
        known = self.client.get_experiment(self.experiment).tags
        when = self.manifest["began"]
        for name, value in views(self._shown, when).items():
            if known.get(name) != value:
                self.client.set_experiment_tag(self.experiment, name, value)
        return True

    # ------------------------------------------------------------------ one run

    def _run_for(
        self, entry: RunEntry, began: int, tags: Mapping[str, str], points: Sequence[Point]
    ) -> KnownRun:
        """The run that is to hold these points: the one that is there if it belongs to the same try
        and holds nothing else, otherwise a new one in its place.
        """
        known = self.runs.get(entry["id"])
        if known is None or not self._is_of(known, tags, points):
            return self._create(entry, began, tags)
        # A sweep that has grown since may call a value otherwise.
        is_other = known.contradicts(params_of(entry["params"]))
        return self._create(entry, began, tags) if is_other else known

    def _create(self, entry: RunEntry, began: int, tags: Mapping[str, str]) -> KnownRun:
        parent = self.parent_of(entry, began)
        nested = {"mlflow.parentRunId": parent.run_id, **self.source, **tags}
        return self.runs.create(entry["id"], entry["name"], began, nested)

    def parent_of(self, entry: RunEntry, began: int) -> KnownRun:
        """The run below which another one that began then stands; made anew where somebody has
        deleted it.
        """
        with self._making:
            if entry["parent"] == SWEEP:
                return self.sweep_run
            self.settings.prepare([entry["parent"]], began)
        known = self.runs.get(entry["parent"])
        assert known is not None, "it was made just now"
        return known

    def _is_of(self, known: KnownRun, tags: Mapping[str, str], points: Sequence[Point]) -> bool:
        """Whether a run is the beginning of one with these tags and points."""
        if known.tags.get("spolia.try") != tags["spolia.try"] or "spolia.failed" in known.tags:
            return False
        if known.tags.get("spolia.layout") != LAYOUT:  # it may have params that are none any more
            return False
        if known.tags.get("spolia.result", "") not in ("", tags.get("spolia.result")):
            return False
        # A try that went on from a checkpoint does some epochs again, at other times.
        return self.runs.points_of(known) <= set(points)

    def _ask(self, key: str, write: Callable[[str], None]) -> None:
        """Write the runs of a trial, as often as it takes. One that MLflow refuses is noted."""

        def look_again() -> None:
            for entry in self.entries.get(key, []):
                self.runs.look_again(entry["id"])
                if entry["parent"] != SWEEP:
                    self.runs.look_again(entry["parent"])
            self.models.look_again(key)

        try:
            self.patience.ask(lambda: write(key), look_again)
            self.refused.pop(key, None)
        except ERRORS as error:
            self._note_refusal(key, error)
            if not is_refusal(error):
                self.stumbled.add(key)

    def _note_refusal(self, what: str, error: BaseException) -> None:
        """Note that MLflow did not take something. Raises the error where MLflow is away."""
        if not is_refusal(error) and not self._is_there():
            raise error
        self.refused[what] = f"{type(error).__name__}: {first_line(error)}"

    # ------------------------------------------------------------------ trials under way

    def follow(self, key: str) -> None:
        """A trial has begun: its curves appear while it runs."""
        if not self.followed:
            self._ask_of_sweep(lambda: self.runs.reopen(self.sweep_run))
        self.followed[key] = time.monotonic()

    def write_live(self) -> None:
        """The curves of trials under way, as far as they have left them in the store; each trial
        every `LIVE_EVERY` seconds.
        """
        for key, last in list(self.followed.items()):
            if time.monotonic() - last >= LIVE_EVERY:
                self.followed[key] = time.monotonic()
                self._ask(key, self._write_progress)

    def _write_progress(self, key: str) -> None:
        """Running runs with the curves so far."""
        progress = self.store.progress(key)
        if progress is None:
            return
        points, began = list(curve_points(progress["curves"])), int(progress["began"] * 1000)
        self._prepare(key, began, is_live=True)
        for entry in self.entries.get(key, []):
            run = self._run_for(entry, began, _tags(entry, name_of_try(progress["began"])), points)
            self.runs.reopen(run)
            params = {} if run.points else params_of(entry["params"])
            self.runs.fill(run, params, points, {})

    # ------------------------------------------------------------------ finished trials

    def write(self, keys: Sequence[str]) -> None:
        """Write all runs of finished trials. Those that are there already stay."""
        keys = list(dict.fromkeys(keys))
        # A database in this process computes, and gains nothing by several threads.
        is_database = self.manifest["tracking"].startswith("sqlite:")
        helpers = self.helpers if is_database else None
        if helpers is not None and not helpers.are_worth_it(len(keys)):
            helpers = None
        records: dict[str, Record] = {}
        for start in range(0, len(keys), READ_AT_ONCE):
            found = self._read(keys[start : start + READ_AT_ONCE])
            records.update(found)
            if helpers is not None:
                helpers.begin(self, self._alone_and_unwritten(found))
        if helpers is not None:
            helpers.finish(self)
        with ThreadPoolExecutor(1 if is_database else HANDS) as pool:
            write = partial(self._write_record, records)
            for wave in waves(records):
                list(pool.map(partial(self._ask, write=write), wave))

    def _read(self, keys: Sequence[str]) -> dict[str, Record]:
        """The records of finished trials, by key. There are the runs below which theirs stand."""
        records: dict[str, Record] = {}

        def read(key: str) -> None:
            if (record := self.store.find(key)) is not None:
                self._prepare(key, int(record["timings"]["began"] * 1000))
                self.settings.add(record)
                records[key] = record

        for key in keys:
            self.followed.pop(key, None)
            self._ask(key, read)
        return records

    def _alone_and_unwritten(self, records: Mapping[str, Record]) -> list[str]:
        """Of these the keys whose runs name no others, and are still to be written."""
        alone = [key for key, one in records.items() if not (one["components"] or one["needs"])]
        return [key for key in alone if not self._are_written(records[key])]

    def _prepare(self, key: str, began: int, *, is_live: bool = False) -> None:
        """There are the runs below which those of a trial stand."""
        parents = [entry["parent"] for entry in self.entries.get(key, [])]
        self.settings.prepare(parents, began, is_live=is_live)

    def write_settings(self, status: str | None = None) -> None:
        """Write the settings that trials have changed, not too often; with a `status`, that of the
        sweep, all of them, since nothing more will come.
        """

        def ask(identity: str, request: Callable[[], None]) -> bool:
            def look_again() -> None:
                self.runs.look_again(identity)
                # Pictures go into the sweep's run, too, which somebody may have deleted.
                self.runs.look_again(SWEEP)
                self._open_sweep_run()

            try:
                self.patience.ask(request, look_again)
            except ERRORS as error:
                self._note_refusal(identity, error)
                return False
            self.refused.pop(identity, None)
            return True

        was_time = self.settings.write(ask, status)
        # The names of columns are known when there are results.
        if was_time and self.settings.shown() != self._shown:
            self.patience.ask(self._write_views)

    def known_of(self, keys: Sequence[str]) -> dict[str, KnownRun]:
        """What is known of the runs of some trials."""
        entries = [entry for key in keys for entry in self.entries.get(key, [])]
        return self.runs.known([*(e["id"] for e in entries), *(e["parent"] for e in entries)])

    def have_written(self, runs: Mapping[str, KnownRun]) -> None:
        """Another process has written these runs for us."""
        self.runs.know(runs)
        self.written |= runs.keys()

    def _are_written(self, record: Record) -> bool:
        return all(self._is_written(e, record) for e in self.entries.get(record["key"], []))

    def _write_record(self, records: Mapping[str, Record], key: str) -> None:
        record = records[key]
        for entry in self.entries.get(key, []):
            if not self._is_written(entry, record):
                self.begun.add(entry["id"])
                self._write_run(entry, finished_run(entry, record, self.store), record)
            else:
                self._move(entry)
            # One whose last request was heard, and not answered, was written by us, too.
            if entry["id"] in self.begun:
                self.written.add(entry["id"])

    def _move(self, entry: RunEntry) -> None:
        """A run that is whole stands where it is to stand today."""
        known = self.runs.get(entry["id"])
        assert known is not None
        parent = self.parent_of(entry, self.manifest["began"])
        self.runs.move(known, entry["name"], parent.run_id)

    def _is_written(self, entry: RunEntry, record: Record) -> bool:
        known = self.runs.get(entry["id"])
        if known is None or not known.is_written:
            return False
        return known.tags["spolia.result"] == record.digest

    def _write_run(self, entry: RunEntry, finished: FinishedRun, record: Record) -> None:
        """Make, fill and end a run: what has not come to its end is written again."""
        run = self._run_for(entry, finished.began, finished.tags, finished.points)
        self.runs.put_files(run, finished.files)
        of_models = self.models.write(run.run_id, record, finished)
        self.runs.fill(run, finished.params, finished.points, finished.tags, of_models)
        self.runs.end(run, "FINISHED", finished.ended)
        run.points = None  # not looked at any more

    # ------------------------------------------------------------------ failures, and the end

    def write_failure(self, key: str) -> None:
        """A trial that failed stands as a failed run until it is run again with success."""
        self.followed.pop(key, None)
        self._ask(key, self._write_failure)

    def _write_failure(self, key: str) -> None:
        failure = self.store.failure(key)
        if failure is None:
            return
        when = float(failure["time"])
        reason, traceback = str(failure["reason"]), str(failure["traceback"])
        self._prepare(key, int(when * 1000))
        for entry in self.entries.get(key, []):
            known = self.runs.get(entry["id"])
            # A result that was to be replaced stands, and so does its run.
            if known is not None and (known.is_result or _is_failure(known, when, "FAILED")):
                self._move(entry)
                continue
            params = params_of(entry["params"])
            is_ours = known is not None and _is_failure(known, when, "RUNNING")
            if known is None or not is_ours or known.contradicts(params):
                known = self._create(
                    entry, int(when * 1000), _tags(entry, f"failed at {name_of_try(when)}")
                )
            self.runs.put_files(known, {"traceback.txt": (traceback or reason).encode()})
            reasons = {"spolia.reason": reason, "spolia.failed": name_of_try(when)}
            self.runs.fill(known, params, [], tags_of(reasons))
            self.runs.end(known, "FAILED", int(when * 1000))

    def close(self, summary: Mapping[str, Any]) -> None:
        """End the sweep's own run: `artifacts` (paths of tables and figures), `note` (Markdown),
        `counts` of outcomes, the `status` that it is to have, and when it `ended` in milliseconds.
        """

        self._write_again()
        self.write_settings(summary["status"])

        def write() -> None:
            # Whoever made them may have been stopped, and they with it.
            for path in filter(os.path.exists, summary["artifacts"]):
                with of_artifacts():
                    self.client.log_artifact(self.sweep_run.run_id, path)
            tags = {
                "mlflow.note.content": summary["note"],
                "spolia.counts": json.dumps(summary["counts"]),
            }
            self.runs.fill(self.sweep_run, {}, [], tags_of(tags))
            self.runs.end(self.sweep_run, summary["status"], summary["ended"])
            self._write_views()
            self._gather()
            self._end_what_ran()

        self._ask_of_sweep(write)

    def _write_again(self) -> None:
        """What MLflow stumbled over while it took others; a part of it may have been away."""
        again = self.stumbled & self.refused.keys()
        failed = {key for key in again if self.store.find(key) is None}
        self.write(sorted(again - failed))
        for key in sorted(failed):
            self.write_failure(key)

    def _gather(self) -> None:
        """Have runs that stand below one that somebody deleted meanwhile stand below its like."""
        for entry in self.manifest["runs"]:
            if self.runs.get(entry["id"]) is not None:
                self._move(entry)

    def abandon(self) -> None:
        """Whoever ran the sweep is gone, and has not said how it ended."""
        self.write_settings("KILLED")

        def write() -> None:
            if self.sweep_run.status == "RUNNING":
                self.runs.end(self.sweep_run, "KILLED", None)
            self._end_what_ran()

        self._ask_of_sweep(write)

    def _ask_of_sweep(self, write: Callable[[], None]) -> None:
        def look_again() -> None:
            self.runs.look_again(SWEEP)
            self._open_sweep_run()

        self.patience.ask(write, look_again)

    def _end_what_ran(self) -> None:
        """What was under way and did not come to its end must not look as if it still ran. What
        another driver runs in this store goes on.
        """
        for found in list(self.runs.search("attributes.status = 'RUNNING'")):
            run = KnownRun.of(found)
            key = run.tags.get("spolia.key", "")
            is_trial = run.tags.get("spolia.role") not in ("sweep", "setting")
            if is_trial and not self._is_under_way(key):
                self.runs.end(run, "KILLED", None)

    def _is_under_way(self, key: str) -> bool:
        """Whether somebody else runs a trial."""
        if key in self.followed:
            return False
        progress = self.store.progress(key)
        return progress is not None and time.time() - progress["time"] < STILL


def _user() -> dict[str, str]:
    """Who runs this, as the tag that MLflow shows it by; nothing where the machine has no name for
    them.
    """
    with contextlib.suppress(KeyError, OSError):
        return {"mlflow.user": getpass.getuser()}
    return {}


def _is_failure(run: KnownRun, when: float, status: str) -> bool:
    """Whether a run is that of the try that failed then, or shows what that try did while it ran,
    and has a status.
    """
    failed = run.tags.get("spolia.failed", name_of_try(when)) == name_of_try(when)
    is_of_today = run.tags.get("spolia.layout") == LAYOUT
    return failed and is_of_today and "spolia.result" not in run.tags and run.status == status


def _tags(entry: RunEntry, one_try: str) -> dict[str, str]:
    """Of a run that has no result yet."""
    return {
        "spolia.layout": LAYOUT,
        "spolia.role": entry["role"],
        "spolia.key": entry["key"],
        "spolia.try": one_try,
    }


def waves(records: Mapping[str, Record]) -> Iterator[list[str]]:
    """The keys of records, in parts: each trial in a later part than those that it needs, so that
    their models are there.
    """
    left = dict(records)
    while left:
        needs = {key: [need["key"] for need in left[key]["needs"].values()] for key in left}
        ready = [key for key in left if not any(need in left for need in needs[key])]
        yield ready
        for key in ready:
            del left[key]
