"""Which edits make results stale: those of anything that computes their bits, wherever it lies."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from sample_methods import Count

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, Trial, digits, make_plan, product, resolve
from orchestrator.cli.progress import TerminalDisplay
from orchestrator.executors.site import Site
from orchestrator.planning.kinds import kind_of, one_of_each
from orchestrator.session.checking import StaleCheck, check_stale
from orchestrator.store.code import Code, code_of
from orchestrator.store.home import home
from orchestrator.store.store import record_digest
from orchestrator.training.execute import execute

ROOT = Path(__file__).resolve().parents[3]

# In a copy of the whole program: a sweep runs, then one file after another is edited and put back.
PROGRAM = """
    import json, sys, tempfile
    from pathlib import Path

    from methods.networks import resnet8
    from orchestrator import Store, Sweep, digits, make_plan, product
    from orchestrator.store.code import code_in_use
    from orchestrator.training.execute import execute
    from stitched.stitch import Stitch

    store = Store(tempfile.mkdtemp())
    cells = product(
        Stitch.grid(epochs=1),
        network=resnet8(width=4),
        tasks=digits.classes(0, 1).images(limit=20),
        seed=0,
    )
    sweep = Sweep(question="?", cells=cells, expect=1)
    for trial in make_plan("asked", sweep, store).todo:
        outcome = execute(trial, store)
        assert outcome.kind == "done", outcome.traceback
    found = {}
    for name in json.loads(sys.argv[1]):
        file = Path(name)
        before = file.read_text()
        file.write_text(before + "\\nEDITED = True\\n")
        code_in_use.cache_clear()
        found[name] = list(make_plan("asked", sweep, store).stale.values())
        file.write_text(before)
    print(json.dumps(found))
"""
METHOD = """
    from methods.fine_tune import FineTune
    from stitched import layers


    class Stitch(FineTune):
        name = "stitch"
"""
MAKE_STALE = {
    "the engine": "orchestrator/training/learner.py",
    "the data pipeline": "orchestrator/data/batches.py",
    "what a component is": "orchestrator/parts/component.py",
    "the network": "methods/networks/resnet.py",
    "a method of ours that an outside one builds on": "methods/fine_tune.py",
    "a module of the outside method's own package": "stitched/layers.py",
}
MAKE_NOTHING_STALE = {
    "another network": "methods/networks/vgg.py",
    "another method": "methods/packnet.py",
    "the command line": "orchestrator/cli/tables.py",
    "the executors": "orchestrator/executors/ray/tune_pool.py",
}


@pytest.fixture(scope="module")
def reasons(tmp_path_factory):
    """Why results are stale after an edit of each file, by file."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("orchestrator", "methods"):
        shutil.copytree(ROOT / package, folder / package, ignore=lambda *_: {"__pycache__"})
    (folder / "stitched").mkdir()
    (folder / "stitched/__init__.py").write_text("")
    (folder / "stitched/layers.py").write_text("WIDTH = 3\n")
    (folder / "stitched/stitch.py").write_text(textwrap.dedent(METHOD))
    files = [*MAKE_STALE.values(), *MAKE_NOTHING_STALE.values()]
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), json.dumps(files)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.process
@pytest.mark.parametrize("file", MAKE_STALE.values(), ids=MAKE_STALE)
def test_an_edit_of_what_computes_bits_makes_results_stale_and_is_named(reasons, file):
    module = file.removesuffix(".py").replace("/", ".")
    assert reasons[file] == [f"made with other code: {module}"]


@pytest.mark.process
@pytest.mark.parametrize("file", MAKE_NOTHING_STALE.values(), ids=MAKE_NOTHING_STALE)
def test_an_edit_of_anything_else_makes_nothing_stale(reasons, file):
    assert reasons[file] == []


# ---------------------------------------------------------------------- kinds


def made_with_other_code(store, numbers=(1.0, 2.0), seeds=2):
    """A plan whose results are all stale: by hand, as if they had been made a while ago."""
    cells = product(Count.grid(number=list(numbers)), seed=range(seeds))
    sweep = Sweep(question="?", cells=cells, expect=len(numbers) * seeds)
    plan = make_plan("asked", sweep, store)
    for trial in plan.todo:
        execute(trial, store)
        record = store.find(trial.key)
        made_by = record["provenance"]
        modules = {**made_by["modules"], "orchestrator.training.fit": "0" * 16}
        older = {**made_by, "modules": modules, "code": Code(modules).digest}
        assert store.commit({**record, "provenance": older}, replaces=record_digest(record))
    return sweep, make_plan("asked", sweep, store)


def test_results_of_one_method_made_by_one_code_are_one_kind(store):
    _, plan = made_with_other_code(store)
    (kind,) = set(plan.kinds.values())
    assert (len(plan.kinds), kind.modules) == (4, ("orchestrator.training.fit",))
    assert kind.label == "count (orchestrator.training.fit)"
    assert len(one_of_each(plan.kinds, plan.seconds)) == 1


def test_code_found_equal_frees_its_kind_and_no_other(store):
    sweep, plan = made_with_other_code(store)
    kind = next(iter(plan.kinds.values()))
    for other in ("method", "network", "numerics", "code", "device", "torch"):
        store.put_equal(replace(kind, **{other: "another"}).equal_to(kind_code(plan)))
    assert len(make_plan("asked", sweep, store).stale) == 4
    store.put_equal(kind.equal_to(kind_code(plan)))
    assert not make_plan("asked", sweep, store).stale


def kind_code(plan):
    return code_of(next(iter(plan.trials.values()))).digest


def disturb(store, trial, *, total=0.0, seconds=None):
    """Write over a record of `Count`: another number was found, or it took another time."""
    record = store.find(trial.key)
    (metric,) = (metric for metric in record["metrics"] if metric["name"] == "total")
    other = {**metric, "value": metric["value"] + total}
    timings = {**record["timings"], **({"seconds": seconds} if seconds is not None else {})}
    metrics = [other if one == metric else one for one in record["metrics"]]
    changed = {**record, "metrics": metrics, "timings": timings}
    assert store.commit(changed, replaces=record_digest(record))


@pytest.mark.parametrize("differs", ["the one that stands for all", "another", "none"])
def test_a_kind_of_which_some_results_would_come_out_otherwise(store, tmp_path, differs):
    """The one of middling length stands for all: where it differs nothing of its kind is kept, and
    where another one does nobody sees it, which is what a sample promises.
    """
    sweep, plan = made_with_other_code(store, numbers=(1.0, 2.0, 3.0), seeds=1)
    trials = [cell.trial for cell in plan.cells]
    middling = {"the one that stands for all": 1, "another": 2}.get(differs)
    for i, trial in enumerate(trials):
        wrong = 0.5 if differs != "none" and i == 1 else 0.0
        disturb(store, trial, total=wrong, seconds=10.0 if i == middling else 1.0 + 10 * i)
    plan = make_plan("asked", sweep, store)
    before = list(store.entries("results"))
    display = TerminalDisplay(Console(file=io.StringIO()))
    where = home(tmp_path, store.address, "none")
    check = check_stale(plan, where, Site(tmp_path / "scratch"), "inline", display)
    assert list(store.entries("results")) == before
    stale = make_plan("asked", sweep, store).stale
    if differs == "the one that stands for all":
        (problem,) = check.problems
        assert (check.num_equal, len(stale)) == (0, 3)
        assert "count(number=2) " in problem
        assert "comes out otherwise" in problem
    else:
        assert (check, stale) == (StaleCheck(num_equal=1, problems=()), {})


@pytest.mark.ray
def test_workers_run_one_of_a_kind_beside_the_store_and_the_rest_counts_as_done(
    local_ray, store, tmp_path
):
    sweep, plan = made_with_other_code(store)
    before = list(store.entries("results"))
    console = Console(file=io.StringIO())
    check = check_stale(
        plan,
        home(tmp_path, store.address, "none"),
        Site(tmp_path, 1),
        "ray",
        TerminalDisplay(console),
    )
    assert check == StaleCheck(num_equal=1, problems=())
    assert not make_plan("asked", sweep, store).stale
    assert list(store.entries("results")) == before
    assert not [*store.entries("checks"), *store.entries("runs"), *store.entries("probes")]


# ---------------------------------------------------------------------- replacing


def test_a_result_is_replaced_when_the_new_one_is_there_and_not_before(store):
    sweep, _ = made_with_other_code(store, numbers=(1.0,), seeds=1)
    plan = make_plan("asked", sweep, store, rerun_stale=True)
    (trial,) = plan.todo
    old = store.find(trial.key)
    assert plan.outdated == {trial.key: record_digest(old)}
    assert execute(trial, store, replaces=plan.outdated[trial.key]).kind == "done"
    assert store.find(trial.key) != old
    assert not make_plan("asked", sweep, store, outdated=plan.outdated).outdated


def test_a_result_that_another_driver_has_replaced_meanwhile_is_not_made_again(store):
    sweep, _ = made_with_other_code(store, numbers=(1.0,), seeds=1)
    plan = make_plan("asked", sweep, store, rerun_stale=True)
    (trial,) = plan.todo
    assert execute(trial, store, replaces=plan.outdated[trial.key]).kind == "done"
    theirs = store.find(trial.key)
    outcome = execute(trial, store, replaces=plan.outdated[trial.key])
    assert (outcome.kind, outcome.seconds) == ("done", theirs["timings"]["seconds"])
    assert store.find(trial.key) == theirs


def test_an_outdated_result_that_nobody_replaced_is_still_to_be_run(store):
    sweep, _ = made_with_other_code(store)
    asked = make_plan("asked", sweep, store, rerun_stale=True)
    trial = asked.todo[0]
    execute(trial, store, replaces=asked.outdated[trial.key])
    left = make_plan("asked", sweep, store, outdated=asked.outdated)
    assert [t.key for t in left.todo] == [t.key for t in asked.todo[1:]]
    assert left.outcomes == {trial.key: "done"}
    assert len(make_plan("asked", sweep, store).stale) == 3  # and in the store all four


# ---------------------------------------------------------------------- what a record tells


def test_a_record_tells_code_commit_versions_and_class_of_device(store):
    task = digits.images(limit=60)
    trial = Trial(method=FineTune(epochs=1), network=resnet8(width=4), tasks=(task,), seed=0)
    trial = resolve(trial, store)
    outcome = execute(trial, store, device="cpu")
    assert outcome.kind == "done", outcome.traceback
    made_by = store.find(trial.key)["provenance"]
    assert made_by["modules"] == dict(code_of(trial).modules)
    assert "methods.networks.resnet" in made_by["modules"]
    assert made_by["code"] == Code(made_by["modules"]).digest
    assert made_by["device"].startswith("cpu ")
    if (ROOT / ".git").exists():
        assert (len(made_by["commit"]), type(made_by["changed"])) == (40, bool)


def test_a_result_that_diverged_at_once_does_not_stand_for_those_that_trained(store):
    """Of three results of one kind the middling one stands; another outcome is another kind."""
    (trial,) = make_plan("asked", sweep_of_counts(1), store).todo
    assert execute(trial, store).kind == "done"
    record = store.find(trial.key)
    changed = Code({**code_of(trial).modules, "orchestrator.training.fit": "0" * 16})
    done = kind_of(trial, record, changed)
    diverged = kind_of(trial, {**record, "outcome": "diverged"}, changed)
    assert done != diverged
    kinds = {"short": done, "middling": done, "long": done, "at once": diverged}
    seconds = {"short": 1.0, "middling": 2.0, "long": 3.0, "at once": 0.1}
    assert one_of_each(kinds, seconds) == {"middling": done, "at once": diverged}


def sweep_of_counts(count):
    return Sweep(question="?", cells=product(Count.grid(), seed=range(count)), expect=count)
