"""A fault at the n-th call of store, scratch or tracker, for every n: an error, then a kill.

Calls of store and scratch are those of the operating system that Python's audit events tell of
(open, link, rename, remove, list, ...) below the folder; those of the tracker are the methods of
MLflow's client. The product itself is not changed by it.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from disturbed.children import Ended, in_child, must
from disturbed.ledger import Case, Ledger
from disturbed.verdicts import defects_of_results, defects_of_runs, results_of, runs_in_mlflow

PLACES = ("store", "scratch", "tracker")
KINDS = ("error", "kill")
EVENTS = frozenset(
    f"os.{name}"
    for name in ("link", "rename", "remove", "mkdir", "rmdir", "utime", "listdir", "scandir")
) | {"open", "sqlite3.connect"}
FOR_READING = frozenset({"os.listdir", "os.scandir"})


class Fault:
    """Counts calls, and breaks the `nth` (0: none) as `kind` says."""

    def __init__(self, nth: int, kind: str) -> None:
        self.nth, self.kind, self.count = nth, kind, 0

    def called(self, error: Callable[[], Exception]) -> None:
        self.count += 1
        if self.count != self.nth:
            return
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise error()


def watch_folder(folder: Path, fault: Fault) -> None:
    """Count what this process asks of the system below a folder."""
    root = os.fsencode(str(folder))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in EVENTS:
            return
        paths = [os.fsencode(a) for a in args[:2] if isinstance(a, str | bytes | os.PathLike)]
        if not any(path.startswith(root) for path in paths):
            return
        flags = args[2] if event == "open" and len(args) > 2 and isinstance(args[2], int) else 0
        reads = event in FOR_READING or (event == "open" and not flags & (os.O_WRONLY | os.O_RDWR))
        number = errno.EIO if reads else errno.ENOSPC
        fault.called(lambda: OSError(number, os.strerror(number), os.fsdecode(paths[0])))

    sys.addaudithook(hook)


def watch_client(fault: Fault) -> None:
    """Count the calls of MLflow's client in this process."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def counting(method: Any) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            fault.called(lambda: MlflowException("a fault on purpose"))
            return method(self, *args, **kwargs)

        return call

    for name, method in list(vars(MlflowClient).items()):
        if callable(method) and not name.startswith("_"):
            setattr(MlflowClient, name, counting(method))


def train(file: Path, home: Path, place: str = "", fault: Fault | None = None) -> dict[str, Any]:
    """Run the sweep as `spolia run --executor inline --tracking none --checkpoint-every 0`; whether
    it said that all is done, and how many calls there were.
    """
    import torch

    from orchestrator import Session

    torch.set_num_threads(1)
    fault = fault or Fault(0, "")
    if place:
        watch_folder(home / place, fault)
    session = Session(file, home=home, tracking="none")
    ended = session.run(executor="inline", checkpoint_every=0)
    print(ended)
    return {"complete": ended.is_complete, "calls": fault.count}


def track(file: Path, home: Path, fault: Fault | None = None) -> dict[str, Any]:
    """Bring MLflow level, as `spolia track` does, in this process."""
    from orchestrator import Session
    from orchestrator.session import following
    from orchestrator.tracking.writer import WriterHere

    following.Writer = WriterHere  # type: ignore[assignment,misc]
    fault = fault or Fault(0, "")
    watch_client(fault)
    tracked = Session(file, home=home).track()
    return {"complete": tracked.is_level, "calls": fault.count, "error": tracked.error}


def run_part(file: Path, folder: Path, ledger: Ledger, only: Callable[[str, int], bool]) -> None:
    """Every call of every place, error and kill; those that `only` (place, n) admits."""
    log = folder / "log.txt"
    whole = folder / "whole"
    if not (whole / "trained").exists():
        shutil.rmtree(whole, ignore_errors=True)
        must(in_child(lambda: train(file, whole), log))
        (whole / "trained").touch()
    expected = must(in_child(lambda: results_of(file, whole), log))
    counting = folder / "counting"
    for place in ("store", "scratch"):
        shutil.rmtree(counting, ignore_errors=True)
        calls = must(in_child(lambda p=place: train(file, counting, p, Fault(0, "")), log))
        for name, n, kind in _cases(place, calls["calls"], only):
            if name not in ledger:
                ledger.add(_disturb_training(file, folder, expected, name, place, Fault(n, kind)))
    _track_part(file, folder, whole, ledger, only)


def _track_part(
    file: Path, folder: Path, whole: Path, ledger: Ledger, only: Callable[[str, int], bool]
) -> None:
    log = folder / "log.txt"
    # A home in which all is trained and MLflow has its tables, and nothing else.
    trained = folder / "trained"
    if not (trained / "mlflow.db").exists():
        shutil.rmtree(trained, ignore_errors=True)
        shutil.copytree(whole, trained)
        must(in_child(lambda: make_database(trained / "mlflow.db"), log))
    level = folder / "level"
    shutil.rmtree(level, ignore_errors=True)
    shutil.copytree(trained, level)
    calls = must(in_child(lambda: track(file, level, Fault(0, "")), log))
    expected = must(in_child(lambda: runs_in_mlflow(_database(level), file.stem), log))
    for name, n, kind in _cases("tracker", calls["calls"], only):
        if name not in ledger:
            ledger.add(_disturb_tracking(file, folder, trained, expected, name, Fault(n, kind)))


def _cases(
    place: str, calls: int, only: Callable[[str, int], bool]
) -> Iterator[tuple[str, int, str]]:
    for kind in KINDS:
        for n in range(1, calls + 1):
            if only(place, n):
                yield f"{place} {kind} {n}", n, kind


def _disturb_training(
    file: Path, folder: Path, expected: Any, name: str, place: str, fault: Fault
) -> Case:
    log, home = folder / "log.txt", folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    first = in_child(lambda: train(file, home, place, fault), log)
    before = must(in_child(lambda: results_of(file, home), log))
    second = in_child(lambda: train(file, home), log)
    after = must(in_child(lambda: results_of(file, home), log))
    lost, doubled, wrong = defects_of_results(expected, before, after)
    is_whole = before.keys() == expected.keys()
    wrong += _dishonest(first, is_whole) + _unfinished(second)
    return Case("calls", name, _ending(first), first.error, lost, doubled, 0, wrong)


def _disturb_tracking(
    file: Path, folder: Path, trained: Path, expected: Any, name: str, fault: Fault
) -> Case:
    log, home = folder / "log.txt", folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(trained, home)
    first = in_child(lambda: track(file, home, fault), log)
    second = in_child(lambda: track(file, home), log)
    after = must(in_child(lambda: runs_in_mlflow(_database(home), file.stem), log))
    lost, doubled, running, wrong = defects_of_runs(expected, after)
    wrong += _dishonest(first, True) + _unfinished(second)
    return Case("calls", name, _ending(first), first.error, lost, doubled, running, wrong)


def _dishonest(first: Ended, is_whole: bool) -> list[str]:
    """Whether a disturbed command called itself complete and was not, hung, or ended in an error
    that no command would print.
    """
    wrong = []
    if first.hung:
        wrong.append("the disturbed command hung")
    if first.value is not None and first.value["complete"] and not is_whole:
        wrong.append("it called itself complete, and was not")
    if first.error and not first.is_ours:
        wrong.append(f"a bare {first.error_type}: {first.error[:200]}")
    return wrong


def _unfinished(second: Ended) -> list[str]:
    if second.value is None:
        return [f"the second command ended in {second.error or _ending(second)}"]
    return [] if second.value["complete"] else ["the second command was not complete"]


def _ending(ended: Ended) -> str:
    if ended.hung:
        return "hung"
    if ended.signal:
        return "killed"
    if ended.value is None:
        return "error told"
    return "complete" if ended.value["complete"] else "incomplete"


def _database(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


def make_database(path: Path) -> bool:
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()
    return True
