"""What every method must keep to, as tests to inherit.

Needs pytest, torch and scikit-learn; neither Ray nor MLflow.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import linecache
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
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
    """A trial that takes seconds: the method's smoke settings on 80 digits a task.

    The classes of two tasks overlap by three of five.
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
def killed_at_line(method: Method, line: int | None) -> Iterator[list[int]]:
    """Raise `Killed` when `train` is about to execute its `line`-th line, counted from 0.

    Lines are counted as they are executed, so that a loop passes the same one many times. Without
    a number nothing is killed. Yields the list of the lines passed so far.
    """
    # Only lines of `train` itself: what it calls is covered by the kills after epochs.
    code = inspect.unwrap(type(method).train).__code__
    passed: list[int] = []

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            if len(passed) == line:
                raise Killed
            passed.append(frame.f_lineno)
        return local

    before = sys.gettrace()  # a debugger's, or that of a coverage tool
    sys.settrace(lambda frame, event, arg: local if frame.f_code is code else None)
    try:
        yield passed
    finally:
        sys.settrace(before)
        # A real kill leaves no process in which a `with torch.no_grad()` could have stayed open.
        torch.set_grad_enabled(True)


def statements_of(method: type[Method]) -> dict[int, int]:
    """For each line of the file that `train` is in: the line where its statement begins.

    A line that belongs to several statements, one inside another, counts as the innermost. Empty
    where there is no source: then every line is a statement of its own.
    """
    file = inspect.unwrap(method.train).__code__.co_filename
    tree = ast.parse("".join(linecache.getlines(file)))
    begins: dict[int, int] = {}
    for node in ast.walk(tree):  # outer statements come before what they hold
        if isinstance(node, ast.stmt):
            end = node.end_lineno or node.lineno
            begins.update(dict.fromkeys(range(node.lineno, end + 1), node.lineno))
    return begins


def places_to_kill(passed: Sequence[int], begins: Mapping[int, int]) -> list[int]:
    """Before the first and before the last execution of every statement.

    `passed` are lines in the order in which they were executed; the answer are indices into it.
    """
    entered: dict[int, list[int]] = {}
    previous = None
    for index, line in enumerate(passed):
        statement = begins.get(line, line)
        if statement != previous:  # a statement of several lines is entered once
            entered.setdefault(statement, []).append(index)
        previous = statement
    return sorted({index for indices in entered.values() for index in (indices[0], indices[-1])})


@dataclasses.dataclass(frozen=True)
class Reference:
    """A trial that ran without being stopped, for all tests of its method to compare with."""

    trial: Trial
    found: Mapping[str, Any]  # its fingerprint
    passed: Sequence[int]  # the lines of `train`, as they were executed
    epochs: Sequence[tuple[str, int]]  # stage and number of every epoch of its fits
    needs: Path  # a store in which its needs are done and it is not

    def fresh_store(self, folder: Path) -> Store:
        """A copy of the store with the needs; each run gets one of its own."""
        shutil.copytree(self.needs, folder)
        return Store(folder)


def _reference(trial: Trial, folder: Path) -> Reference:
    store = Store(folder / "needs")
    resolved = resolve(trial, store)
    assert resolved.problems() == []
    run_with_needs(resolved, store, device="cpu")
    store.prepare()
    shutil.copytree(folder / "needs", folder / "never-stopped")
    finished = Store(folder / "never-stopped")
    epochs: list[tuple[str, int]] = []

    def note(moment: Moment) -> None:
        epochs.append((moment.stage, moment.epoch))

    with killed_at_line(resolved.method, None) as passed:
        outcome = execute(resolved, finished, device="cpu", on_epoch=note)
    assert outcome.is_result, outcome.traceback
    return Reference(
        resolved, _found(resolved, finished), tuple(passed), tuple(epochs), folder / "needs"
    )


def _found(trial: Trial, store: Store) -> dict[str, Any]:
    record = store.find(trial.key)
    assert record is not None
    return fingerprint(record)


_REFERENCES: dict[tuple[type[Method], str], Reference] = {}


class MethodContract:
    """Inherit and give a fixture `trial` (see `smoke_trial`)."""

    @pytest.fixture
    def reference(self, trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> Reference:
        """What a run of the trial leaves that was never stopped; made once for all tests."""
        folder = tmp_path_factory.mktemp("reference")
        resolved = resolve(trial, Store(folder / "planned"))
        name = type(resolved.method), resolved.key
        # Not the fixture's scope: the fixture `trial` is a function's, as authors write it.
        if name not in _REFERENCES:
            _REFERENCES[name] = _reference(trial, folder)
        return _REFERENCES[name]

    def test_what_is_declared_is_left(self, reference: Reference) -> None:
        method = reference.trial.method
        assert reference.found["outcome"] == "done"
        for part in ("metrics", "components", "matrices"):
            declared = getattr(method, part)
            names = {entry["name"] for entry in reference.found[part]}
            # The fingerprint compares bits, so it has no timings.
            compared = [d for d in declared if not getattr(d, "timing", False)]
            required = {d.name for d in compared if not d.optional}
            assert required <= names <= {d.name for d in declared}

    def test_same_seed_same_bits(self, reference: Reference, trial: Trial, tmp_path: Path) -> None:
        assert _reference(trial, tmp_path).found == reference.found

    def test_another_seed_is_another_trial(self, trial: Trial, tmp_path: Path) -> None:
        resolved = resolve(trial, Store(tmp_path))
        other = resolved.replace(seed=(trial.seed or 0) + 5)
        assert (other.key != resolved.key) == ("seed" in trial.method.uses)

    def test_killed_before_any_statement_it_ends_with_the_same_bits(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        """Before the first and the last execution of each: a loop over fits has a middle, too."""
        trial = reference.trial
        places = places_to_kill(reference.passed, statements_of(type(trial.method)))
        assert places, "train has no statement"
        for place in places:
            store = reference.fresh_store(tmp_path / f"line{place}")
            scratch = tmp_path / f"scratch{place}"
            where = (
                f"killed before line {reference.passed[place]} of {type(trial.method).__module__}"
            )
            with pytest.raises(Killed), killed_at_line(trial.method, place):
                execute(trial, store, scratch=scratch, device="cpu", checkpoint_every=0)
            assert store.find(trial.key) is None
            outcome = execute(trial, store, scratch=scratch, device="cpu", checkpoint_every=0)
            assert outcome.is_result, f"{where}\n{outcome.traceback}"
            assert _found(trial, store) == reference.found, where

    def test_killed_after_any_epoch_it_ends_with_the_same_bits(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        trial = reference.trial
        for number, last in enumerate(reference.epochs):
            store = reference.fresh_store(tmp_path / f"epoch{number}")
            scratch = tmp_path / f"epoch-scratch{number}"

            # Bound now: the loop goes on before it is called.
            def stop(moment: Moment, last: tuple[str, int] = last) -> None:
                if (moment.stage, moment.epoch) == last:
                    raise Killed

            with pytest.raises(Killed):
                execute(
                    trial, store, scratch=scratch, device="cpu", checkpoint_every=0, on_epoch=stop
                )
            execute(trial, store, scratch=scratch, device="cpu", checkpoint_every=0)
            assert _found(trial, store) == reference.found, f"killed in epoch {last}"

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
