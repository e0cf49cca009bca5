"""list, compare, init, --version, status --watch, and what help looks like at 80 columns."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pandas as pd
import pytest
from sample_methods import Count, Ending

from orchestrator import Session, Store, Sweep, product
from orchestrator.analysis.matrix_pictures import Panel
from orchestrator.cli.statuses import watch
from orchestrator.cli.tables import comparable
from orchestrator.errors import PlanError
from orchestrator.planning.choose import labels_in
from orchestrator.session import trial_log
from orchestrator.store.heartbeat import alive

QUICK = ("--executor", "inline", "--tracking", "none")
DIGITS = "network=resnet8(width=4), tasks=digits.classes(0, 1).images(limit=40), seed=0"
COUNTED = "product(Count.grid(number=[1.0, 2.0], depth=1), seed=range(2))"


@pytest.fixture
def ran(spolia, sweep_file):
    """A sweep file of 4 cells, each of which needs another trial, that has been run."""
    file = sweep_file(COUNTED, 4)
    assert spolia("run", file, *QUICK)[0] == 0
    return file


# ---------------------------------------------------------------------- list


def test_every_trial_is_listed_with_a_key_that_opens_it(spolia, ran):
    code, out, _ = spolia("list", ran)
    assert (code, "4 cells" in out, "4 trials that they need" in out) == (0, True, True)
    listed = json.loads(spolia("list", ran, "--json")[1])
    assert [one["role"] for one in listed] == ["cell"] * 4 + ["need"] * 4
    for one in listed:
        assert one["key"][:12] in out
        assert spolia("logs", one["key"][:12])[0] == 0


FAULTY = (
    "product(Faulty.grid(how='raise'), network=resnet8(width=4), tasks=digits.images(limit=30), "
    "seed=range(2))"
)


def test_commands_to_paste_look_where_the_one_did_that_shows_them(spolia, sweep_file, monkeypatch):
    file = sweep_file(FAULTY, 2)
    _, out, err = spolia("run", file, *QUICK, "--home", "my home")
    told = [line.strip() for line in (out + err).splitlines() if line.strip().startswith("spolia ")]
    assert [line for line in told if line.endswith("--home 'my home'")] == told != []
    key = told[0].split()[2]
    assert spolia("logs", key, "--home", "my home")[0] == 0
    monkeypatch.setenv("SPOLIA_HOME", "my home")  # which the next command reads, too
    assert f"spolia logs {key}\n" in spolia("status", file)[1]


def test_a_failed_trial_has_its_settings_and_no_time_that_is_others(spolia, sweep_file):
    grids = "Faulty.grid(how=['raise', 'done'], folder='.')"
    file = sweep_file(FAULTY.replace("Faulty.grid(how='raise')", grids), 4)
    spolia("run", file, *QUICK)
    failed = json.loads(spolia("list", file, "--json", "--state", "failed")[1])
    assert [one["seconds"] for one in failed] == [None, None]
    assert "setting  folder = ." in spolia("logs", failed[0]["key"])[1]


def test_what_is_listed_is_chosen_by_settings_role_method_and_state(spolia, ran):
    def count(*options):
        return len(json.loads(spolia("list", ran, "--json", *options)[1]))

    assert count("--only", "number=2.0") == 4
    assert count("--only", "number=2.0 seed=1", "--role", "cell") == 1
    assert (count("--state", "done"), count("--state", "open")) == (8, 0)
    assert count("--method", "count") == 8
    code, _, err = spolia("list", ran, "--state", "dne")
    assert (code, "Did you mean 'done'?" in err) == (2, True), err
    assert "No trial is like this." in spolia("list", ran, "--state", "open")[1]


# ---------------------------------------------------------------------- compare


def test_two_settings_two_trials_and_two_homes_are_compared(spolia, ran, tmp_path, monkeypatch):
    code, out, _ = spolia("compare", ran, "number=1.0", "number=2.0")
    assert (code, "number='1.0'" in out, "second - first" in out) == (0, True, True)
    view = json.loads(spolia("compare", ran, "number=1.0", "number=2.0", "--json")[1])
    of_session = Session(ran, home=tmp_path / "spolia-home").compare(
        {"number": 1.0}, {"number": 2.0}
    )
    assert [gap["difference"]["mean"] for gap in view["gaps"]] == [
        gap.difference.mean for gap in of_session.gaps
    ]
    cells = json.loads(spolia("list", ran, "--json", "--role", "cell")[1])
    first, second = cells[0]["key"][:12], cells[1]["key"][:12]
    code, out, _ = spolia("compare", first, second)
    assert (code, first in out, second in out, "seed: 0 against 1" in out) == (0,) + (True,) * 3
    other = tmp_path / "other"
    assert spolia("run", ran, *QUICK, "--home", other)[0] == 0
    code, out, _ = spolia("compare", ran, "--with-home", other)
    assert (code, out.count("number="), "same trials" in out) == (0, 2, False)
    # The other home has its own store, whatever store is named for this one.
    monkeypatch.setenv("SPOLIA_STORE", str(tmp_path / "spolia-home/store"))
    assert spolia("compare", ran, "--with-home", other)[0] == 0


def test_a_value_with_a_comma_in_it_is_one_value_of_a_side():
    """Split at its comma it would be the mean of two other settings."""
    ways = [("done",), ("raise",), ("done", "raise")]
    sweep = Sweep(cells=product(Ending.grid(ways=ways), seed=range(2)), expect=6)
    assert labels_in(sweep, "ways=done,raise") == {"ways": "done,raise"}
    assert labels_in(sweep, "ways=raise,done seed=0 seed=1") == {
        "ways": ["raise", "done"],
        "seed": ["0", "1"],
    }


def test_a_result_is_compared_with_the_one_that_it_replaced(spolia, ran, tmp_path):
    store = Store(tmp_path / "spolia-home/store")
    cell = json.loads(spolia("list", ran, "--json", "--role", "cell")[1])[0]
    code, _, err = spolia("compare", cell["key"][:12])
    assert (code, "has taken no other result's place" in err) == (2, True), err
    old = store.find(cell["key"])
    new = json.loads(json.dumps(dict(old), default=dict))
    new["metrics"][0]["value"] += 0.25
    new["provenance"]["modules"]["sample_methods"] = "of today"
    assert store.commit(new, replaces=old.digest)
    view = json.loads(spolia("compare", cell["key"], "--json")[1])
    assert view["gaps"][0]["difference"]["mean"] == pytest.approx(0.25)
    assert "made with other code: sample_methods" in spolia("compare", cell["key"])[1]


@pytest.mark.parametrize(
    "sides", [["FILE"], ["FILE", "number=1.0"], ["a", "b", "c"], ["number=1.0", "number=2.0"]]
)
def test_sides_that_are_no_two_of_a_kind_are_told(spolia, sweep_file, sides):
    file = sweep_file(COUNTED, 4)
    code, _, err = spolia("compare", *[file if one == "FILE" else one for one in sides])
    assert (code, "compare takes a sweep file and two settings" in " ".join(err.split())) == (
        2,
        True,
    ), err


# ---------------------------------------------------------------------- the first minute


def test_a_first_sweep_is_written_once_and_plans(spolia, tmp_path):
    code, out, _ = spolia("init")
    assert (code, "spolia plan first_sweep.py" in out) == (0, True)
    (tmp_path / "first_sweep.py").write_text((tmp_path / "first_sweep.py").read_text() + "# mine")
    code, _, err = spolia("init")
    assert (code, "is there already" in err) == (2, True)
    assert (tmp_path / "first_sweep.py").read_text().endswith("# mine")
    code, out, _ = spolia("plan", "first_sweep.py")
    words = " ".join(out.split())
    assert (code, "12 as written" in words) == (0, True), out
    assert "2 ingredients: none, common 2 split: stem, pool 3 seed: 0, 1, 2" in words


def test_versions_are_told(spolia):
    code, out, _ = spolia("--version")
    assert (code, out.startswith("spolia "), "torch " in out, "ray " in out) == (0,) + (True,) * 3


@pytest.mark.parametrize(
    "command", [(), ("run",), ("list",), ("compare",), ("data", "add"), ("submit",)], ids=str
)
def test_help_fits_80_columns_and_breaks_no_word(spolia, command):
    code, out, _ = spolia(*command, "--help")
    assert (code, max(map(len, out.splitlines())) <= 80) == (0, True)
    assert "<bool>" not in out
    assert "--no-" not in out
    # A first sentence that is cut short says nothing.
    listed = out.partition("Commands:")[2]
    assert not [line for line in listed.splitlines() if line.endswith("...")]


# ---------------------------------------------------------------------- watching


def test_watching_ends_when_all_has_ended(ran, tmp_path, monkeypatch, capsys):
    from rich.console import Console

    monkeypatch.setattr("orchestrator.cli.statuses.WATCHED_EVERY", 0.0)
    session = Session(ran, home=tmp_path / "spolia-home")
    done, looks = session.status(), []
    half = Session(ran, home=tmp_path / "elsewhere").status()

    def look():
        looks.append(1)
        return half if len(looks) < 3 else done

    console = Console(force_terminal=True, width=80, color_system=None)
    assert watch(console, look) is done
    assert len(looks) == 3
    assert "4 of 4 cells done" in capsys.readouterr().out
    # Without a terminal it looks once.
    assert watch(Console(force_terminal=False, width=80), lambda: half) is half


@pytest.fixture
def watching(monkeypatch):
    """Looks at these statuses one after another: the last one seen, and what was printed."""
    from rich.console import Console

    monkeypatch.setattr("orchestrator.cli.statuses.WATCHED_EVERY", 0.0)

    def see(*statuses):
        looks = iter(statuses)
        console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
        return watch(console, lambda: next(looks)), console.file.getvalue()

    return see


def test_watching_ends_when_its_run_has_ended_with_cells_left(ran, tmp_path, watching):
    left = Session(ran, home=tmp_path / "elsewhere").status()
    at_work = replace(left, is_at_work=True)
    # It waits for a run to begin, and ends with it.
    last, told = watching(left, left, at_work, at_work, left)
    assert last is left
    assert "Nothing goes on here any more" in told


def test_watching_ends_when_only_failures_are_left(spolia, sweep_file, tmp_path, watching):
    file = sweep_file(f"product(Faulty.grid(how='undeclared'), {DIGITS})")
    spolia("run", file, *QUICK)
    failed = Session(file, home=tmp_path / "spolia-home").status()
    assert not failed.can_go_on
    # A run that is at work tries it again.
    assert watching(replace(failed, is_at_work=True), failed)[0] is failed


def test_a_status_says_whether_a_run_is_at_work(ran, tmp_path):
    session = Session(ran, home=tmp_path / "spolia-home")
    assert not session.status().is_at_work
    with alive(session.store):
        assert session.status().is_at_work


# ---------------------------------------------------------------------- results


def test_the_best_of_each_metric_is_marked(spolia, ran):
    out = spolia("results", ran)[1]
    starred = [line for line in out.splitlines() if "*" in line]
    assert "4.000 ±0.000*" in " ".join(starred)
    assert "2.000 ±0.000*" not in out
    assert "* is the best mean of its metric: no test, see claims." in " ".join(out.split())


def test_rows_are_sorted_and_columns_chosen(spolia, ran):
    out = spolia("results", ran, "--sort", "total", "--columns", "total")[1]
    rows = [line.split() for line in out.splitlines() if "±" in line and line[0].isdigit()]
    assert [row[0] for row in rows] == ["2", "1"]
    code, _, err = spolia("results", ran, "--columns", "totl")
    assert (code, "Did you mean 'total'?" in err) == (2, True)
    assert spolia("results", ran, "--sort", "totl")[0] == 2


def test_means_for_other_programs_are_those_of_the_frame(spolia, ran, tmp_path):
    code, out, _ = spolia("results", ran, "--format", "csv", "--sort", "total")
    means = Session(ran, home=tmp_path / "spolia-home").results().means(["total"])
    read = pd.read_csv(io.StringIO(out))
    assert (code, list(read["total"])) == (0, sorted(means["total"], reverse=True))
    code, out, _ = spolia("results", ran, "--format", "markdown")
    heads, rule, *rows = [line.strip("| \n").split(" | ") for line in out.splitlines()]
    assert (code, heads[0], set(rule), len(rows)) == (0, "number", {"---", "---:"}, 2)


def test_the_matrices_that_are_shown_differ_in_one_axis_only():
    def panel(**labels):
        return Panel("", labels, None, "m")

    panels = [panel(a=a, b=b) for a in range(3) for b in range(2)]
    shown = comparable(panels, 4)
    assert [one.labels for one in shown] == [{"a": a, "b": 0} for a in range(3)]
    assert comparable(panels[:4], 4) == panels[:4]
    many = [panel(a=a) for a in range(9)]
    assert [one.labels["a"] for one in comparable(many, 4)] == [0, 3, 5, 8]


def test_a_method_without_a_headline_shows_all_of_its_metrics(spolia, ran, monkeypatch):
    plain = tuple(replace(metric, headline=False) for metric in Count.metrics)
    monkeypatch.setattr(Count, "metrics", plain)
    _, out, _ = spolia("results", ran)
    heads = next(line for line in out.splitlines() if line.startswith("number"))
    assert [one.name for one in plain if one.name in heads] == [one.name for one in plain], out


def test_what_is_known_of_a_trial_is_shown_where_its_method_may_not_be_imported(
    spolia, ran, monkeypatch
):
    key = json.loads(spolia("list", ran, "--json", "--role", "cell")[1])[0]["key"]

    def refuse(*_):
        raise PlanError("sample_methods:Count is not loaded")

    monkeypatch.setattr(trial_log.Trial, "from_json", refuse)
    code, out, err = spolia("logs", key)
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == [key, "count  seed 0"]
    assert "depth = 1" in out


def test_what_a_method_that_is_not_here_kept_is_loaded_once_its_module_is_imported(
    spolia, sweep_file, monkeypatch
):
    """The command that loads it says so."""
    file = sweep_file(
        "product(FineTune.grid(epochs=1), network=resnet8(width=4), "
        "tasks=digits.classes(0, 1).images(limit=40), seed=0)"
    )
    spolia("run", file, *QUICK)
    key = json.loads(spolia("list", file, "--json")[1])[0]["key"]
    assert "In Python: Component.open(" in spolia("logs", key)[1]

    def refuse(*_):
        raise PlanError("methods.fine_tune:FineTune is not loaded")

    monkeypatch.setattr(trial_log.Trial, "from_json", refuse)
    assert "In Python: import methods.fine_tune; Component.open(" in spolia("logs", key)[1]
