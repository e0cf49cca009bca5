"""Looking at a sweep: without a right to write to the store, without a store, without the data."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from sample_methods import Count, Seedless
from several_commands import SEVERAL

from orchestrator import (
    InputError,
    PlanError,
    Session,
    Store,
    StoreError,
    Sweep,
    digits,
    image_folder,
    product,
    union,
)
from orchestrator import torchvision_set as torchvision
from orchestrator.store.files import Folder

READING = {
    "plan": lambda session: session.plan(),
    "explain": lambda session: session.explain(session.trials()[0].key[:12]),
    "status": lambda session: session.status(),
    "results": lambda session: session.results().metrics_table(),
    "trials": lambda session: session.trials({"state": "done"}).frame(),
    "open": lambda session: session.open(session.trials()[0]),
    "log": lambda session: session.log(session.trials()[0]),
    "compare": lambda session: session.compare({"number": 1}, {"number": 2}),
    "report": lambda session: session.report(),
}


def sweep_of(*tasks):
    grids = [product(Seedless.grid(), tasks=task) for task in tasks]
    cells = union(product(Count.grid(number=[1.0, 2.0]), seed=range(2)), *grids)
    return Sweep(question="?", cells=cells, expect=4 + len(tasks))


def files_of(store):
    folders = ("results", "blobs", "data", "sweeps", "runs", "probes", "failures", "progress")
    return {entry for folder in folders for entry in store.entries(folder)}


@pytest.fixture(scope="module")
def _home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    sweep = sweep_of(digits.classes(0, 1).images(limit=10).named("few"))
    session = Session(sweep, name="asked", home=home, tracking="none")
    assert session.run(executor="inline").is_complete
    return home


@pytest.fixture
def home(_home):
    """A home with results, whose store has no record of their data set."""
    for record in (_home / "store/data").iterdir():
        record.unlink()
    return _home


@pytest.mark.parametrize("method", READING)
def test_what_reads_writes_nothing_where_it_must_not(home, monkeypatch, method):
    def refuse(self, path, *arguments, **more):
        raise StoreError(f"{path}: permission denied")

    sweep = sweep_of(digits.classes(0, 1).images(limit=10).named("few"))
    session = Session(sweep, name="asked", home=home, tracking="none")
    before = files_of(session.store)
    for name in ("publish", "refresh", "remove"):
        monkeypatch.setattr(Folder, name, refuse)
    READING[method](session)
    assert files_of(session.store) == before


@pytest.mark.parametrize("method", ["plan", "status", "results", "trials"])
def test_what_reads_begins_no_store(tmp_path, method):
    sweep = sweep_of(digits.classes(0, 1).images(limit=10).named("few"))
    session = Session(sweep, name="asked", home=tmp_path / "home", tracking="none")
    READING[method](session)
    assert not (tmp_path / "home").exists()


def test_a_record_that_is_made_here_is_kept_where_that_is_allowed(store):
    Session(sweep_of(digits.named("all")), name="asked", store=store.address).plan()
    assert store.data("digits") is not None


# ---------------------------------------------------------------------- another user

COMMANDS = (
    ("plan", "FILE"),
    ("plan", "FILE", "--json"),
    ("status", "FILE"),
    ("results", "FILE"),
    ("logs", "KEY"),
    ("methods",),
    ("data", "list"),
)


def without_rights(command, **settings):
    """Run a command as a user to whom permissions of files apply: root's powers are taken away."""
    powers = "-dac_override,-dac_read_search,-fowner"
    taken = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}", *command]
    runs = taken if os.geteuid() == 0 else command
    return subprocess.run(runs, capture_output=True, text=True, check=False, **settings)


@pytest.fixture
def locked(home, tmp_path):
    """A copy of the home in which nothing may be written."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and there is no setpriv to take that away")
    copy = tmp_path / "theirs"
    shutil.copytree(home, copy)
    shutil.rmtree(copy / "tables")  # those that are up to date are not written again
    paths = [copy, *copy.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    touched = without_rights([sys.executable, "-c", f"open({str(copy / 'x')!r}, 'w')"])
    if touched.returncode == 0:
        pytest.skip("this file system makes files where nobody may write")
    yield copy
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.process
def test_commands_that_read_work_on_somebody_elses_store(locked, sweep_file, tmp_path):
    file = sweep_file(
        "union(product(Count.grid(number=[1.0, 2.0]), seed=range(2)), product(Seedless.grid(), "
        "tasks=digits.classes(0, 1).images(limit=10).named('few')))",
        5,
    )
    key = next(iter(Store(locked / "store").finished()))
    before = files_of(Store(locked / "store"))
    (tmp_path / "mine").mkdir()
    home = ["--home", str(locked)]
    asked = [
        [{"FILE": str(file), "KEY": key}.get(word, word) for word in words]
        + ([] if words == ("methods",) else home)
        for words in COMMANDS
    ]
    asked.append(["run", str(file), *home, "--executor", "inline"])
    ran = without_rights([sys.executable, "-c", SEVERAL, json.dumps(asked)], cwd=tmp_path / "mine")
    assert ran.returncode == 0, ran.stderr
    *read, (code, _, told) = json.loads(ran.stdout)
    for words, (status, out, err) in zip(COMMANDS, read, strict=True):
        assert status == 0, (words, out, err)
        assert ("No tables were written" in err) == (words[0] == "results"), err
    assert files_of(Store(locked / "store")) == before
    assert (code, "cannot be written" in told) == (2, True), told


# ---------------------------------------------------------------------- the data is elsewhere


@pytest.fixture
def half_known(home, monkeypatch):
    """A session on a sweep with a data set that is nowhere."""
    monkeypatch.delenv("SPOLIA_DATA", raising=False)
    few = digits.classes(0, 1).images(limit=10).named("few")
    sweep = sweep_of(few, torchvision("MNIST").named("far"))
    return Session(sweep, name="asked", home=home, tracking="none")


def test_the_status_says_which_data_set_is_missing_and_how_to_get_it(half_known):
    status = half_known.status()
    assert (status.is_complete, status.cell_counts) == (False, {"done": 5})
    (missing,) = status.missing
    assert (missing.name, missing.num_cells) == ("torchvision/MNIST", 1)
    assert "spolia data add torchvision/MNIST" in repr(status)
    assert "a part: 5 of 6 cells" in repr(status)


def test_the_command_for_a_missing_data_set_can_be_pasted_into_a_shell(home, monkeypatch):
    monkeypatch.delenv("SPOLIA_DATA", raising=False)
    far = image_folder("flowers", size=224, reduced=True).named("far")
    session = Session(sweep_of(far), name="asked", home=home, tracking="none")
    command = re.search("`(spolia data add .*?)`", str(session.status().missing[0])).group(1)
    words = shlex.shlex(command, posix=True, punctuation_chars=True)  # as a shell: & ends a command
    words.whitespace_split = True
    assert list(words) == ["spolia", "data", "add", far.data]


def test_several_missing_data_sets_are_told_one_in_a_line(home, monkeypatch):
    monkeypatch.delenv("SPOLIA_DATA", raising=False)
    far = [torchvision("MNIST").named("far"), image_folder("birds", size=32).named("birds")]
    sweep = Sweep(question="?", cells=product(Seedless.grid(), tasks=far), expect=2)
    session = Session(sweep, name="asked", home=home, tracking="none")
    with pytest.raises(InputError, match="spolia data add NAME") as told:
        session.plan()
    first, second = told.value.problems
    assert first.startswith("1 cell is about torchvision/MNIST: ")
    assert second.startswith("1 cell is about 'folder/birds?size=32': ")


def test_results_leave_out_what_cannot_be_looked_up(half_known):
    with pytest.warns(UserWarning, match="1 cell is about torchvision/MNIST"):
        results = half_known.results()
    assert len(results.by_key) == 5
    with pytest.warns(UserWarning, match="spolia data add torchvision/MNIST"):
        assert len(half_known.trials()) == 5


def test_so_does_a_plan_but_a_run_and_mlflow_take_all_or_nothing(half_known, tmp_path):
    with pytest.warns(UserWarning, match="1 cell is about torchvision/MNIST"):
        plan = half_known.plan()
    assert repr(plan).startswith("<Plan of asked (a part: 5 of 6 cells): 5 of 5 cells done; ")
    assert half_known.explain(plan.cells[0].trial.key).state.startswith("done")
    database = f"sqlite:///{tmp_path}/mlflow.db"
    tracked = Session(half_known.sweep, name="asked", home=tmp_path, tracking=database)
    for refuses in (half_known.prepare, tracked.track):
        with pytest.raises(PlanError, match="pass data='FOLDER'"):
            refuses()


def test_where_no_data_set_is_known_that_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("SPOLIA_DATA", raising=False)
    cells = product(Seedless.grid(), tasks=torchvision("MNIST"))
    sweep = Sweep(question="?", cells=cells, expect=1)
    session = Session(sweep, name="asked", home=tmp_path, tracking="none")
    status = session.status()
    assert (status.is_complete, status.plan, len(status.frame())) == (False, None, 0)
    assert repr(status).startswith("asked: 1 cells, none of which can be looked up here")
    for ask in (session.results, session.plan, lambda: session.explain("ab")):
        with pytest.raises(InputError, match="1 cell is about torchvision/MNIST"):
            ask()


def test_a_record_in_the_store_is_enough(home, half_known, monkeypatch):
    """As on a laptop that sees the store of a cluster."""
    known = half_known.sweep.part(range(5))
    session = Session(known, name="asked", home=home, tracking="none")
    session.run(executor="inline")

    def nowhere(name):
        raise AssertionError(f"{name} is read")

    monkeypatch.setattr("orchestrator.data.sources.load", nowhere)
    assert session.status().is_done


def test_the_command_line_shows_what_it_can(spolia, sweep_file, tmp_path, monkeypatch):
    monkeypatch.delenv("SPOLIA_DATA", raising=False)
    known = "product(Count.grid(), seed=range(2))"
    far = "product(Seedless.grid(), tasks=torchvision_set('MNIST'))"
    small, file = sweep_file(known, 2, "small.py"), sweep_file(f"union({known}, {far})", 3)
    spolia("run", small, "--executor", "inline", "--tracking", "none")
    code, out, _ = spolia("status", file)
    words = " ".join(out.split())
    assert code == 1
    assert "asked (a part: 2 of 3 cells): 2 of 2 cells done" in words
    assert "1 cell is about torchvision/MNIST" in words
    view = json.loads(spolia("status", file, "--json")[1])
    assert (view["complete"], view["missing_data"][0]["name"]) == (False, "torchvision/MNIST")
    code, out, err = spolia("plan", file)
    assert (code, "2" in out, "left out: 1 cell is about" in err) == (0, True, True)
    view = json.loads(spolia("plan", file, "--json")[1])
    assert (view["complete"], view["cells"]) == (False, 2)
    assert view["missing_data"][0]["name"] == "torchvision/MNIST"
    code, out, err = spolia("results", file)
    assert (code, "A part of asked: 2 of its 3 cells" in out) == (0, True)
    assert "left out: 1 cell is about torchvision/MNIST" in " ".join(err.split())
    assert not (tmp_path / "spolia-home/tables/asked").exists()
    nothing = sweep_file(far, 1, "nothing.py")
    code, out, err = spolia("plan", nothing)
    assert (code, "nothing: 1 cell is about torchvision/MNIST" in " ".join(err.split())) == (
        2,
        True,
    )
    code, out, err = spolia("results", nothing)
    assert (code, "nothing: no cell can be looked up here. Nothing was written." in err) == (
        1,
        True,
    )
