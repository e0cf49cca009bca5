"""Saved views of MLflow's pages, and the links that open them."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import subprocess
import sys
import urllib.request
import zlib
from pathlib import Path

import pytest

from orchestrator.cli.runs import _pages
from orchestrator.errors import InputError
from orchestrator.store.home import home
from orchestrator.tracking import pages, views
from orchestrator.tracking.setting_means import Shown

SHOWN = Shown(
    axes=["ingredients", "split"],
    headline={"compatibility": True, "loss": False},
    metrics=["compatibility", "loss", "other"],
    matrix="accuracy",
    series=["none", "common"],
)


def states(shown):
    """What the pages read, by the name of a view."""
    found = {}
    for name, value in views.views(shown, 5).items():
        told = json.loads(value)
        assert (told["createdAt"], len(value) < views.LARGEST) == (5, True)
        state = base64.b64decode(told["state"].removeprefix("deflate;"))
        found[told["name"]] = (name, json.loads(zlib.decompress(state)))
    return found


def test_views_are_settings_matrices_and_the_best_first():
    found = states(SHOWN)
    assert {name: tag for name, (tag, _) in found.items()} == {
        "settings": "mlflow.sharedViewState.spolia-settings",
        "best first": "mlflow.sharedViewState.spolia-best",
        "matrices": "mlflow.sharedViewState.spolia-matrices",
    }
    columns = found["settings"][1]["selectedColumns"]
    axes = ["params.`ingredients`", "params.`split`"]
    assert columns[:4] == [*axes, "metrics.`compatibility`", "metrics.`compatibility.ci95`"]
    assert {"metrics.`n`", "metrics.`diverged`"} <= set(columns)


def test_the_best_setting_comes_first_whichever_end_is_best():
    best = states(SHOWN)["best first"][1]
    assert (best["orderByKey"], best["orderByAsc"]) == ("metrics.`compatibility`", False)
    costly = states(Shown(["lr"], {"loss": False}, ["loss"]))["best first"][1]
    assert (costly["orderByKey"], costly["orderByAsc"]) == ("metrics.`loss`", True)


def test_a_view_shows_charts_of_its_own_and_none_that_mlflow_would_add():
    state = states(SHOWN)["settings"][1]
    shown = [c for c in state["compareRunCharts"] if not c["deleted"]]
    kinds = [(chart["type"], chart.get("metricKey")) for chart in shown]
    assert kinds == [("BAR", "compatibility"), ("BAR", "loss"), ("PARALLEL", None)]
    gone = {c["metricKey"] for c in state["compareRunCharts"] if c["deleted"]}
    assert {"other", "other.ci95", "compatibility.n", "n", "cost.seconds"} <= gone


def test_the_view_of_matrices_has_a_card_for_each_series_and_one_for_all_settings():
    state = states(SHOWN)["matrices"][1]
    shown = [c["imageKeys"] for c in state["compareRunCharts"] if not c["deleted"]]
    assert shown == [["accuracy/none"], ["accuracy/common"], ["accuracy"]]


def test_a_sweep_without_headlines_and_matrices_has_the_view_of_settings_only():
    assert set(states(Shown([], {}, []))) == {"settings"}


def test_a_view_that_would_be_too_large_is_left_out():
    many = [f"metric_{i}_{i**40}" for i in range(3000)]
    shown = Shown(["lr"], dict.fromkeys(many, True), many)
    assert views.views(shown, 5) == {}
    assert len(views.views(Shown(["lr"], dict.fromkeys(many[:9], True), many[:9]), 5)) == 2


@pytest.mark.parametrize(
    ("version", "is_known"),
    [
        ("3.17.2", True),
        ("3.18.0", True),
        ("3.19.0", False),
        ("3.16.0", False),
        ("4.0.0", False),
        ("", False),
    ],
)
def test_views_are_for_versions_that_they_were_tried_with(version, is_known):
    assert views.is_known(version) == is_known


def test_several_sweeps_open_as_a_comparison_of_their_settings():
    link = pages.comparison("http://h", ["1", "7"])
    assert link.startswith("http://h/#/compare-experiments/s?experiments=%5B%221%22%2C%227%22%5D&")
    assert "searchFilter=tags.%60spolia.role%60%20%3D%20%27setting%27" in link


def test_a_run_says_what_shows_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual = home(Path("spolia-home"), None, None)
    assert _pages(usual, "sweeps/asked.py") == "spolia ui sweeps/asked.py"
    other = home(Path("else where"), None, None)
    assert _pages(other, "asked.py") == "spolia ui asked.py --home 'else where'"
    # A server says it when it has the sweep.
    assert _pages(home(Path("spolia-home"), None, "http://tracker:5000"), "asked.py") is None
    assert _pages(home(Path("spolia-home"), None, "none"), "asked.py") is None


def test_a_home_in_which_nothing_was_tracked_is_told_of(spolia, tmp_path):
    code, _, err = spolia("ui", "--home", tmp_path / "home")
    assert (code, "no sweep has been tracked" in err) == (2, True)


@pytest.mark.mlflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning")
def test_an_unknown_sweep_is_told_with_the_ones_that_there_are(
    fresh_database, tmp_path, monkeypatch
):
    from mlflow import MlflowClient

    address = fresh_database(tmp_path / "m.db")
    client = MlflowClient(address)
    made = [client.create_experiment(name, f"file://{tmp_path}/a") for name in ("asked", "other")]
    client.set_experiment_tag(made[0], f"{views.TAG}{views.SETTINGS}", "{}")
    with pytest.raises(InputError, match="asket: Did you mean 'asked'"):
        pages.link(address, ["asket"])
    assert f"experiments/{made[0]}/runs?viewStateShareKey=spolia-settings" in pages.link(
        address, ["asked"]
    )
    # Nor does a view that was written for another MLflow.
    monkeypatch.setattr(views, "KNOWN", ())
    assert pages.link(address, ["asked"]).endswith(f"{made[0]}/runs?workflowType=machine_learning")
    monkeypatch.undo()
    # Without views of ours the list of runs is opened, on the face that shows runs.
    plain = pages.link(address, ["other"])
    assert plain.endswith(f"experiments/{made[1]}/runs?workflowType=machine_learning")
    assert "compare-experiments" in pages.link(address, ["asked", "other"])


@contextlib.contextmanager
def ended(process):
    """Where the test fails meanwhile, nothing waits for ever for a process that goes on. It is told
    as a shell tells it, so that it ends its server.
    """
    try:
        yield
    except BaseException:
        process.send_signal(signal.SIGINT)
        raise


@pytest.mark.mlflow
@pytest.mark.process
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning")
def test_the_pages_are_there_until_somebody_ends_the_command(fresh_database, tmp_path):
    fresh_database(tmp_path / "home/mlflow.db")
    program = "from orchestrator.cli import main; main()"
    command = [sys.executable, "-c", program, "ui", "--home", str(tmp_path / "home")]
    # As in a shell: what starts it in the background has it ignore Ctrl-C.
    restored = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command[2] = restored + program
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running, ended(running):
        link = running.stdout.readline().strip()
        address = link.partition("/#")[0]
        assert link == f"{address}/#/experiments?workflowType=machine_learning"
        with urllib.request.urlopen(f"{address}/health", timeout=120) as answer:
            assert answer.status == 200
        assert running.stdout.readline() == "Ctrl-C ends it.\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}/health", timeout=20)


@pytest.mark.mlflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning")
def test_a_server_that_is_away_is_told_in_a_line(spolia):
    code, _, err = spolia("ui", "asked", "--tracking", "http://127.0.0.1:9")
    assert (code, "MLflow at http://127.0.0.1:9 does not answer" in err) == (1, True)
    assert len(err.splitlines()) < 5
