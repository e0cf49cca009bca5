"""The command line beyond plan and run: parts of sweeps, smoke runs, stale results, the debugger,
logs, data, gc, doctor, JSON.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from methods.compatible_features import CompatibleFeatures
from orchestrator import Store
from orchestrator.store.code import code_in_use
from orchestrator.store.heartbeat import alive

QUICK = ("--executor", "inline", "--tracking", "none")
DIGITS = "network=resnet8(width=4), tasks=digits.classes(0, 1).images(limit=40), seed=0"


def counts(spolia, file):
    view = json.loads(spolia("status", file, "--json")[1])
    return [c["state"] for c in view["cells"]]


def test_only_runs_the_cells_that_are_named(spolia, sweep_file):
    file = sweep_file("product(Count.grid(number=[1, 2]), seed=range(3))", 6)
    code, out, _ = spolia("run", file, *QUICK, "--only", "number=2 seed=0 seed=1")
    assert (code, "2 of 2 done" in out) == (0, True)
    assert counts(spolia, file) == ["open"] * 3 + ["done"] * 2 + ["open"]
    assert spolia("status", file, "--only", "number=2 seed=0")[0] == 0
    assert spolia("status", file)[0] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numbr=2", "the sweep has no axis 'numbr'. Did you mean 'number'?"),
        ("number=3", "number is never '3'. Valid: '1', '2'."),
        ("number", "'number' is not axis=value"),
        ('seed="0', "a quotation mark is not closed"),
        ("seed=0 number=2\\", "--only"),
        (" ", "expected axis=value, such as 'seed=0 split=pool'"),
        ("numbr=2 seed=9", "Valid: 'method', 'number', 'seed'. - seed is never '9'"),
    ],
)
def test_only_names_what_is_not_there(spolia, sweep_file, text, message):
    code, _, err = spolia(
        "plan", sweep_file("product(Count.grid(number=[1, 2]), seed=range(3))", 6), "--only", text
    )
    assert (code, message in " ".join(err.split())) == (2, True), err


def test_only_that_no_cell_fits_says_so(spolia, sweep_file):
    file = sweep_file(
        "union(product(Count.grid(number=1), seed=0), product(Count.grid(number=2), seed=1))", 2
    )
    assert (
        "no cell has all of these at once" in spolia("plan", file, "--only", "number=1 seed=1")[2]
    )


def test_limit_runs_that_many_cells_that_are_not_done(spolia, sweep_file):
    file = sweep_file("product(Count.grid(), seed=range(5))", 5)
    spolia("run", file, *QUICK, "--limit", "2")
    spolia("run", file, *QUICK, "--limit", "2")
    assert counts(spolia, file) == ["done"] * 4 + ["open"]


@pytest.mark.mlflow
@pytest.mark.usefixtures("written_here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_part_is_tracked_under_the_names_of_the_whole(
    spolia, sweep_file, tmp_path, fresh_database
):
    from mlflow import MlflowClient

    file = sweep_file("product(Count.grid(number=[1, 2]), seed=range(2))", 4)
    address = fresh_database(tmp_path / "m.db")
    tracked = ("--executor", "inline", "--tracking", address)
    spolia("run", file, *tracked, "--only", "number=1 seed=0")
    spolia("run", file, *tracked)
    client = MlflowClient(address)
    (experiment,) = [e for e in client.search_experiments() if e.name == "asked"]
    names = sorted(r.info.run_name for r in client.search_runs([experiment.experiment_id]))
    settings = [[f"number={n}", f"number={n} · 0", f"number={n} · 1"] for n in (1, 2)]
    assert names == ["asked", *settings[0], *settings[1]]


def test_a_smoke_run_takes_the_smoke_values_and_leaves_nothing(spolia, sweep_file, tmp_path):
    file = sweep_file(
        "product(Recombine.grid(of=CompatibleFeatures.grid(ingredients=[(), ('common',)], "
        "split=['stem', 'pool'], epochs=500)), "
        "network=resnet8(width=4), tasks=(digits.classes(0, 1, 2).named('a'), "
        "digits.classes(0, 1, 3).named('b')), seed=range(3))",
        12,
    )
    code, out, err = spolia("run", file, "--smoke", "--executor", "inline")
    assert code == 0, err
    words = " ".join(out.split())
    assert "4 settings of 12 cells, small, in a store that is thrown away" in words
    epochs = CompatibleFeatures.smoke().epochs
    smaller = f"compatible_features.epochs 500 -> {epochs}"
    assert f"Smaller than the sweep means them: {smaller}" in words
    assert not (tmp_path / "spolia-home/store/results").exists()


# ---------------------------------------------------------------------- stale results


@pytest.fixture
def moving_code(tmp_path, monkeypatch):
    """A method whose source the test can change between two runs."""
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.syspath_prepend(str(package))

    def write(value, more=""):
        (package / "moving.py").write_text(
            '"""Departs from the paper: there is none."""\n'
            "from orchestrator import Method, Metric, axis\n"
            "class Base(Method):\n"
            "    name = 'base_of_moving'\n    uses = frozenset({'seed'})\n    metrics = "
            "(Metric('x'),)\n"
            f"    def train(self, run):\n        run.log(x={value})\n"
            "class Moving(Base):\n    name = 'moving'\n"
            "    def needs(self, trial):\n        return {'base': trial.replace(method=Base())}\n"
            f"    def train(self, run):\n        run.log(x=run.need('base').metric('x') + "
            f"1)\n{more}"
        )
        sys.modules.pop("moving", None)
        code_in_use.cache_clear()

    return write


def test_results_of_other_code_stop_a_run_until_told(spolia, sweep_file, tmp_path, moving_code):
    moving_code(1.0)
    file = sweep_file(
        "product(Moving.grid(), seed=range(2))", 2, before="from moving import Moving"
    )
    assert spolia("run", file, *QUICK)[0] == 0
    moving_code(5.0)
    code, out, _ = spolia("plan", file)
    assert "stale 4 4 made with other code: moving" in " ".join(out.split())
    code, _, err = spolia("run", file, *QUICK)
    assert (code, "4 results are stale" in err) == (2, True)
    ways = "--stale check to run one of each kind again, --stale keep, or --stale rerun"
    assert ways in " ".join(err.split())

    def value():
        return json.loads(spolia("results", file, "--json")[1])["groups"][0]["metrics"]["x"]["mean"]

    assert spolia("run", file, *QUICK, "--stale", "keep")[0] == 0
    assert value() == 2.0
    code, out, err = spolia("run", file, *QUICK, "--stale", "rerun")
    assert (code, "4 of 4 done" in out) == (0, True), err
    assert value() == 6.0
    assert len(list((tmp_path / "spolia-home/store/retired").iterdir())) == 4
    assert "stale" not in spolia("plan", file)[1]


@pytest.mark.parametrize("changed", [1.0, 5.0])
def test_check_keeps_what_comes_out_the_same_and_stops_at_what_does_not(
    spolia, sweep_file, tmp_path, moving_code, changed
):
    moving_code(1.0)
    file = sweep_file(
        "product(Moving.grid(), seed=range(2))", 2, before="from moving import Moving"
    )
    assert spolia("run", file, *QUICK)[0] == 0
    store = Store(tmp_path / "spolia-home/store")
    before = {entry.path: entry for entry in store.entries("results")}
    moving_code(f"{changed} + 0")
    code, out, err = spolia("run", file, *QUICK, "--stale", "check")
    assert "Checking 2 of 4 stale results, one of each kind." in out
    assert {entry.path: entry for entry in store.entries("results")} == before
    assert not list(store.entries("checks"))
    if changed == 1.0:
        assert (code, "Nothing to run" in out) == (0, True), err
        assert "stale" not in spolia("plan", file)[1]
        moving_code("0 + 1.0")  # the next edit is another question
        assert "stale 4" in " ".join(spolia("plan", file)[1].split())
    else:
        flat = " ".join(err.split())
        assert (code, "Say --stale keep, or --stale rerun" in flat) == (2, True), flat
        assert "base_of_moving (moving): base_of_moving seed" in flat
        assert "comes out otherwise" in flat
        # Held against the need that the store has, not against the one that comes out otherwise:
        # `moving` itself computes what it did, and so is stale for its need alone.
        assert "2 results are stale" not in flat
        stale = " ".join(spolia("plan", file)[1].split())
        assert "2 made with other code: moving" in stale
        assert "2 its need 'base' was made with other code: moving" in stale


def test_a_check_that_fails_is_told_and_keeps_nothing_as_equal(
    spolia, sweep_file, tmp_path, moving_code
):
    moving_code(1.0)
    file = sweep_file("product(Base.grid(), seed=0)", before="from moving import Base")
    assert spolia("run", file, *QUICK)[0] == 0
    moving_code("1 / 0")
    code, _, err = spolia("run", file, *QUICK, "--stale", "check")
    assert (code, "not checked" in err, "division by zero" in " ".join(err.split())) == (
        2,
        True,
        True,
    ), err
    assert not list(Store(tmp_path / "spolia-home/store").entries("equal"))


def test_a_rerun_that_fails_leaves_the_result_and_is_no_success(
    spolia, sweep_file, tmp_path, moving_code
):
    moving_code(1.0)
    file = sweep_file("product(Base.grid(), seed=0)", before="from moving import Base")
    assert spolia("run", file, *QUICK)[0] == 0
    store = Store(tmp_path / "spolia-home/store")
    before = list(store.entries("results"))
    moving_code("1 / 0")
    code, _, err = spolia("run", file, *QUICK, "--stale", "rerun")
    assert (code, "division by zero" in err) == (1, True), err
    assert list(store.entries("results")) == before
    assert not list(store.entries("retired"))
    assert "stale 1 1 made with other code: moving" in " ".join(spolia("plan", file)[1].split())


@pytest.mark.ray
@pytest.mark.parametrize("flags", [("--stale", "rerun"), ("--retry", "diverged")])
def test_with_the_cluster_down_nothing_is_taken_away(
    no_ray, spolia, sweep_file, tmp_path, moving_code, flags
):
    moving_code("float('nan')")
    file = sweep_file(
        f"union(product(Base.grid(), seed=0), product(Faulty.grid(how='nan'), {DIGITS}))",
        2,
        before="from moving import Base",
    )
    assert spolia("run", file, *QUICK)[0] == 3  # all ended, some diverged
    store = Store(tmp_path / "spolia-home/store")
    before = list(store.entries("results"))
    moving_code(2.0)
    stale = () if flags[0] == "--stale" else ("--stale", "keep")
    down = ("--tracking", "none", "--address", "127.0.0.1:9")
    code, _, err = spolia("run", file, *down, *flags, *stale)
    assert (code, "no Ray cluster answers" in err) == (1, True), err
    assert list(store.entries("results")) == before
    assert not list(store.entries("retired"))


def test_plan_why_lists_the_modules_that_changed(spolia, sweep_file, moving_code):
    moving_code(1.0)
    file = sweep_file("product(Base.grid(), seed=0)", before="from moving import Base")
    spolia("run", file, *QUICK)
    (cell,) = json.loads(spolia("status", file, "--json")[1])["cells"]
    assert "Code that has changed" not in spolia("plan", file, "--why", cell["key"][:12])[1]
    moving_code(2.0)
    out = spolia("plan", file, "--why", cell["key"][:12])[1]
    assert "done, but stale: made with other code: moving" in out
    assert "Code that has changed since its result was made:\n  moving\n" in out


def test_outcomes_can_be_tried_again(spolia, sweep_file, monkeypatch):
    file = sweep_file(f"product(Faulty.grid(how='nan'), {DIGITS})")
    spolia("run", file, *QUICK)
    assert counts(spolia, file) == ["diverged"]
    assert "Nothing to run" in spolia("run", file, *QUICK)[1]
    monkeypatch.setattr("sample_methods.Faulty.train", lambda self, run: run.log(total=1.0))
    code, out, _ = spolia("run", file, *QUICK, "--retry", "diverged")
    assert (code, "1 of 1 done" in out) == (0, True)
    assert counts(spolia, file) == ["done"]


def test_a_retry_that_fails_leaves_the_result_and_is_no_success(
    spolia, sweep_file, tmp_path, monkeypatch
):
    file = sweep_file(f"product(Faulty.grid(how='nan'), {DIGITS})")
    spolia("run", file, *QUICK)
    store = Store(tmp_path / "spolia-home/store")
    before = list(store.entries("results"))

    def fail(self, run):
        raise ZeroDivisionError("second try")

    monkeypatch.setattr("sample_methods.Faulty.train", fail)
    code, _, err = spolia("run", file, *QUICK, "--retry", "diverged")
    assert (code, "second try" in err) == (1, True), err
    assert list(store.entries("results")) == before
    assert not list(store.entries("retired"))
    assert counts(spolia, file) == ["diverged"]
    monkeypatch.setattr("sample_methods.Faulty.train", lambda self, run: run.log(total=1.0))
    assert spolia("run", file, *QUICK, "--retry", "diverged")[0] == 0
    assert counts(spolia, file) == ["done"]


# ---------------------------------------------------------------------- looking at one trial


def test_plan_why_names_the_field_that_differs(spolia, sweep_file):
    done, other = (
        sweep_file("product(Count.grid(number=1), seed=0)"),
        sweep_file("product(Count.grid(number=2), seed=0)", name="other.py"),
    )
    spolia("run", done, *QUICK)
    (trial,) = json.loads(spolia("plan", other, "--json")[1])["trials"]
    code, out, _ = spolia("plan", other, "--why", trial["key"][:10])
    assert code == 0
    assert "differs in 1 fields" in out
    assert "settings.number - 2.0" in " ".join(out.split()) or "settings.number 2.0 -" in " ".join(
        out.split()
    )
    code, _, err = spolia("plan", other, "--why", "zz")
    assert (code, "no trial of other with a key that begins with 'zz'" in err) == (2, True)


def test_logs_show_the_traceback_of_a_failure_and_what_was_printed(spolia, sweep_file):
    file = sweep_file(
        f"union(product(Faulty.grid(how='raise'), {DIGITS}), product(Looped.grid(epochs=1, "
        f"say='hello'), "
        "tasks=digits.classes(0, 1).images(limit=40), seed=0))",
        2,
    )
    _, _, err = spolia("run", file, *QUICK)
    assert "spolia logs " in err
    states = {
        c["state"]: c["key"] for c in json.loads(spolia("status", file, "--json")[1])["cells"]
    }
    code, out, _ = spolia("logs", states["failed"][:12])
    assert (code, "second_epoch" in out, "ZeroDivisionError: something in epoch 2" in out) == (
        0,
        True,
        True,
    )
    code, out, _ = spolia("logs", states["done"][:12])
    assert (code, "hello" in out, "peak memory" in out, "images/s" in out) == (0, True, True, True)
    assert "say = hello" in out
    assert json.loads(spolia("logs", states["done"], "--json")[1])["record"]["outcome"] == "done"
    code, _, err = spolia("logs", "zz")
    assert (code, "no finished, failed or running trial" in err) == (2, True)
    assert "Give more digits" in spolia("logs", "")[2]


def test_a_trial_under_way_is_seen_by_status_and_logs(spolia, sweep_file, tmp_path):
    file = sweep_file("product(Count.grid(), seed=0)")
    (trial,) = json.loads(spolia("plan", file, "--json")[1])["trials"]
    now = {
        "key": trial["key"],
        "began": 1.0,
        "stage": "joint",
        "epoch": 3,
        "epochs": 9,
        "time": 2.0,
        "curves": [["joint/loss", 2, 0.5, 1.5], ["joint/loss", 3, 0.25, 2.0]],
    }
    Store(tmp_path / "spolia-home/store").put_progress(trial["key"], now)
    row = next(line for line in spolia("status", file)[1].splitlines() if "joint 3/9" in line)
    assert (row.split()[0], "0.25" in row.split()) == (trial["key"][:12], True)
    assert json.loads(spolia("status", file, "--json")[1])["under_way"][0]["epoch"] == 3
    assert "under way: joint, epoch 3 of 9" in spolia("logs", trial["key"][:9])[1]


def test_the_debugger_opens_where_a_trial_fails(spolia, sweep_file, monkeypatch):
    file = sweep_file(f"product(Faulty.grid(how='raise'), {DIGITS})")
    (trial,) = json.loads(spolia("plan", file, "--json")[1])["trials"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("p calls\nq\n"))
    code, out, err = spolia("run", file, *QUICK, "--pdb", trial["key"][:10])
    assert code == 1
    assert "(Pdb) [1]" in out
    assert "second_epoch" in err
    code, _, err = spolia("run", file, "--pdb", trial["key"][:10])
    assert (code, "add --executor inline" in err) == (2, True)
    code, _, err = spolia("run", file, *QUICK, "--smoke", "--pdb", trial["key"][:10])
    assert (code, "leave out --smoke" in err) == (2, True)


# ---------------------------------------------------------------------- data, gc, doctor


@pytest.mark.slow
def test_data_added_here_lets_a_machine_without_the_images_plan(
    spolia, sweep_file, tmp_path, shared_data, monkeypatch
):
    assert spolia("data", "list")[1].startswith("No data set is recorded yet")
    code, out, _ = spolia("data", "add", "torchvision/FashionMNIST", "--data", shared_data)
    assert (code, "10 classes, 60,000 + 10,000 images, 1x28x28" in out) == (0, True)
    assert "torchvision/FashionMNIST" in spolia("data", "list")[1]
    file = sweep_file(
        "product(FineTune.grid(), network=resnet8(), "
        "tasks=torchvision_set('FashionMNIST').classes('Bag', 'Coat'), seed=0)"
    )
    with monkeypatch.context() as elsewhere:
        elsewhere.delenv("SPOLIA_DATA")
        code, out, err = spolia("plan", file)
        assert (code, "fine_tune" in out) == (0, True), err
        other = sweep_file(
            "product(FineTune.grid(), network=resnet8(), tasks=torchvision_set('MNIST'), seed=0)",
            name="other.py",
        )
        assert spolia("plan", other)[0] == 2  # of which nothing is recorded
    assert spolia("data", "verify", "--data", shared_data)[:2] == (
        0,
        "torchvision/FashionMNIST: as recorded\n",
    )
    code, out, _ = spolia("data", "verify", "--data", tmp_path)
    assert (code, "missing" in out) == (1, True)


def test_data_add_takes_the_sets_of_a_sweep(spolia, sweep_file):
    file = sweep_file(
        "product(FineTune.grid(), network=resnet8(), tasks=digits.classes(0, 1), seed=0)"
    )
    assert spolia("data", "add", file)[1].startswith(
        "digits  10 classes, 1,200 + 597 images, 1x8x8"
    )
    assert [r["name"] for r in json.loads(spolia("data", "list", "--json")[1])] == ["digits"]
    code, _, err = spolia("data", "add", "digist")
    assert (code, "no data set is called 'digist'" in err) == (2, True)


def test_gc_finds_checkpoints_of_trials_that_failed(spolia, tmp_path):
    home = tmp_path / "spolia-home"
    store = Store(home / "store")
    store.prepare()
    left, interrupted = (home / "scratch" / (digits * 32) for digits in ("ab", "cd"))
    for folder in (left, interrupted):
        folder.mkdir(parents=True)
        (folder / "train.pt").write_bytes(bytes(3 * 2**20))
    store.put_failure(left.name, {"reason": "ValueError"})
    assert spolia("gc")[1] == "Nothing to remove.\n"  # too young
    with alive(Store(home / "store")):
        assert spolia("gc", "--older-than", "0")[1] == "Nothing to remove.\n"
    told = "checkpoints of 1 trial, 3.0 MiB"
    assert f"{told} could go" in spolia("gc", "--older-than", "0")[1]
    assert left.is_dir()
    assert f"{told} removed" in spolia("gc", "--older-than", "0", "--remove")[1]
    assert (left.exists(), interrupted.exists()) == (False, True)


def test_gc_finds_what_no_result_names_and_nothing_else(spolia, sweep_file, tmp_path):
    file = sweep_file(f"product(FineTune.grid(epochs=1), {DIGITS})")
    spolia("run", file, *QUICK)
    store = Store(tmp_path / "spolia-home/store")
    named = {e.path for e in store.entries("blobs")}
    store.put_blob(b"nobody's")
    assert spolia("gc")[1] == "Nothing to remove.\n"  # too young
    assert "1 file, 0.0 MiB could go (add --remove)" in spolia("gc", "--older-than", "0")[1]
    assert "1 file, 0.0 MiB removed" in spolia("gc", "--older-than", "0", "--remove")[1]
    assert {e.path for e in store.entries("blobs")} == named
    assert "Nothing to run" in spolia("run", file, *QUICK)[1]


def test_the_doctor_says_what_it_found(spolia, tmp_path):
    code, out, _ = spolia("doctor")
    assert code == 0, out
    for what in (
        "torch pair",
        "GPUs",
        "methods from",
        "orchestrator from",
        "store",
        "tracking",
        "site file",
    ):
        assert what in out
    (tmp_path / "file").write_text("in the way")
    code, out, _ = spolia(
        "doctor", "--store", tmp_path / "file", "--tracking", "http://127.0.0.1:9"
    )
    assert code == 1
    flat = " ".join(out.split())
    assert "cannot be written" in flat
    assert "does not answer" in flat


@pytest.mark.ray
def test_the_doctor_says_that_a_cluster_does_not_answer(no_ray, spolia):
    code, out, _ = spolia("doctor", "--address", "127.0.0.1:9")
    assert code == 1
    assert "no Ray cluster answers at '127.0.0.1:9'" in " ".join(out.split())


@pytest.mark.ray
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at '127.0.0.1:9'"),
        ("nonsense", "no Ray cluster answers at 'nonsense'"),
        ("ray://127.0.0.1:10001", "the driver must run on the cluster"),
    ],
)
def test_a_cluster_that_does_not_answer_is_an_error_at_once(
    no_ray, spolia, sweep_file, address, message
):
    file = sweep_file("product(Count.grid(), seed=0)")
    code, out, err = spolia("run", file, "--tracking", "none", "--address", address)
    assert (code, message in err) == (1, True), err
    assert "Traceback" not in out + err


# ---------------------------------------------------------------------- output


def test_json_is_whole_on_every_command_that_offers_it(spolia, sweep_file):
    file = sweep_file("product(Count.grid(number=[1, 2], depth=1), seed=range(2))", 4)
    plan = json.loads(spolia("plan", file, "--json")[1])
    assert (plan["cells"], plan["to_run"], len(plan["trials"]), plan["unshared"]) == (4, 8, 8, 8)
    spolia("run", file, *QUICK)
    status = json.loads(spolia("status", file, "--json")[1])
    assert (status["complete"], len(status["cells"]), status["failed"]) == (True, 4, [])
    results = json.loads(spolia("results", file, "--json")[1])
    assert [g["metrics"]["total"] for g in results["groups"]] == [
        {"mean": m, "half_width_95": 0.0, "n": 2} for m in (2.0, 4.0)
    ]


def test_json_has_values_as_they_are_and_no_axis_that_a_cell_lacks(spolia, sweep_file):
    file = sweep_file(
        "union(product(Count.grid(number=[1.0, 1.0000001], depth=[0, 2]), seed=range(2)), "
        "product(Named.grid(called='7'), seed=0))",
        9,
    )
    spolia("run", file, *QUICK)
    cells = json.loads(spolia("status", file, "--json")[1])["cells"]
    fixed = ("cell", "key", "state")
    first, *_, last = [{k: v for k, v in c.items() if k not in fixed} for c in cells]
    assert first == {"method": "count", "number": 1.0, "depth": 0, "seed": 0}
    assert cells[-2]["number"] == 1.0000001
    assert last == {"method": "named", "called": "7", "seed": 0}
    groups = json.loads(spolia("results", file, "--json")[1])["groups"]
    assert [group["labels"] for group in groups][1::3] == [
        {"method": "count", "number": 1.0, "depth": 2},
        {"method": "named", "called": "7"},
    ]


@pytest.mark.process
def test_no_color_and_no_terminal_mean_plain_lines(spolia, sweep_file, tmp_path, monkeypatch):
    file = sweep_file("product(Count.grid(nap=0.1), seed=range(4))", 4)
    for name, value in {"NO_COLOR": "1", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    code, out, err = spolia("run", file, *QUICK)
    assert "\x1b" not in out + err
    assert (code, "4 of 4 done" in out) == (0, True)
    command = [sys.executable, "-m", "orchestrator.cli", "run", str(file), *QUICK]
    again = ["--home", str(tmp_path / "again")]
    shown = _in_a_terminal([*command, *again], tmp_path, dict(os.environ))
    assert "4 of 4 done" in shown
    assert "\x1b[3" not in shown  # cursor movement is drawing, colours would be \x1b[3xm


def _in_a_terminal(command, folder, environment):
    import pty

    main, second = pty.openpty()
    process = subprocess.Popen(
        command, stdout=second, stderr=second, stdin=second, cwd=folder, env=environment
    )
    os.close(second)
    parts = []
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    process.wait(60)
    os.close(main)
    return b"".join(parts).decode(errors="replace")


@pytest.mark.process
def test_completion_is_offered_for_the_shell(tmp_path):
    program = Path(sys.executable).with_name("spolia")
    environment = {
        **os.environ,
        "_SPOLIA_COMPLETE": "complete_bash",
        "COMP_WORDS": "spolia methods comp",
        "COMP_CWORD": "2",
    }
    ran = subprocess.run(
        [program], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert ran.stdout.split() == ["compatible_features"], ran.stderr


def test_two_sweeps_of_one_name_do_not_mix(spolia, sweep_file, tmp_path):
    """The store holds trials, not sweeps: what they share is done once. MLflow and the tables are
    by name, and say which file wrote them.
    """
    first = sweep_file("product(Count.grid(number=1), seed=range(2))", 2)
    (tmp_path / "elsewhere").mkdir()
    second = tmp_path / "elsewhere" / "asked.py"
    second.write_text(
        first.read_text().replace("number=1", "number=[1, 2]").replace("expect=2", "expect=4")
    )
    home = ("--home", tmp_path / "home")
    assert spolia("run", first, *QUICK, *home)[0] == 0
    code, _, err = spolia("run", second, *QUICK, *home)
    assert (code, "another sweep is called 'asked'" in err, str(first) in err) == (2, True, True), (
        err
    )
    assert spolia("run", first, *QUICK, *home)[0] == 0
