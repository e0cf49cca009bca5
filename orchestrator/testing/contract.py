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
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
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
from orchestrator.training.stage import Moment, OnEpoch


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


# A statement, by the line where it begins, and which execution of it: 1 is the first.
Place = tuple[int, int]


@contextmanager
def killed_before(method: Method, places: Collection[Place]) -> Iterator[list[Place]]:
    """Raise `Killed` when `train` is about to execute one of these statements.

    Yields the list of the statements that were begun so far, the one before which it was killed
    included.
    """
    # Only lines of `train` itself: what it calls is covered by the kills after epochs.
    code = inspect.unwrap(type(method).train).__code__
    begins = statements_of(type(method))
    passed: list[Place] = []
    times: Counter[int] = Counter()
    previous = None

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal previous
        statement = begins.get(frame.f_lineno, frame.f_lineno)
        # A statement of several lines is entered once.
        if event == "line" and statement != previous:
            previous = statement
            times[statement] += 1
            passed.append((statement, times[statement]))
            if passed[-1] in places:
                raise Killed
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


def places_to_kill(passed: Sequence[Place]) -> list[Place]:
    """Of the statements that were executed, the first and the last execution of each."""
    last = dict(passed)
    return [place for place in passed if place[1] in (1, last[place[0]])]


@dataclasses.dataclass(frozen=True)
class Reference:
    """A trial that ran without being stopped, for all tests of its method to compare with."""

    trial: Trial
    found: Mapping[str, Any]  # its fingerprint
    passed: Sequence[Place]  # the statements of `train`, as they were executed
    epochs: Sequence[tuple[str, int]]  # stage and number of every epoch of its fits
    needs: Path  # a store in which its needs are done and it is not
    device: str

    def fresh_store(self, folder: Path) -> Store:
        """A copy of the store with the needs; each run gets one of its own."""
        shutil.copytree(self.needs, folder)
        return Store(folder)


def _reference(trial: Trial, folder: Path, device: str) -> Reference:
    store = Store(folder / "needs")
    resolved = resolve(trial, store)
    assert resolved.problems() == []
    run_with_needs(resolved, store, device=device)
    store.prepare()
    shutil.copytree(folder / "needs", folder / "never-stopped")
    finished = Store(folder / "never-stopped")
    epochs: list[tuple[str, int]] = []

    def note(moment: Moment) -> None:
        epochs.append((moment.stage, moment.epoch))

    with killed_before(resolved.method, ()) as passed:
        outcome = execute(resolved, finished, device=device, on_epoch=note)
    assert outcome.is_result, outcome.traceback
    return Reference(
        resolved,
        _found(resolved, finished),
        tuple(passed),
        tuple(epochs),
        folder / "needs",
        device,
    )


def _found(trial: Trial, store: Store) -> dict[str, Any]:
    record = store.find(trial.key)
    assert record is not None
    return fingerprint(record)


class Killing:
    """A trial that is killed and started again, with its own store and scratch, until it ends."""

    def __init__(self, reference: Reference, folder: Path) -> None:
        self.reference = reference
        self.trial = reference.trial
        self.store = reference.fresh_store(folder / "store")
        self.scratch = folder / "scratch"

    def survives(self, on_epoch: OnEpoch | None = None) -> bool:
        """Run it: whether it came to its end."""
        try:
            outcome = execute(
                self.trial,
                self.store,
                scratch=self.scratch,
                device=self.reference.device,
                checkpoint_every=0,
                on_epoch=on_epoch,
            )
        except Killed:
            assert self.store.find(self.trial.key) is None
            return False
        assert outcome.is_result, outcome.traceback
        return True

    def before_each(self, places: Collection[Place]) -> set[Place]:
        """Kill it before each of these in turn; those that a run which goes on never came to."""
        left = set(places)
        ended = False
        while not ended:
            with killed_before(self.trial.method, left) as passed:
                ended = self.survives()
            if not ended:
                left.remove(passed[-1])
        return left

    def after_each(self, epochs: Collection[tuple[str, int]]) -> None:
        """Kill it after each of these epochs in turn."""
        left = set(epochs)

        def stop(moment: Moment) -> None:
            if (epoch := (moment.stage, moment.epoch)) in left:
                left.remove(epoch)
                raise Killed

        while not self.survives(stop):
            pass
        assert not left

    @property
    def found(self) -> dict[str, Any]:
        return _found(self.trial, self.store)

    def ends_as_if_never_stopped(self) -> bool:
        return self.found == self.reference.found


_REFERENCES: dict[tuple[type[Method], str, str], Reference] = {}


class MethodContract:
    """Inherit and give a fixture `trial` (see `smoke_trial`).

    With `one_by_one` the trial is run from its beginning for each kill: slow, and finds what shows
    only where one process does all the rest.
    """

    one_by_one = False

    @pytest.fixture
    def device(self, request: pytest.FixtureRequest) -> str:
        """Where trials compute: the CPU, or what `--device` says (see `orchestrator.testing.plugin`
        for the option).
        """
        return str(request.config.getoption("--device", default="cpu"))

    @pytest.fixture
    def reference(
        self, trial: Trial, device: str, tmp_path_factory: pytest.TempPathFactory
    ) -> Reference:
        """What a run of the trial leaves that was never stopped; made once for all tests."""
        folder = tmp_path_factory.mktemp("reference")
        resolved = resolve(trial, Store(folder / "planned"))
        name = type(resolved.method), resolved.key, device
        # Not the fixture's scope: the fixture `trial` is a function's, as authors write it.
        if name not in _REFERENCES:
            _REFERENCES[name] = _reference(trial, folder, device)
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

    def test_same_seed_same_bits(self, reference: Reference, tmp_path: Path) -> None:
        """Its needs are methods with a contract of their own, and are not run again."""
        again = Killing(reference, tmp_path)
        assert again.survives()
        assert again.ends_as_if_never_stopped()

    def test_another_seed_is_another_trial(self, trial: Trial, tmp_path: Path) -> None:
        resolved = resolve(trial, Store(tmp_path))
        other = resolved.replace(seed=(trial.seed or 0) + 5)
        assert (other.key != resolved.key) == ("seed" in trial.method.uses)

    def test_killed_before_any_statement_it_ends_with_the_same_bits(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        """Before the first and the last execution of each: a loop over fits has a middle, too.

        One trial is killed before each in turn. Where that goes wrong, the message names the place.
        """
        places = places_to_kill(reference.passed)
        assert places, "train has no statement"
        alone, is_equal = set(places), True
        if not self.one_by_one:
            killing = Killing(reference, tmp_path / "in-turn")
            alone = killing.before_each(places)
            is_equal = killing.ends_as_if_never_stopped()
        module = type(reference.trial.method).__module__
        for number, place in enumerate(places):
            if place in alone or not is_equal:
                killing = Killing(reference, tmp_path / f"alone{number}")
                killing.before_each([place])
                assert killing.found == reference.found, (
                    f"killed before line {place[0]} of {module}"
                )
        assert is_equal, "killed before each statement in turn, it ends otherwise"

    def test_killed_after_any_epoch_it_ends_with_the_same_bits(
        self, reference: Reference, tmp_path: Path
    ) -> None:
        """After each in turn, and after the first alone: then all others run in one process."""
        epochs = reference.epochs
        rows = [epochs[:1], epochs][: len(epochs)]
        if self.one_by_one:
            rows = [[epoch] for epoch in epochs]
        for number, row in enumerate(rows):
            killing = Killing(reference, tmp_path / f"row{number}")
            killing.after_each(row)
            assert killing.found == reference.found, f"killed after {row}, stages and epochs"

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
