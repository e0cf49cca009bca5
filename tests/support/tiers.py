"""The tiers of the suite: who belongs to one, what a fast test may not do, who runs with whom.

A test says by markers what it needs, and that puts it into a tier (`CONTRIBUTING.md` tells how to
choose). A test without such a marker is fast, and is held to it: it fails where it starts a
process, a server or a database, or trains for longer than `MOST_STEPS`. Nothing here looks at a
clock, so a busy machine changes no verdict.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

TIERS = ("fast", "full", "all")  # each holds the one before it
FULL = frozenset({"ray", "cluster", "mlflow", "process", "faults", "slow"})
LONG = frozenset({"long", "browser"})
MOST_STEPS = 300  # of optimisers, in a fast test
HEAVY = frozenset({"ray", "mlflow"})  # what a fast test does not even import
# What files of tests import where they want it, and not when they are read: every worker reads all
# of them. Torchvision alone takes as long as torch, since it brings torch's compiler.
LATE = HEAVY | {"torchvision"}

# Audit events of Python: what a fast test must not do, and how to say it.
OUTSIDE = {
    "subprocess.Popen": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "sqlite3.connect": "opens a database",
}
# Called by ctypes where a library is imported, by matplotlib where it looks for fonts the first
# time; git once a process, for the commit in a record.
LOOKED_UP = ("ldconfig", "gcc", "cc", "ld", "uname", "git", "fc-list")
FOLDER = pytest.StashKey[Path]()  # where workers leave their groups


def tier_of(item: pytest.Item) -> str:
    """The smallest tier that holds a test."""
    names = {mark.name for mark in item.iter_markers()}
    if names & LONG:
        return "all"
    return "full" if names & FULL else "fast"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker a core; where tests start Ray one more, since theirs wait now and then."""
    has_ray = config.getoption("tier") != "fast"
    return len(os.sched_getaffinity(0)) + has_ray


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier",
        choices=TIERS,
        help="run this tier only (default: full; what is named by file::test runs in any case)",
    )
    parser.addoption(
        "--shuffle", metavar="SEED", help="run in a random order, the same for the same seed"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = any("::" in argument for argument in config.args)
    wanted = TIERS.index(config.getoption("tier") or ("all" if named else "full"))
    dropped = [item for item in items if TIERS.index(tier_of(item)) > wanted]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if TIERS.index(tier_of(item)) <= wanted]
    if (seed := config.getoption("shuffle")) is None:
        items.sort(key=place_of)
    else:
        items.sort(key=lambda item: shuffled_place(seed, item.nodeid, group_of(item)))


def group_of(item: pytest.Function) -> str | None:
    """Tests of one group run in one worker, one after another.

    All that use the session's Ray are one group, and all that start clusters of their own another:
    both wait more than they compute, so two Rays side by side are done sooner than one after the
    other, and a third would be in their way. Those that use MLflow are one, which is imported once
    then and is told once what its tables are. Tests that share a fixture of their module or class
    are one, so that it is made once; so are the contract's tests of one method, which share a
    reference.
    """
    names = {mark.name for mark in item.iter_markers()}
    if names & {"ray", "cluster"}:
        return "cluster" if "cluster" in names else "ray"
    if "mlflow" in names:
        return "mlflow"
    if "trial" in item.fixturenames and hasattr(item, "callspec"):
        return f"{item.nodeid.rpartition('::')[0]}[{item.callspec.id}]"
    shared = [
        definition
        for definitions in item._fixtureinfo.name2fixturedefs.values()
        for definition in definitions
        if definition.scope in ("module", "class") and definition.baseid
    ]
    return item.nodeid.partition("::")[0] if shared else None


def place_of(item: pytest.Item) -> int:
    """What takes long begins first, so that no worker is left with it at the end."""
    names = {mark.name for mark in item.iter_markers()}
    if names & {"ray", "cluster"}:  # those that end the Ray of the session come before it starts
        return 0 if "cluster" in names or "no_ray" in getattr(item, "fixturenames", ()) else 1
    if "mlflow" in names:
        return 2
    if names & {"long", "slow", "faults"}:
        return 3
    return 4 if group_of(item) else 5


def shuffled_place(seed: str, nodeid: str, group: str | None) -> tuple[float, ...]:
    """Where a test stands in a random order. Tests without a group may come between any others;
    those of a group stay together, file by file, because pytest would make their shared fixture
    anew each time that a test of another file came between. Every worker finds the same place.
    """
    file = nodeid.partition("::")[0]
    names = (group or nodeid, file, nodeid)
    return tuple(random.Random(f"{seed} {name}").random() for name in names)


# The groups of pytest-xdist 3.8 have no effect under pytest 9.2 (they write to an attribute of a
# test that nothing reads any more), so a worker tells the groups by a file, and a scheduler of our
# own reads it.


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["groups"] = str(_groups_file(node.config, node.gateway.id))


def _groups_file(config: pytest.Config, worker: str) -> Path:
    if FOLDER not in config.stash:
        config.stash[FOLDER] = Path(tempfile.mkdtemp(prefix="spolia-test-groups-"))
        config.add_cleanup(lambda: shutil.rmtree(config.stash[FOLDER], ignore_errors=True))
    return config.stash[FOLDER] / f"{worker}.json"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
        groups: dict[str, str] | None = None

        def _split_scope(self, nodeid: str) -> str:
            if self.groups is None:  # all workers have collected the same tests by now
                file = next(config.stash[FOLDER].iterdir())
                self.groups = json.loads(file.read_text())
            return self.groups.get(nodeid, nodeid)

    return ByGroup(config, log)


class Watch:
    """Hears what the test that is running does outside this process, and counts its training."""

    def __init__(self) -> None:
        self.on = False
        self.done: list[str] = []
        self.loaded: set[str] = set()
        self.read: set[str] = set()  # of `LATE`, when the files of tests had been read
        self.steps = 0

    def begin(self, on: bool) -> None:
        self.on, self.done, self.steps = on, [], 0
        self.loaded = set(HEAVY & sys.modules.keys())

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and str(arguments[0]).rpartition("/")[2] in LOOKED_UP:
            return
        if self.on and event in OUTSIDE:
            self.done.append(f"{OUTSIDE[event]} ({event} {str(arguments)[:120]})")

    def step(self, *arguments: Any) -> None:
        self.steps += 1

    def verdict(self) -> str | None:
        if self.done:
            return f"it {self.done[0]}"
        if loaded := sorted(HEAVY & sys.modules.keys() - self.loaded):
            return f"it imports {' and '.join(loaded)}"
        if self.steps > MOST_STEPS:
            return f"it takes {self.steps} steps of an optimiser, more than {MOST_STEPS}"
        return None


WATCH = Watch()


def pytest_configure(config: pytest.Config) -> None:
    sys.addaudithook(WATCH.audit)


@pytest.hookimpl(tryfirst=True)  # xdist's own tells the tests, and asks for groups thereupon
def pytest_collection_finish(session: pytest.Session) -> None:
    if file := getattr(session.config, "workerinput", {}).get("groups"):
        groups = {item.nodeid: group for item in session.items if (group := group_of(item))}
        # All workers leave the same, and it is read as soon as the first has: it appears whole.
        own = Path(f"{file}.{os.getpid()}")
        own.write_text(json.dumps(groups))
        own.replace(file)
    WATCH.read = set(LATE & sys.modules.keys())
    if "torch" in sys.modules:  # not so in a process that only hands out the tests
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(WATCH.step)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    WATCH.begin(tier_of(item) == "fast")
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    if WATCH.on and (told := WATCH.verdict()):
        marks = ", ".join(sorted(FULL))
        pytest.fail(f"a test without one of the markers {marks} is fast, but {told}", pytrace=False)
    return result


def pytest_runtest_teardown(item: pytest.Item) -> None:
    WATCH.begin(False)
