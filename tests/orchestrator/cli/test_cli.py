"""The command line as a new user meets it: what it prints, its exit status, and every kind of bad
input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lab import LAB

from orchestrator import Store

QUICK = ("--executor", "inline", "--tracking", "none")


def test_plan_says_what_is_shared_and_starts_nothing(spolia, sweep_file, tmp_path):
    file = sweep_file(
        "product(Recombine.grid(of=CompatibleFeatures.grid(split=['stem', 'pool'])), "
        "network=resnet8(),"
        " tasks=(digits.classes(0, 1, 2).named('a'), digits.classes(0, 1, 3).named('b')), "
        "seed=range(3))"
        ".where(lambda c: c.seed != 1, reason='one is unlucky')",
        4,
    )
    code, out, _ = spolia("plan", file)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "cells 4 as written; 2 left out: one is unlucky" in lines
    assert "needs 2 compatible_features, used 4 times (shared 2.0x)" in lines
    assert "to run 6 no timings yet" in lines
    assert "saved 2 trials by sharing: 8 without it" in lines
    assert not list((tmp_path / "spolia-home").glob("store/results/*"))


def test_run_status_and_results(spolia, sweep_file, tmp_path):
    file = sweep_file("product(Count.grid(number=[1, 2]), seed=range(3))", 6)
    code, out, _ = spolia("status", file)
    assert (code, out.splitlines()[0]) == (
        1,
        "asked: 0 of 6 cells done, 6 open; 0 of 6 trials done, 6 open",
    )
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["role", "method", "done", "open"],
        ["cell", "count", "6"],
    ]
    code, ran, _ = spolia("run", file, *QUICK)
    assert code == 0
    assert "\n6 of 6 done · " in ran
    assert "1.000 ±0.000" in ran
    assert "spolia-home/tables/asked/metrics.parquet" in ran
    code, out, _ = spolia("status", file)
    assert (code, out.splitlines()[0]) == (0, "asked: 6 of 6 cells done; 6 of 6 trials done")
    code, again, _ = spolia("run", file, *QUICK)
    assert code == 0
    assert "Nothing to run" in again
    shown = spolia("results", file)[1]
    assert shown.partition("\nTables")[0].strip() in ran
    rows = pq.read_table(tmp_path / "spolia-home/tables/asked/metrics.parquet").to_pylist()
    assert [(r["number"], r["seed"], r["metric"], r["value"]) for r in rows][:2] == [
        (1.0, 0, "total", 1.0),
        (1.0, 1, "total", 1.0),
    ]


def test_no_line_is_wider_than_the_terminal(spolia, sweep_file):
    file = sweep_file("product(Count.grid(number=[1, 2], depth=[0, 1]), seed=range(2))", 8)
    for command in (("plan",), ("run", *QUICK), ("status",), ("results",)):
        _, out, _ = spolia(command[0], file, *command[1:])
        assert max(len(line) for line in out.splitlines()) <= 80
    for arguments in (("methods",), ("methods", "compatible_features")):
        assert (
            max(len(line) for line in spolia(*arguments)[1].splitlines() if "http" not in line)
            <= 80
        )


def test_methods_lists_and_explains(spolia):
    code, out, _ = spolia("methods")
    assert code == 0
    assert all(name in out for name in ("compatible_features", "fine_tune", "recombine"))
    code, out, _ = spolia("methods", "compatible_features")
    assert "Departs from the paper" in out
    assert "rotation_weight" in out
    code, _, err = spolia("methods", "compatible_featurs")
    assert (code, "Did you mean 'compatible_features'?" in " ".join(err.split())) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "Missing argument"),
        (("run", "x.py", "--exectuor", "inline"), "No such option: --exectuor"),
        (("run", "x.py", "--executor", "rai"), "'rai' is not one of 'ray', 'inline'"),
        (("run", "x.py", "--slots", "0"), "Invalid value for '--slots'"),
        (("runn", "x.py"), "No such command 'runn'"),
    ],
)
def test_a_mistake_on_the_command_line_is_bad_input(spolia, arguments, message):
    code, _, err = spolia(*arguments)
    assert (code, message in err) == (2, True), err


DIGITS = "network=resnet8(width=4), tasks=digits.classes(0, 1).images(limit=40), seed=0"


@pytest.mark.parametrize(
    ("cells", "expect", "messages"),
    [
        (
            "product(FineTune.grid(epoch=3), " + DIGITS + ")",
            1,
            ["fine_tune has no setting 'epoch'. Did you mean 'epochs'?"],
        ),
        (
            "product(FineTune.grid(epochs='ten'), " + DIGITS + ")",
            1,
            ["fine_tune.epochs: expected int, got 'ten' (str)"],
        ),
        (
            "product(FineTune.grid(lr=float('nan')), " + DIGITS + ")",
            1,
            ["fine_tune.lr: expected a finite float, got nan"],
        ),
        ("product(FineTune.grid(lr=[]), " + DIGITS + ")", 1, ["lr: the list of values is empty"]),
        (
            "product(Count.grid(), seed=range(3))",
            2,
            ["the grid has 3 cells but the sweep says expect=2", "expect=3,"],
        ),
        (
            "product(CompatibleFeatures.grid(ingredients=('rotation',), split='stage7'), "
            + DIGITS
            + ")",
            1,
            ["resnet8 has no split point 'stage7'"],
        ),
        (
            "product(FineTune.grid(), network=resnet8(), tasks=digits.classes(0, 'twelve'), "
            "seed=0)",
            1,
            ["digits has no class 'twelve'", "By index: 0 to 9"],
        ),
        (
            "product(Recombine.grid(of=(FineTune(),)), " + DIGITS + ")",
            1,
            ["split is not set and fine_tune has none of its own"],
        ),
        (
            "product(Recombine.grid(), " + DIGITS + ")",
            1,
            ["of is empty: name the methods to recombine"],
        ),
        ("product(FineTune.grid(), seed=0, tasks=digits)", 1, ["fine_tune needs a network"]),
        (
            "product(FineTune.grid(), network=resnet8(), seed=0, tasks=torchvision_set('MNIST'))",
            1,
            ["pass --data FOLDER or set SPOLIA_DATA"],
        ),
    ],
)
def test_bad_input_is_explained_before_anything_runs(
    spolia, sweep_file, tmp_path, cells, expect, messages
):
    file = sweep_file(cells, expect)
    for command in (("plan",), ("run", *QUICK)):
        code, _, err = spolia(command[0], file, *command[1:])
        assert code == 2, err
        assert all(message in err for message in messages), err
    assert not list((tmp_path / "spolia-home").glob("store/results/*"))


def test_a_method_that_lives_in_the_sweep_file_is_refused(spolia, sweep_file):
    before = (
        "from orchestrator import Method, Metric\n"
        "class Here(Method):\n    name = 'here'\n    uses = frozenset({'seed'})\n    def "
        "train(self, run):\n        pass\n"
    )
    code, _, err = spolia("plan", sweep_file("product(Here.grid(), seed=0)", before=before))
    assert (code, "Here is defined in the sweep file itself" in err) == (2, True), err


def test_a_module_beside_the_sweep_file_is_found(spolia, sweep_file, tmp_path, monkeypatch):
    """On Ray's workers, too: `tests/faults/test_private_ray.py`."""
    monkeypatch.setenv("SPOLIA_SWEEP_FOLDERS", "")
    (tmp_path / "beside_inline.py").write_text(LAB)
    before = "from beside_inline import *\nfrom orchestrator import network_spec\n"
    cells = "product(Beside.grid(), network=network_spec(Small), tasks=digits, seed=0)"
    file = sweep_file(cells, before=before)
    monkeypatch.chdir("/")
    code, out, err = spolia("run", file, *QUICK, "--home", tmp_path / "home")
    sys.modules.pop("beside_inline")
    assert code == 0, out + err


def test_a_network_that_lives_in_the_sweep_file_is_refused(spolia, sweep_file):
    before = LAB + "from orchestrator import network_spec\n"
    cells = "product(FineTune.grid(), network=network_spec(Small), tasks=digits, seed=0)"
    code, _, err = spolia("plan", sweep_file(cells, before=before))
    assert (code, "Small is defined in the sweep file itself" in err) == (2, True), err


def test_packages_of_the_site_file_may_be_loaded_from(spolia, sweep_file, tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_PACKAGES", "sample_methods")
    (tmp_path / "spolia.toml").write_text('packages = ["my_lab"]')
    code, _, err = spolia("plan", sweep_file("product(Count.grid(), seed=0)"))
    assert code == 0, err
    assert os.environ["SPOLIA_PACKAGES"] == "sample_methods,my_lab"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sweep = Sweep(\n", "line 1: '(' was never closed"),
        ("x = 1\n", "has no variable 'sweep'"),
        (
            "from sample_methods import Count\nfrom orchestrator import Sweep, product\n"
            "sweeep = Sweep(question='?', cells=product(Count.grid(), seed=0), expect=1)\n",
            "has no variable 'sweep', but a Sweep called 'sweeep': call that one sweep.",
        ),
        ("sweep = 3\n", "has a 'sweep' that is int"),
        ("x = 1\nimport nowhere\n", "line 2: ModuleNotFoundError: No module named 'nowhere'"),
        (
            "from orchestrator.spec.sweep import Sweep\nsweep = Sweep(question='?', "
            "cells=[], expect=0)\n",
            "line 2: cells must be a grid made by product(...), got list",
        ),
        (
            "from orchestrator import Sweep, product\nsweep = Sweep(question=3, "
            "cells=product(seed=[0]), expect=1)\n",
            "line 2: question must be a text, got 3",
        ),
        (
            "from orchestrator import Sweep\nsweep = Sweep(\n    question='?',\n    claim=[],\n)\n",
            "line 4: TypeError: Sweep.__init__() got an unexpected keyword argument 'claim'",
        ),
        (
            "from orchestrator import Sweep\nmade = dict(claim=1)\nsweep = Sweep(\n"
            "    question='?',\n    claim=[],\n)\n",
            "line 5: TypeError: Sweep.__init__() got an unexpected keyword argument 'claim'",
        ),
        (
            "from sample_methods import Count\nfrom orchestrator import Sweep, product\n"
            "grid = Count.grid(\n    number=[1.0],\n    dept=1,\n)\n"
            "sweep = Sweep(question='?', cells=product(grid, seed=0), expect=1)\n",
            "line 5: the sweep cannot be used as written:\n  - count has no setting 'dept'.",
        ),
        ("x = 1\0\n", "bad.py: source code string cannot contain null bytes"),
    ],
)
def test_a_sweep_file_that_cannot_be_read_is_explained(spolia, tmp_path, text, message):
    (tmp_path / "bad.py").write_text(text)
    code, _, err = spolia("plan", tmp_path / "bad.py")
    assert (code, message in err) == (2, True), err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["list", "a.py", "epochs=2", "seed=0"], 'Cells are chosen by --only "epochs=2 seed=0".'),
        (["results", "a.py", "--columns", "a", "b"], "One value: --columns a,b"),
        (["plan", "a.py", "b.py"], None),
    ],
)
def test_what_too_many_arguments_may_have_been_meant_for_is_told(spolia, arguments, hint):
    code, _, err = spolia(*arguments)
    assert (code, "Got unexpected extra argument" in err) == (2, True)
    assert err.rstrip().splitlines()[-1].startswith(hint or "Error:"), err


def test_a_sweep_file_that_is_not_there_is_named_with_the_nearest(spolia, sweep_file, tmp_path):
    sweep_file("product(Count.grid(), seed=0)", name="quickstart.py")
    code, _, err = spolia("plan", tmp_path / "quikstart.py")
    assert code == 2
    assert "there is no sweep file" in err
    assert "Did you mean" in err
    assert "quickstart.py" in err
    assert "quickstart.py" in spolia("plan", tmp_path)[2]  # a folder: what is in it
    (tmp_path / "empty").mkdir()
    assert "A sweep file ends in .py." in spolia("plan", tmp_path / "empty" / "nothing")[2]


def test_a_method_that_raises_blocks_only_what_needs_it(spolia, sweep_file):
    file = sweep_file(
        f"union(product(After.grid(how='raise'), {DIGITS}), product(Count.grid(), seed=range(2)))",
        3,
    )
    code, out, err = spolia("run", file, *QUICK)
    assert code == 1
    assert "2 of 4 done · 1 failed · 1 blocked · " in out
    assert "ZeroDivisionError: something in epoch 2" in err
    assert "1 cell blocked: its need 'before'" in out
    code, out, _ = spolia("status", file)
    assert code == 1
    assert "2 of 3 cells done, 1 blocked; 2 of 4 trials done, 1 failed, 1 blocked" in out
    assert "1 cell blocked: its need 'before' (faulty resnet8(width=4)" in " ".join(out.split())
    assert "ZeroDivisionError: something in epoch 2" in out


def test_many_failures_for_one_reason_are_told_briefly(spolia, sweep_file):
    grown = DIGITS.replace("seed=0", "seed=range(5)")
    assert grown != DIGITS
    file = sweep_file(f"product(Faulty.grid(how='undeclared'), {grown})", 5)
    code, _, err = spolia("run", file, *QUICK)
    assert (code, err.count("declares no metric 'acuracy'"), err.count("spolia logs")) == (1, 3, 3)
    assert "2 more failed for this reason; `spolia list SWEEP --state failed` lists them" in err
    out = spolia("status", file)[1]
    assert (out.count("declares no metric"), out.count("spolia logs")) == (1, 3)
    assert "5 trials failed: MethodError:" in out
    assert "and 2 more: spolia list SWEEP --state failed" in out
    assert spolia("list", file, "--state", "failed")[1].count("failed") == 5


def test_a_loss_that_is_nan_is_a_result_and_is_told(spolia, sweep_file):
    file = sweep_file(f"product(Faulty.grid(how='nan'), {DIGITS})")
    code, out, _ = spolia("run", file, *QUICK)
    assert code == 3
    assert "\n0 of 1 done · 1 diverged · " in out
    assert "asked: 0 of 1 cells done, 1 diverged; 0 of 1 trials done, 1 diverged" in out
    assert "1 cell diverged: train" in out or "1 cell diverged: loss" in out


def test_an_undeclared_metric_is_a_failure_that_names_it(spolia, sweep_file):
    code, _, err = spolia(
        "run", sweep_file(f"product(Faulty.grid(how='undeclared'), {DIGITS})"), *QUICK
    )
    assert code == 1
    assert "faulty declares no metric 'acuracy'" in err


def test_a_store_that_cannot_be_written_is_named_before_anything_runs(spolia, sweep_file, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = spolia(
        "run", sweep_file("product(Count.grid(), seed=0)"), *QUICK, "--store", tmp_path / "file"
    )
    assert code == 2
    assert "file cannot be written" in err
    assert "Choose another folder with --store" in err


def test_a_torn_result_is_told_and_nothing_is_lost(spolia, sweep_file, tmp_path):
    file = sweep_file("product(Count.grid(), seed=range(2))", 2)
    spolia("run", file, *QUICK)
    store = Store(tmp_path / "spolia-home/store")
    torn = (
        Path(store.address)
        / f"results/{(key := next(iter(store.finished())))[:2]}/{key}/result.json"
    )
    torn.write_text(torn.read_text()[:100])
    code, _, err = spolia("run", file, *QUICK)
    assert (code, "result.json" in err, "Remove that file and run again" in err) == (1, True, True)
    torn.unlink()
    code, out, _ = spolia("run", file, *QUICK)
    assert (code, "1 of 1 done" in out) == (0, True)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_is_done_and_the_next_goes_on(
    sweep_file, tmp_path, number, spolia
):
    """On Ray, too: `tests/faults/test_private_ray.py`."""
    notes = tmp_path / "notes"
    notes.mkdir()
    file = sweep_file(f"product(Count.grid(folder={str(notes)!r}, nap=0.5), seed=range(40))", 40)
    home = tmp_path / "home"
    program = [
        sys.executable,
        "-m",
        "orchestrator.cli",
        "run",
        str(file),
        "--home",
        str(home),
        *QUICK,
    ]
    # Started in the background of a script, this test run may itself ignore SIGINT, and what it
    # starts would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    store = Store(home / "store")
    deadline = time.monotonic() + 400
    while (
        len(list(store.finished())) < 3 and time.monotonic() < deadline and process.poll() is None
    ):
        time.sleep(0.1)
    os.killpg(process.pid, number)  # as a terminal does with Ctrl-C: to the whole group
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert "Interrupted. What is done is kept; the same command goes on from here." in " ".join(
        out.split()
    )
    assert "Traceback" not in out
    done = len(list(store.finished()))
    assert 3 <= done < 40
    assert "/tables/asked/metrics.parquet" in out
    code, shown, _ = spolia("status", file, "--home", home)
    assert (code, f"{done} of 40 cells done" in shown) == (1, True)


def test_labels_are_shown_as_they_are_not_as_markup(spolia, sweep_file, tmp_path):
    labels = ["[x]", "[/x]", "[bold]b[/]", ":smile:"]
    cells = (
        f"product(Named.grid(called={labels}, number=[1.0, 2.0]), seed=range(2))"
        ".where(lambda c: c.seed < 1, reason='[/one] is enough')"
    )
    file = sweep_file(cells, 8)
    places = ("--home", tmp_path / "home", "--store", tmp_path / "[x]")
    assert "[/one] is enough" in spolia("plan", file, *places)[1]
    code, out, err = spolia("run", file, *places, "--executor", "inline", "--tracking", "none")
    assert (code, err) == (0, "")
    assert all(label in out for label in labels)
    code, out, _ = spolia("results", file, *places)
    assert code == 0
    assert all(label in out for label in labels)
    code, out, _ = spolia("status", file, *places)
    assert code == 0
    key = next(iter(Store(tmp_path / "[x]").finished()))
    code, out, _ = spolia("logs", key, *places)
    assert code == 0
    assert any(label in out for label in labels)
    assert spolia("report", file, *places)[0] == 0
    code, _, err = spolia("plan", tmp_path / "[/x].py")
    assert code == 2
    assert "[/x].py" in err
