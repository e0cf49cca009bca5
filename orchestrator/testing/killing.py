"""Killing a trial at any place and starting it again: what the contract suite and
`spolia check-method` do to a method.

Needs torch and scikit-learn; neither pytest nor Ray nor MLflow.
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
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch

from orchestrator.data.resolve import resolve
from orchestrator.spec.datasets import digits
from orchestrator.spec.method import Method
from orchestrator.spec.task import Task
from orchestrator.spec.trial import NetworkSpec, Trial
from orchestrator.store.content import content
from orchestrator.store.store import Store
from orchestrator.testing.differences import differences, told
from orchestrator.training.execute import execute, run_with_needs
from orchestrator.training.stage import Moment, OnEpoch


def smoke_trial(
    method: type[Method] | Method,
    *,
    network: NetworkSpec | None = None,
    tasks: Sequence[Task] | None = None,
    seed: int = 0,
) -> Trial:
    """A trial that takes seconds. Of a class it takes the smoke settings; a method that is made
    already keeps its own: `smoke_trial(Ewc(strength=10.0, epochs=1), ...)`.

    Without `tasks` there is one for each role, two for a role that may repeat: 80 images of five
    digits each, called a, b, ...; the classes of two tasks overlap by three. Any other
    `Trial(...)` can be tested just as well.
    """
    roles = method.tasks
    count = max(roles.at_least, 2 if roles.more else len(roles.names))
    if tasks is None:
        tasks = tuple(
            digits.classes(0, 1, 2, 3 + 2 * i, 4 + 2 * i).images(i, of=count, limit=80).named(name)
            for i, name in enumerate("abcd"[:count])
        )
    made = method if isinstance(method, Method) else method.smoke()
    return Trial(method=made, network=network, tasks=tuple(tasks), seed=seed)


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


MOST_IN_CALLED = 2  # kills in what train calls: each executes train up to there anew


class Killed(BaseException):
    """Stands for the end of the process; nothing in the product catches it."""


class Place(NamedTuple):
    """A statement, by the file and the line where it begins, and which execution of it: 1 is the
    first. `is_of_train`: of `train` itself, and not of what it calls.
    """

    file: str
    line: int
    time: int
    is_of_train: bool

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        times = f", execution {self.time}" if self.time > 1 else ""
        return f"line {self.line} of {Path(self.file).name}{times}: {text}"


@contextmanager
def killed_before(method: Method, places: Collection[Place]) -> Iterator[list[Place]]:
    """Raise `Killed` when `train`, or a function of the author's that it calls, is about to execute
    one of these statements.

    Yields the list of the statements that were begun so far, the one before which it was killed
    included.
    """
    train = inspect.unwrap(type(method).train).__code__
    files = own_files(type(method))
    passed: list[Place] = []
    times: Counter[tuple[str, int]] = Counter()

    def watched(frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in files:
            return None
        # What the engine calls, such as a loss, is covered by the kills after epochs; a
        # comprehension belongs to the statement that it is in.
        is_called_by_author = frame.f_back is not None and frame.f_back.f_trace is not None
        if code is train or (is_called_by_author and not code.co_name.startswith("<")):
            return _Steps(code.co_filename, code is train, passed, times, places)
        return None

    before = sys.gettrace()  # a debugger's, or that of a coverage tool
    sys.settrace(watched)
    try:
        yield passed
    finally:
        sys.settrace(before)
        # A real kill leaves no process in which a `with torch.no_grad()` could have stayed open.
        torch.set_grad_enabled(True)


class _Steps:
    """Notes the statements of one call of a function, and kills before those that were named."""

    def __init__(
        self,
        file: str,
        is_of_train: bool,
        passed: list[Place],
        times: Counter[tuple[str, int]],
        places: Collection[Place],
    ) -> None:
        self.file, self.is_of_train = file, is_of_train
        self.passed, self.times, self.places = passed, times, places
        self.begins = statements_of(file)
        self.previous = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        statement = self.begins.get(frame.f_lineno, frame.f_lineno)
        # A statement of several lines is entered once.
        if event == "line" and statement != self.previous:
            self.previous = statement
            self.times[self.file, statement] += 1
            time = self.times[self.file, statement]
            self.passed.append(Place(self.file, statement, time, self.is_of_train))
            if self.passed[-1] in self.places:
                raise Killed
        return self


def own_files(method: type[Method]) -> frozenset[str]:
    """The files of a method's author: where its class and its bases are defined, and those beside
    them. Spolia's own rooms are none of them.
    """
    found = {inspect.unwrap(method.train).__code__.co_filename}
    for cls in method.__mro__:
        if cls.__module__.partition(".")[0] not in ("orchestrator", "abc", "builtins"):
            module = sys.modules.get(cls.__module__)
            found.add(str(getattr(module, "__file__", "")))
    beside = {str(other) for file in found for other in Path(file).parent.glob("*.py")}
    return frozenset(found | beside)


@cache
def statements_of(file: str) -> dict[int, int]:
    """For each line of a file: the line where its statement begins.

    A line that belongs to several statements, one inside another, counts as the innermost. Empty
    where there is no source: then every line is a statement of its own.
    """
    tree = ast.parse("".join(linecache.getlines(file)))
    begins: dict[int, int] = {}
    for node in ast.walk(tree):  # outer statements come before what they hold
        if isinstance(node, ast.stmt):
            end = node.end_lineno or node.lineno
            begins.update(dict.fromkeys(range(node.lineno, end + 1), node.lineno))
    return begins


def places_to_kill(passed: Sequence[Place], *, every: bool = False) -> list[Place]:
    """Of the statements of `train` that were executed, the first and the last execution of each. Of
    those in what it calls the first, and of these some, evenly spread, unless `every` is asked for.
    """
    last = {(place.file, place.line): place.time for place in passed}
    called = [place for place in passed if place.time == 1 and not place.is_of_train]
    step = 1 if every else max(1, -(-len(called) // MOST_IN_CALLED))
    chosen = set(called[::step])
    return [
        place
        for place in passed
        if place in chosen
        or (place.is_of_train and place.time in (1, last[place.file, place.line]))
    ]


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


def reference_of(trial: Trial, folder: Path, device: str = "cpu") -> Reference:
    """Run a trial and its needs in a folder, without stopping it."""
    store = Store(folder / "needs")
    resolved = resolve(trial, store)
    problems = resolved.problems()
    assert not problems, "\n".join(["the trial cannot run as it is:", *problems])
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

    def what_differs(self) -> str:
        """What it found otherwise than the trial that was never stopped, as the end of a message;
        empty where it found the same.
        """
        found, reference = self.found, self.reference.found
        if found == reference:
            return ""
        return told(differences(found, reference, "never stopped"))
