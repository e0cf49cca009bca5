"""The runs of settings: at the top of their experiment, written anew as seeds come in.

A state is one request. While more may come, states are written with pauses, so that a hundred seeds
that end together are one state and not a hundred.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.tracking.finished_run import LAYOUT, Point, params_of, tags_of
from orchestrator.tracking.manifest import SWEEP
from orchestrator.tracking.setting_means import SettingMeans, SettingState, Shown
from orchestrator.tracking.setting_pictures import SettingPictures, image_path, tags_of_files

if TYPE_CHECKING:
    from orchestrator.analysis.groups import Column
    from orchestrator.store.records import Record
    from orchestrator.store.store import Store
    from orchestrator.tracking.manifest import Manifest, RunEntry
    from orchestrator.tracking.runs import KnownRun, Runs

PAUSE, LONGEST_PAUSE = 10.0, 300.0  # seconds between states, at least and at most
DRAWN_EVERY = 60.0  # seconds between pictures of settings that are not whole
SCALES = "spolia.scales"  # tag of the sweep's run: the ends of scales that are not 0 and 1
SHARE = 20  # states take at most one part in so many of the time

Columns = Mapping[str, Sequence["Column"]]
Ask = Callable[[str, Callable[[], None]], bool]
"""Has a request about a setting made, and made again where MLflow does not answer; whether MLflow
took it.
"""


class SettingRuns:
    """The runs of a sweep's settings, and what of them is still to be written."""

    def __init__(
        self, manifest: Manifest, store: Store, runs: Runs, source: Mapping[str, str]
    ) -> None:
        self._runs, self._source = runs, source
        self._means = SettingMeans(manifest, store)
        self._children: dict[str, list[RunEntry]] = {}
        for entry in manifest["runs"]:
            self._children.setdefault(entry["parent"], []).append(entry)
        self._pictures = SettingPictures(len(self._means.entries))
        self._changed: dict[str, None] = {}
        self._undrawn: dict[str, None] = {}  # whose pictures are behind their numbers
        self._not_before, self._last_drawn = 0.0, time.monotonic()
        self._has_drawn = False
        self._read_scales()

    def prepare(self, identities: Iterable[str], began: int, *, is_live: bool = False) -> None:
        """Make the runs of settings of which a trial has begun, so that it can stand below them."""
        for identity in identities:
            entry = self._means.entries.get(identity)
            if entry is None:  # a need stands below the sweep's own run
                continue
            run = self._runs.get(identity)
            if run is None:
                run = self._create(identity, began)
            if is_live:
                self._runs.reopen(run)

    def _create(self, identity: str, began: int) -> KnownRun:
        entry = self._means.entries[identity]
        tags = {"spolia.layout": LAYOUT, "spolia.role": "setting", **self._source}
        run = self._runs.create(identity, entry["name"], began, tags_of(tags))
        self._runs.fill(run, params_of(entry["params"]), [], {})
        return run

    def add(self, record: Record) -> None:
        """A trial has ended."""
        self._changed.update(dict.fromkeys(self._means.add(record)))

    def shown(self) -> Shown:
        """What views of the sweep show."""
        return self._means.shown()

    def write(self, ask: Ask, status: str | None) -> bool:
        """Write the settings that have changed: while more may come (`status` is None) not too
        often; at the end all, and those that are not whole get the status of the sweep. Whether it
        was time for it.
        """
        began = time.monotonic()
        if status is None and (not self._changed or began < self._not_before):
            return False
        columns = self._means.columns()
        drawn = self._choose_drawn(ask, columns, status)
        for identity in list(self._changed):
            state = self._means.state(identity, columns)
            if ask(identity, partial(self._write, identity, state, status, identity in drawn)):
                del self._changed[identity]
        if status is not None:
            for identity in self._means.entries:
                ask(identity, partial(self._end_if_running, identity, status))
            ask(SWEEP, self._tidy)
        now = time.monotonic()
        # At most: an MLflow that was away meanwhile has taken long, and does not any more.
        self._not_before = now + min(max(PAUSE, SHARE * (now - began)), LONGEST_PAUSE)
        return True

    def _choose_drawn(self, ask: Ask, columns: Columns, status: str | None) -> set[str]:
        """Of which settings pictures are made now: of those that are whole, and of others now and
        then. Where a scale grows by it, of all.
        """
        now, means = time.monotonic(), self._means
        if status is not None or now - self._last_drawn >= DRAWN_EVERY:
            self._changed.update(self._undrawn)
            self._last_drawn = now
            drawn = set(self._changed)
        else:
            drawn = {identity for identity in self._changed if means.is_whole(identity)}
        # Matrices are read of what MLflow does not have yet, and of nothing else.
        behind = [one for one in drawn if not self._is_level(one, means.state(one, columns))]
        grown = [self._pictures.widen(means.group(one), means.matrices(one)) for one in behind]
        if any(grown):
            ask(SWEEP, self._write_scales)
            drawn = {one for one in means.entries if means.ended(one)}
            self._changed.update(dict.fromkeys(drawn))
        self._undrawn.update(dict.fromkeys(self._changed.keys() - drawn))
        for identity in drawn:
            self._undrawn.pop(identity, None)
        return drawn

    def _is_level(self, identity: str, state: SettingState) -> bool:
        """Whether MLflow has a state with its pictures."""
        run = self._runs.get(identity)
        return run is not None and run.tags.get("spolia.result") == self._result(identity, state)

    def _result(self, identity: str, state: SettingState) -> str:
        entry, names = self._means.entries[identity], self._means.matrices(identity)
        sweep = self._runs.get(SWEEP)
        place = sweep.run_id if sweep else ""
        return f"{state.digest} {self._pictures.marks(entry, names, place)}"

    def _read_scales(self) -> None:
        """The colour scales that this sweep's pictures have had so far."""
        sweep = self._runs.get(SWEEP)
        told = sweep.tags.get(SCALES, "{}") if sweep else "{}"
        self._pictures.scales = {name: tuple(ends) for name, ends in json.loads(told).items()}

    def _write_scales(self) -> None:
        sweep = self._runs.get(SWEEP)
        assert sweep is not None, "the sweep's own run is made first"
        scales = {k: v for k, v in self._pictures.scales.items() if v != (0.0, 1.0)}
        self._runs.fill(sweep, {}, [], tags_of({SCALES: json.dumps(scales)}))

    def _write(self, identity: str, state: SettingState, status: str | None, drawn: bool) -> None:
        run = self._runs.get(identity)
        entry = self._means.entries[identity]
        params = params_of(entry["params"])
        # What a run has cannot be taken out of it; a sweep that grows may call a value otherwise.
        if run is None or run.metrics - state.metrics.keys() or run.contradicts(params):
            run = self._replace(identity, state.began)
        self._runs.move(run, entry["name"], None)
        result = self._result(identity, state) if drawn else f"{state.digest} not drawn"
        # Pictures that are there stay: a state that was drawn is not undone by one that was not.
        is_new = run.tags.get("spolia.result") != result and not self._is_level(identity, state)
        if is_new:
            tags = self._draw(identity, run) if drawn else {}
            self._fill(run, params, state, {**tags, "spolia.result": result})
        last = "FINISHED" if state.is_whole else status
        if last is None:
            self._runs.reopen(run)
        elif is_new or run.status != last:
            self._runs.end(run, last, state.ended)

    def _fill(
        self,
        run: KnownRun,
        params: Mapping[str, str],
        state: SettingState,
        tags: Mapping[str, str],
    ) -> None:
        before = run.tags.get("spolia.result", "")
        new = {name: value for name, value in params.items() if name not in run.params}
        when = int(run.tags.get("spolia.try", 0))
        points: list[Point] = []
        # Not where only its pictures are new.
        if before.partition(" ")[0] != state.digest:
            # Of equal steps the latest counts, whatever came in which order.
            when = max(state.ended, when + 1)
            points = [(name, value, when, 0) for name, value in state.metrics.items()]
        self._runs.fill(run, new, points, {**tags, "spolia.try": str(when)})

    def _draw(self, identity: str, run: KnownRun) -> dict[str, str]:
        """Put the pictures of a setting into its run and into that of the sweep; what the tags of
        its own say of them.
        """
        sweep = self._runs.get(SWEEP)
        assert sweep is not None, "the sweep's own run is made first"
        entry, names = self._means.entries[identity], self._means.matrices(identity)
        own, of_sweep = self._pictures.of(entry, self._means.group(identity), names)
        self._runs.put_files(run, own)
        self._runs.put_files(sweep, of_sweep)
        self._has_drawn = self._has_drawn or bool(of_sweep)
        self._runs.fill(sweep, {}, [], tags_of_files(of_sweep))
        return tags_of_files(own)

    def _tidy(self) -> None:
        """Take pictures of what is no part of the sweep any more out of its run."""
        sweep = self._runs.get(SWEEP)
        if sweep is None or not self._has_drawn:
            return
        kept = set()
        for identity, entry in self._means.entries.items():
            for _, series in self._pictures.in_sweep(entry, self._means.matrices(identity)):
                kept.add(image_path(series, entry["step"]))
        self._runs.remove_files(sweep, "images", kept)
        self._has_drawn = False

    def _replace(self, identity: str, began: int) -> KnownRun:
        run = self._create(identity, began)
        for child in self._children[identity]:
            known = self._runs.get(child["id"])
            if known is not None:
                self._runs.move(known, child["name"], run.run_id)
        return run

    def _end_if_running(self, identity: str, status: str) -> None:
        run = self._runs.get(identity)
        if run is not None and run.status == "RUNNING":
            self._runs.end(run, status, None)
