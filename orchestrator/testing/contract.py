"""What every method must keep to, as tests to inherit. Needs pytest, torch and scikit-learn;
neither Ray nor MLflow.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from orchestrator.data.resolve import resolve
from orchestrator.spec.canonical import coerce
from orchestrator.spec.datasets import digits
from orchestrator.spec.method import Method, canonical_method
from orchestrator.spec.settings import settings_default, settings_of
from orchestrator.spec.trial import NetworkSpec, Trial
from orchestrator.store.content import content
from orchestrator.store.store import Store
from orchestrator.training.execute import execute, run_with_needs
from orchestrator.training.stage import Moment


def smoke_trial(
    method: type[Method], *, network: NetworkSpec | None = None, seed: int = 0
) -> Trial:
    """A trial that takes seconds: the method's smoke settings on 80 digits a task, classes
    overlapping by three of five.
    """
    roles = method.tasks
    count = max(roles.at_least, 2 if roles.more else len(roles.names))
    tasks = tuple(
        digits.classes(0, 1, 2, 3 + 2 * i, 4 + 2 * i).images(i, of=count, limit=80).named(name)
        for i, name in enumerate("abcd"[:count])
    )
    return Trial(method=method.smoke(), network=network, tasks=tasks, seed=seed)


def fingerprint(record: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of a record that must not depend on when, where and in how many tries a trial
    ran: its findings, and how its fits went.
    """
    fits = record["timings"]["fits"]
    return {
        **content(record),
        "frozen": record["frozen"],
        "curves": [(name, step, value) for name, step, value, _ in record["curves"]],
        "fits": {stage: (fit["steps"], fit["images"]) for stage, fit in fits.items()},
    }


class Killed(BaseException):
    """Stands for the end of the process; nothing in the product catches it."""


@contextmanager
def killed_at_line(method: Method, line: int) -> Iterator[list[int]]:
    """Raise `Killed` when `train` is about to execute its `line`-th line (0-based, as executed).
    Yields the lines passed so far.
    """
    code = inspect.unwrap(type(method).train).__code__
    passed: list[int] = []

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            if len(passed) == line:
                raise Killed
            passed.append(frame.f_lineno)
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: local if frame.f_code is code else None)
    try:
        yield passed
    finally:
        sys.settrace(before)
        torch.set_grad_enabled(
            True
        )  # a real kill leaves no process in which a `with torch.no_grad()` could have stayed open


class MethodContract:
    """Inherit and give a fixture `trial` (see `smoke_trial`)."""

    def _reference(self, trial: Trial, folder: Path) -> tuple[Trial, Store, dict[str, Any]]:
        """The resolved trial, a store in which its needs are done, and the fingerprint of a run
        that was never stopped.
        """
        store = Store(folder / "store")
        resolved = resolve(trial, store)
        assert resolved.problems() == []
        run_with_needs(resolved, store, device="cpu")
        outcome = execute(resolved, store, device="cpu")
        assert outcome.is_result, outcome.traceback
        return resolved, store, self._found(resolved, store)

    @staticmethod
    def _found(trial: Trial, store: Store) -> dict[str, Any]:
        record = store.find(trial.key)
        assert record is not None
        return fingerprint(record)

    @staticmethod
    def _without(trial: Trial, store: Store, folder: Path) -> Store:
        """A store with the needs of a trial and without its own result."""
        copy = Store(folder)
        for key in store.finished():
            if key != trial.key and (record := store.find(key)) is not None:
                for part in (*record["components"], *record["matrices"]):
                    copy.put_blob(store.blob(part["blob"]))
                copy.commit(record)
        for task in trial.tasks:
            if (data := store.data(task.data)) is not None:
                copy.put_data(data)
        return copy

    def test_what_is_declared_is_left(self, trial: Trial, tmp_path: Path) -> None:
        resolved, _, found = self._reference(trial, tmp_path)
        method = resolved.method
        assert found["outcome"] == "done"
        for part, declared in (
            ("metrics", method.metrics),
            ("components", method.components),
            ("matrices", method.matrices),
        ):
            names = {entry["name"] for entry in found[part]}
            assert names <= {d.name for d in declared}
            assert names >= {
                d.name for d in declared if not d.optional and not getattr(d, "timing", False)
            }

    def test_same_seed_same_bits(self, trial: Trial, tmp_path: Path) -> None:
        _, _, first = self._reference(trial, tmp_path / "first")
        _, _, second = self._reference(trial, tmp_path / "second")
        assert first == second

    def test_another_seed_is_another_trial(self, trial: Trial, tmp_path: Path) -> None:
        resolved = resolve(trial, Store(tmp_path))
        other = resolved.replace(seed=(trial.seed or 0) + 5)
        assert (other.key != resolved.key) == ("seed" in trial.method.uses)

    def test_killed_between_any_two_lines_it_ends_with_the_same_bits(
        self, trial: Trial, tmp_path: Path
    ) -> None:
        resolved, store, reference = self._reference(trial, tmp_path)
        line = 0
        while True:
            place = self._without(resolved, store, tmp_path / f"line{line}")
            scratch = tmp_path / f"scratch{line}"
            try:
                with killed_at_line(resolved.method, line) as passed:
                    execute(resolved, place, scratch=scratch, device="cpu", checkpoint_every=0)
                assert len(passed) <= line  # train came to its end before that line
                break
            except Killed:
                assert place.find(resolved.key) is None
            outcome = execute(resolved, place, scratch=scratch, device="cpu", checkpoint_every=0)
            assert outcome.is_result, outcome.traceback
            assert self._found(resolved, place) == reference, f"killed before line {line} of train"
            line += 1
        assert line > 0, "train has no line"

    def test_killed_after_any_epoch_it_ends_with_the_same_bits(
        self, trial: Trial, tmp_path: Path
    ) -> None:
        resolved, store, reference = self._reference(trial, tmp_path)
        epochs: list[tuple[str, int]] = []
        counted = self._without(resolved, store, tmp_path / "counted")
        execute(
            resolved, counted, device="cpu", on_epoch=lambda m: epochs.append((m.stage, m.epoch))
        )
        for number, last in enumerate(epochs):
            place = self._without(resolved, store, tmp_path / f"epoch{number}")
            scratch = tmp_path / f"epoch-scratch{number}"

            def stop(moment: Moment, last: tuple[str, int] = last) -> None:
                if (moment.stage, moment.epoch) == last:
                    raise Killed

            try:
                execute(
                    resolved,
                    place,
                    scratch=scratch,
                    device="cpu",
                    checkpoint_every=0,
                    on_epoch=stop,
                )
                raise AssertionError(f"epoch {last} did not come")
            except Killed:
                pass
            execute(resolved, place, scratch=scratch, device="cpu", checkpoint_every=0)
            assert self._found(resolved, place) == reference, f"killed in epoch {last}"

    def test_every_axis_changes_the_key_or_canonical_resets_it(
        self, trial: Trial, tmp_path: Path
    ) -> None:
        resolved = resolve(trial, Store(tmp_path))
        cls = type(trial.method)
        for field in dataclasses.fields(cls):
            for value in field.metadata.get("over", ()):
                wanted = coerce(value, settings_of(cls)[field.name])
                if wanted == getattr(resolved.method, field.name):
                    continue
                changed = resolved.replace(method=resolved.method.replace(**{field.name: wanted}))
                reset = getattr(changed.method, field.name) == settings_default(cls, field.name)
                assert changed.key != resolved.key or reset, (
                    f"{field.name}={value!r} changes nothing and canonical() does not say so"
                )

    def test_canonical_is_idempotent(self, trial: Trial) -> None:
        assert canonical_method(trial.method) == trial.method

    def test_needs_are_pure(self, trial: Trial, tmp_path: Path) -> None:
        resolved = resolve(trial, Store(tmp_path))
        assert dict(resolved.method.needs(resolved)) == dict(resolved.method.needs(resolved))

    def test_a_trial_survives_the_way_to_a_worker(self, trial: Trial, tmp_path: Path) -> None:
        resolved = resolve(trial, Store(tmp_path))
        again = Trial.from_json(resolved.to_json())
        assert again == resolved
        assert again.key == resolved.key

    def test_the_module_says_what_departs_from_the_paper(self, trial: Trial) -> None:
        assert "Departs from the paper:" in (
            sys.modules[type(trial.method).__module__].__doc__ or ""
        )
