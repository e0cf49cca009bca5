"""A session: each of its methods, on small sweeps."""

from __future__ import annotations

import gc
import io
import os
import threading
from functools import partial
from pathlib import Path

import pytest
from sample_methods import Count, Ending, Faulty, Named, Noisy, OneBase, Seedless

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import (
    InputError,
    Session,
    StoreError,
    Sweep,
    data_root,
    digits,
    image_folder,
    make_plan,
    product,
    union,
)
from orchestrator.data.root import reading_from
from orchestrator.planning.queue import Queue
from orchestrator.session.display import LineDisplay, Tally
from orchestrator.training.outcome import Outcome

DIGITS = {"network": resnet8(width=4), "tasks": digits.classes(0, 1).images(limit=40)}


def counting(seeds=3, **more):
    cells = product(Count.grid(number=[1.0, 2.0], depth=1), seed=range(seeds), **more)
    return Sweep(question="How many?", cells=cells, expect=2 * seeds)


def sweep_of_far():
    """A data set that is in none of the folders."""
    cells = product(Seedless.grid(), tasks=image_folder("far"))
    return Sweep(question="?", cells=cells, expect=1)


def session_in(folder, sweep, name="asked"):
    return Session(sweep, name=name, home=folder / "home", tracking="none")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A session whose sweep has been run, with its summary."""
    session = session_in(tmp_path_factory.mktemp("ran"), counting())
    return session, session.run(executor="inline")


# ---------------------------------------------------------------------- what it is of


def test_a_sweep_file_is_called_as_the_file_is(sweep_file, tmp_path):
    session = Session(sweep_file("product(Count.grid(), seed=0)"), home=tmp_path / "home")
    assert (session.name, len(session.sweep.cells)) == ("asked", 1)
    assert session.store.address == str(tmp_path / "home/store")
    assert "asked, 1 cells" in repr(session)


def test_a_sweep_without_a_file_needs_a_name():
    with pytest.raises(InputError, match="name='my_sweep'"):
        Session(counting())


def test_a_sweep_without_a_file_takes_no_name_from_a_file(sweep_file, tmp_path):
    file = sweep_file("product(Count.grid(), seed=0)")
    from_file = Session(file, home=tmp_path / "home", tracking="none")
    from_file.prepare(executor="inline", display=LineDisplay(io.StringIO()))
    by_hand = session_in(tmp_path, counting())
    with pytest.raises(InputError, match=r"a sweep file is called 'asked': .*asked\.py"):
        by_hand.prepare(executor="inline", display=LineDisplay(io.StringIO()))
    file.unlink()
    assert by_hand.prepare(executor="inline", display=LineDisplay(io.StringIO())).todo


def test_nothing_is_written_under_a_name_that_a_file_has(sweep_file, tmp_path):
    file = sweep_file("product(Count.grid(number=[1.0, 2.0], depth=1), seed=range(3))", 6)
    from_file = Session(file, home=tmp_path / "home", tracking="none")
    from_file.run(executor="inline", display=LineDisplay(io.StringIO()))
    by_hand = Session(counting(), name="asked", home=tmp_path / "home")
    for write in (by_hand.report, by_hand.track):
        with pytest.raises(InputError, match="a sweep file is called 'asked'"):
            write()
    assert by_hand.report(tmp_path / "mine.html").is_file()


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "two words", 3])
def test_a_name_is_one_that_files_can_have(name):
    with pytest.raises(InputError, match="name="):
        Session(counting(), name=name)


@pytest.mark.parametrize("limit", [0, -1, "x", 1.5])
def test_a_limit_is_a_number_of_cells(tmp_path, limit):
    with pytest.raises(InputError, match=f"limit={limit!r}: how many cells"):
        session_in(tmp_path, counting()).run(executor="inline", limit=limit)


@pytest.mark.parametrize("sweep", ["", [], 3, ("asked", counting())])
def test_a_session_is_of_a_file_or_a_sweep(sweep):
    with pytest.raises(InputError, match=r"Session\(\.\.\.\) takes a sweep file"):
        Session(sweep)


@pytest.mark.parametrize("key", [None, 3, {"split": "pool"}])
def test_a_trial_is_named_by_its_key_or_its_row(ran, key):
    session, _ = ran
    for ask in (session.open, session.log, session.explain):
        with pytest.raises(InputError, match="by how its key begins, or by a row of trials"):
            ask(key)
    row = session.trials()[0]
    assert session.explain(row).trial.key == row.key


def test_labels_are_a_mapping(ran):
    with pytest.raises(InputError, match="where='number=1': write axes with their values"):
        ran[0].trials(where="number=1")


def test_a_session_reads_from_its_own_data(tmp_path, monkeypatch):
    """Whichever was made last, and whatever the user has set stays."""
    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path / "users"))
    (tmp_path / "spolia.toml").write_text('data = "of_site"')
    far = sweep_of_far()

    def looks_in(session):
        (missing,) = session.status().missing
        return next(word for word in ("first", "second", "users", "site") if word in missing.reason)

    def made(**options):
        return Session(far, name="far", home=tmp_path / "home", tracking="none", **options)

    first, second = made(data=tmp_path / "first"), made(data=tmp_path / "second")
    users = made(site=tmp_path / "spolia.toml")
    assert [looks_in(one) for one in (first, second, users)] == ["first", "second", "users"]
    monkeypatch.delenv("SPOLIA_DATA")
    made(data=tmp_path / "first")
    assert looks_in(made(site=tmp_path / "spolia.toml")) == "site"
    assert data_root() == tmp_path / "of_site"  # of the session made last, where none is at work


def test_a_session_without_data_has_none_of_the_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPOLIA_DATA", "")
    Session(sweep_of_far(), name="far", home=tmp_path, data=tmp_path / "first")
    assert data_root() == tmp_path / "first"
    (missing,) = Session(sweep_of_far(), name="far", home=tmp_path).status().missing
    assert "pass data='FOLDER' or set SPOLIA_DATA" in missing.reason


def test_what_is_no_session_leaves_no_data_folder_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_DATA", "mine")
    with pytest.raises(InputError):
        Session(tmp_path / "none.py", data=tmp_path / "theirs")
    assert str(data_root()) == "mine"


def test_two_sessions_at_work_in_two_threads_read_each_from_its_own(monkeypatch):
    monkeypatch.setenv("SPOLIA_DATA", "mine")
    seen = {}
    second_began, first_ended = threading.Event(), threading.Event()

    def first():
        with reading_from("first"):
            second_began.wait(10)
            seen["first"] = str(data_root())
        first_ended.set()

    thread = threading.Thread(target=first)
    thread.start()
    with reading_from("second"):
        second_began.set()
        first_ended.wait(10)
        seen["second"] = str(data_root())
        seen["variable"] = os.environ["SPOLIA_DATA"]  # for processes that are started meanwhile
    thread.join()
    assert seen == {"first": "first", "second": "second", "variable": "second"}
    assert os.environ["SPOLIA_DATA"] == "mine"


def test_a_session_without_a_sweep_opens_results_and_plans_nothing(ran):
    session, _ = ran
    store_only = Session(store=session.store)
    with pytest.raises(
        InputError, match=r"Session\(store=...\) takes a folder or an address, not a"
    ):
        Session(store=session)
    key = session.trials()[0].key
    assert store_only.open(key[:12]).key == key
    with pytest.raises(InputError, match="this session has no sweep"):
        store_only.plan()
    with pytest.raises(StoreError, match="begins with 'zz'"):
        store_only.open("zz")


def test_a_part_is_named_by_text_or_by_a_mapping(tmp_path):
    session = session_in(tmp_path, counting())
    by_text = session.plan("number=2 seed=0,1")
    by_mapping = session.plan({"number": 2, "seed": [0, 1]})
    assert by_text.cells == by_mapping.cells
    assert (len(by_text.cells), by_text.num_whole) == (2, 6)
    with pytest.raises(InputError, match=r"no axis 'numbr'.*\n.*seed is never 9"):
        session.plan({"numbr": 2, "seed": 9})


def test_a_part_without_an_axis_is_named_by_a_dash_in_text_and_mapping(tmp_path):
    cells = product(union(Noisy.grid(level=[1.0, 2.0]), OneBase.grid()), seed=0)
    session = session_in(tmp_path, Sweep(cells=cells, expect=3))
    for only in ("level=-", {"level": "-"}):
        assert [one.labels["method"] for one in session.plan(only).cells] == ["one_base"]


# ---------------------------------------------------------------------- run


def test_a_run_leaves_results_and_says_so(ran):
    _, summary = ran
    assert (summary.is_complete, summary.num_executed, summary.problems) == (True, 12, ())
    assert repr(summary) == "asked: 6 of 6 cells done; 12 of 12 trials done; 12 run now"
    assert "12 run now" in summary._repr_html_()
    assert all(path.is_file() for path in summary.tables)


def test_a_run_goes_on_where_the_last_one_stopped(tmp_path):
    session = session_in(tmp_path, counting())
    assert session.run(executor="inline", limit=1).plan.cell_counts == {"done": 1}
    assert session.run({"number": 1}, executor="inline").num_executed == 4
    assert session.run(executor="inline").num_executed == 6
    assert session.run(executor="inline").num_executed == 0


def test_what_fails_is_in_the_summary_and_in_the_status(tmp_path):
    cells = union(
        product(Faulty.grid(how="raise"), seed=[0], **DIGITS), product(Count.grid(), seed=[0])
    )
    session = session_in(tmp_path, Sweep(cells=cells, expect=2))
    summary = session.run(executor="inline")
    (problem,) = summary.problems
    assert not summary.is_complete
    assert f"failed: {summary.plan.trials[problem.key].label}" in repr(summary)
    status = session.status()
    (failed,) = status.failed
    assert (failed.key, failed.state) == (problem.key, "failed")
    assert failed.reason == "ZeroDivisionError: something in epoch 2"
    assert failed.reason in repr(status)
    assert "second_epoch" in repr(session.log(failed.key))


def test_a_run_that_is_interrupted_keeps_what_is_done(tmp_path, monkeypatch):
    train, calls = Count.train, []

    def interrupted(self, run):
        calls.append(run)
        if len(calls) > 3:
            raise KeyboardInterrupt
        train(self, run)

    monkeypatch.setattr(Count, "train", interrupted)
    session = session_in(tmp_path, counting())
    summary = session.run(executor="inline")
    assert (summary.is_interrupted, summary.is_complete, summary.num_executed) == (True, False, 3)
    assert "Interrupted. What is done is kept" in repr(summary)
    monkeypatch.setattr(Count, "train", train)
    assert session.run(executor="inline").num_executed == 9


@pytest.mark.parametrize("home", ["http://tracker:5000", "s3://bucket/home"])
def test_an_address_is_no_home(home):
    with pytest.raises(InputError, match=r"a home is a folder of this machine.*tracking=\.\.\."):
        Session(counting(), name="asked", home=home)


def test_a_home_that_cannot_be_written_is_told_before_anything_runs(tmp_path):
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(InputError, match=r"home='.*': a home is a folder, and this is a file"):
        Session(counting(), name="asked", home=tmp_path / "home")
    below = tmp_path / "home" / "below"
    session = Session(counting(), name="asked", home=below, store=tmp_path / "store")
    with pytest.raises(StoreError, match="below cannot be written: Not a directory"):
        session.run(executor="inline")
    assert not session.store.exists


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"executor": "rai"}, "executor='rai' is no such choice. Did you mean 'ray'?"),
        ({"stale": "kep"}, "stale='kep' is no such choice. Did you mean 'keep'?"),
        ({"retry": ["failed"]}, "retry='failed' is no such choice."),
        ({"retry": "failed"}, "retry='failed' is no such choice."),
        ({"retry": 5}, "retry=5 is no such choice."),
        ({"only": ""}, "only='': expected axis=value"),
        ({"only": []}, "only=[]: write axes with their values"),
        ({"smoke": True, "limit": 1}, "smoke=True goes without limit=...: a smoke run is of every"),
        ({"smoke": True, "seeds_first": True}, "smoke=True goes without seeds_first=...: a smoke"),
        ({"smoke": True, "checkpoint_every": 0.0}, "goes without checkpoint_every=...: a smoke"),
        ({"slots": 0}, "slots=0: how many trials run at once, a whole number from 1"),
        ({"slots": "2"}, "slots='2'"),
        ({"slots": True}, "slots=True"),
        ({"checkpoint_every": -1}, "checkpoint_every=-1: seconds"),
        ({"checkpoint_every": "often"}, "checkpoint_every='often'"),
        ({"only": 3}, "only=3: write axes with their values"),
        ({"only": "seed=7"}, "only='seed=7' cannot be used"),
    ],
)
def test_a_choice_that_there_is_not_is_told_before_anything_runs(tmp_path, arguments, message):
    session = session_in(tmp_path, counting())
    with pytest.raises(InputError) as told:
        session.run(**{"executor": "inline", **arguments})
    assert message in str(told.value)
    assert not list(session.store.finished())


def test_a_smoke_run_is_gone_when_its_summary_is(tmp_path):
    session = session_in(tmp_path, counting())
    summary = session.run(executor="inline", smoke=True)
    folder = Path(summary.results.store.address)
    assert (summary.is_complete, folder.is_dir()) == (True, True)
    assert not session.store.exists
    del summary
    gc.collect()
    assert not folder.exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_line_says_what_is_prepared_until_a_trial_has_ended(store):
    sweep = counting()
    tally = Tally(Queue(make_plan("asked", sweep, store)))
    tally.preparing = "starting Ray"
    assert tally.line() == "starting Ray · 0 of 12 done"
    tally.ended(Outcome(next(iter(make_plan("asked", sweep, store).trials)), "done"))
    assert tally.line().startswith("0 of 12 done · 0 running")


def test_with_seeds_first_one_seed_of_every_setting_is_run_before_the_next(tmp_path):
    session = session_in(tmp_path, counting())
    session.run(executor="inline", seeds_first=True)
    rows = sorted(session.trials(), key=lambda r: session.open(r).record["timings"]["began"])
    assert [row.values["seed"] for row in rows] == [0] * 4 + [1] * 4 + [2] * 4


def test_the_line_of_a_run_moves_on_a_terminal_and_nothing_is_printed_elsewhere(tmp_path, capsys):
    stream = Terminal()
    session_in(tmp_path / "a", counting()).run(executor="inline", display=LineDisplay(stream))
    *moving, last = stream.getvalue().split("\r")
    assert moving
    assert last.startswith("12 of 12 done · ")
    assert last.rstrip().endswith("/min")
    session_in(tmp_path / "b", counting()).run(executor="inline")
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------------- status and trials


def test_the_status_counts_by_method_and_state(ran, tmp_path):
    open_status = session_in(tmp_path, counting()).status()
    assert not open_status.is_complete
    frame = open_status.frame()
    assert frame.to_dict("records") == [
        {"role": "cell", "method": "count", "done": 0, "open": 6},
        {"role": "need", "method": "count", "done": 0, "open": 6},
    ]
    session, _ = ran
    assert session.status().is_done
    assert repr(session.status()).splitlines() == [
        "asked: 6 of 6 cells done; 12 of 12 trials done",
        "role  method  done",
        "cell  count   6",
        "need  count   6",
    ]
    assert "<td>count</td>" in session.status()._repr_html_()


def test_the_status_shows_what_is_under_way(tmp_path):
    session = session_in(tmp_path, counting())
    key = session.trials()[0].key
    now = {"stage": "joint", "epoch": 3, "epochs": 9, "began": 1.0, "time": 2.0}
    session.store.put_progress(key, {"key": key, **now, "curves": []})
    (running,) = session.status().under_way
    assert (running.key, running.stage, running.epoch) == (key, "joint", 3)
    assert "joint, epoch 3 of 9" in repr(session.status())
    assert "under way: joint, epoch 3 of 9" in repr(session.log(key))


def test_trials_are_cells_and_needs_with_keys_that_open(ran):
    session, _ = ran
    trials = session.trials()
    assert [row.role for row in trials] == ["cell"] * 6 + ["need"] * 6
    assert all(session.open(row).outcome == "done" for row in trials[:2])
    assert trials.keys == [row.key for row in trials]
    frame = trials.frame()
    columns = "role key method number seed state seconds label"
    assert list(frame.columns) == columns.split()
    assert frame["number"].tolist()[:6] == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert (frame["state"] == "done").all()
    heads = "role key method number seed state time"
    assert repr(trials).splitlines()[0].split() == heads.split()


def test_labels_in_a_notebook_are_shown_as_they_are(tmp_path):
    cells = product(Named.grid(called=["<b>", "&"]), seed=[0])
    trials = session_in(tmp_path, Sweep(cells=cells, expect=2)).trials()
    assert "<td>&lt;b&gt;</td>" in trials._repr_html_()
    assert "<b>" in repr(trials)


def test_a_trial_without_a_result_says_how_it_stands(tmp_path):
    session = session_in(tmp_path, counting())
    with pytest.raises(StoreError, match=r"count\(.*has no result: it is open"):
        session.open(session.trials()[0])


def test_trials_are_chosen_by_axes_and_by_what_they_are(ran):
    session, _ = ran
    assert len(session.trials({"number": 2, "seed": 0})) == 2
    (need,) = session.trials({"number": 2, "seed": 0, "role": "need"})
    assert session.trials({"key": need.key[:10]})[0] == need
    assert len(session.trials({"state": "open"})) == 0
    with pytest.raises(InputError, match=r"no axis 'sed'\. Did you mean 'seed'"):
        session.trials({"sed": 0})


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"role": "needs"}, "Did you mean 'need'"),
        ({"state": "finished"}, "state 'finished'"),
        ({"method": "nope"}, "Valid: 'count'"),
        ({"key": "zzz"}, "no trial of the sweep has a key that begins 'zzz'"),
    ],
)
def test_what_no_trial_can_be_is_told(ran, where, message):
    with pytest.raises(InputError, match=message):
        ran[0].trials(where=where)


def test_a_method_is_the_trials_own_even_where_cells_differ_in_it(tmp_path):
    cells = product(union(OneBase.grid(), Noisy.grid()), seed=range(2))
    session = session_in(tmp_path, Sweep(cells=cells, expect=4))
    assert [row.role for row in session.trials({"method": "ending"})] == ["need"]
    assert [row.method for row in session.trials({"method": "one_base"})] == ["one_base"] * 2


def test_a_training_has_the_axes_on_which_it_depends_and_no_others(tmp_path):
    cells = product(
        Recombine.grid(
            of=CompatibleFeatures.grid(ingredients=[(), ("rotation",)], split=["stem", "pool"])
        ),
        network=resnet8(width=4),
        tasks=(digits.classes(0, 1, 2).named("a"), digits.classes(0, 1, 3).named("b")),
        seed=[0, 1],
    )
    session = session_in(tmp_path, Sweep(cells=cells, expect=8))
    needs = session.trials({"role": "need"})
    assert {tuple(row.values) for row in needs} == {
        ("ingredients", "seed"),  # trained apart, whatever place they are cut at later
        ("ingredients", "split", "seed"),
    }
    assert {tuple(row.values) for row in session.trials({"split": "pool", "role": "need"})} == {
        ("ingredients", "seed"),
        ("ingredients", "split", "seed"),
    }


# ---------------------------------------------------------------------- results, report, track


def test_results_are_those_of_the_whole_or_of_a_part(ran):
    session, _ = ran
    assert [group.metric("total").mean for group in session.results().groups()] == [2.0, 4.0]
    assert len(session.results({"number": 1}).by_key) == 3


def test_the_report_is_written_beside_the_tables_or_where_it_is_asked_for(ran, tmp_path):
    session, _ = ran
    assert session.report() == session.home.tables("asked") / "report.html"
    assert "How many?" in session.report(tmp_path / "page.html").read_text()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"page.html cannot be written"):
        session.report(tmp_path / "file/page.html")


def test_there_is_no_report_before_there_is_a_result(tmp_path):
    session = session_in(tmp_path, counting())
    with pytest.raises(InputError, match=r"no cell has a result yet \(0 of 6 cells done, 6 open\)"):
        session.report()
    assert not (tmp_path / "home").exists()


def test_nothing_is_tracked_where_nothing_is_to_be(ran):
    session, _ = ran
    with pytest.raises(InputError, match="says to track nothing"):
        session.track()


@pytest.mark.mlflow
@pytest.mark.usefixtures("written_here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning")
def test_tracking_brings_mlflow_level(tmp_path, fresh_database):
    address = fresh_database(tmp_path / "m.db")
    session = Session(counting(), name="asked", home=tmp_path / "home", tracking=address)
    assert session.run(executor="inline").num_tracked == 12
    tracked = session.track()
    assert (tracked.is_level, tracked.num_written) == (True, 0)


# ---------------------------------------------------------------------- compare


def test_two_settings_are_paired_by_seed(ran):
    session, _ = ran
    (gap,) = session.compare({"number": 1}, {"number": 2}).gaps
    assert (gap.metric, gap.difference.mean, gap.n) == ("total", 2.0, 3)
    assert gap.is_beyond_chance
    assert not gap.problems
    shown = repr(session.compare({"number": 2}, {"number": 1}, metric="total"))
    assert "-2.000 ±0.000" in shown


def test_what_is_missing_of_two_settings_is_told(tmp_path):
    session = session_in(tmp_path, counting())
    session.run({"number": 1}, executor="inline")
    session.run({"number": 2, "seed": 0}, executor="inline")
    (gap,) = session.compare({"number": 1}, {"number": 2}).gaps
    assert (gap.n, gap.is_beyond_chance) == (1, False)
    (problem,) = gap.problems
    assert problem.startswith("2 of 3 cells have no total: number=2 seed=1 (open)")
    assert problem in repr(session.compare({"number": 1}, {"number": 2}))


@pytest.mark.parametrize(
    ("first", "second", "metric", "message"),
    [
        ({"numbr": 1}, {"number": 2}, None, "the sweep has no axis 'numbr'. Did you mean 'number'"),
        ({"number": 3}, {"number": 2}, None, "number is never 3"),
        ({"number": 1}, {"number": 1}, None, "are the same cells"),
        ({"seed": 0}, {"seed": 1}, None, "are paired by seed, so no seed can be held against ano"),
        ({"seed": 0, "number": 1}, {"seed": 1, "number": 1}, None, "Two trials can: session.com"),
        (3, 4, None, "named by how its key begins, or by a row of trials(), not by 3"),
        ({"number": 1}, {"number": 2}, "totl", "no method here has a metric 'totl'"),
        ({"number": 1}, {"number": 2}, 3, "metric=3: one metric is compared, by its name"),
        ({"number": 1}, "abc", None, "takes two settings, two keys, or"),
        ({"number": 1}, None, None, "takes two settings, two keys, or"),
    ],
)
def test_settings_that_cannot_be_compared_are_told(ran, first, second, metric, message):
    session, _ = ran
    with pytest.raises(InputError) as told:
        session.compare(first, second, metric=metric)
    assert message in str(told.value)


def test_two_trials_differ_in_fields_and_in_values(ran):
    session, _ = ran
    first, second = session.trials({"seed": 0, "role": "cell"})
    contrast = session.compare(first.key[:12], second)
    (gap,) = contrast.gaps
    assert (gap.first.mean, gap.second.mean, gap.difference.mean, gap.n) == (2.0, 4.0, 2.0, 1)
    assert not gap.is_beyond_chance
    assert "settings.number: - against 2" in repr(contrast)
    assert repr(second).startswith(f"<TrialRow {second.key[:12]}: cell, done: count")
    assert contrast.frame()["difference"].tolist() == [2.0]
    of_results = session.compare(session.open(first), session.open(second))
    assert of_results.frame().equals(contrast.frame())
    with pytest.raises(InputError, match="share no metric 'acuracy'"):
        session.compare(first, second, metric="acuracy")


def test_nothing_is_held_against_itself(ran):
    session, _ = ran
    trial = session.trials({"seed": 0, "role": "cell"})[0]
    with pytest.raises(InputError, match=f"{trial.key[:12]}.* is held against itself"):
        session.compare(trial, trial.key)
    for sides in ([session], [session, session]):
        with pytest.raises(InputError, match=r"both are the same trials. Name another sweep"):
            session.compare(*sides)


def test_what_two_trials_cannot_be_held_against_each_other_in_is_told(tmp_path):
    cells = product(Ending.grid(ways=[("done", "diverged")]), seed=range(2))
    session = session_in(tmp_path, Sweep(cells=cells, expect=2))
    session.run(executor="inline")
    contrast = session.compare(*session.trials())
    # The diverged one logged a score before it did, and never logs a side.
    assert [gap.metric for gap in contrast.gaps] == ["score"]
    assert contrast.notes == (
        "the second is diverged: these are the values that it had logged by then",
        "only the first has side",
    )
    assert contrast.notes[0] in repr(contrast)


def test_two_sweeps_say_in_what_they_differ_beside_their_settings(tmp_path):
    """What is constant in either is no setting, and would be compared in silence."""
    sessions = []
    for level in (1.0, 2.0):
        cells = product(Noisy.grid(level=level), seed=range(2))
        sessions.append(session_in(tmp_path, Sweep(cells=cells, expect=2), f"at_{level:g}"))
        sessions[-1].run(executor="inline")
    contrast = sessions[0].compare(sessions[1])
    assert [gap.at for gap in contrast.gaps] == ["all cells"]
    assert [(one.field, one.words) for one in contrast.differs] == [("settings.level", ("1", "2"))]
    assert "settings.level: 1 against 2" in repr(contrast)


def test_an_explanation_shows_itself_in_a_few_lines(ran):
    session, _ = ran
    key = session.trials({"seed": 0, "role": "cell", "number": 1})[0].key
    explained = session.explain(key)
    first, *others = repr(explained).splitlines()
    assert first.startswith(f"<Explanation {key[:12]}: count")
    assert others[0] == "  done: its result is in the store"
    fields = [one.field for one in explained.differences]
    assert f"which differs in {len(fields)} field" in others[1]
    assert [line.split(":")[0].strip() for line in others[2:]] == fields
    assert f"<td>{fields[0]}</td>" in explained._repr_html_()


def test_two_sweeps_are_compared_where_they_have_the_same_settings(ran, tmp_path):
    session, _ = ran
    cells = product(Count.grid(number=[1.0, 5.0], depth=[1, 2]), seed=range(3))
    other = session_in(tmp_path, Sweep(cells=cells, expect=12), "extended")
    other.run(executor="inline")
    contrast = session.compare(other)
    (gap,) = contrast.gaps
    assert (gap.at, gap.first.mean, gap.difference.mean, gap.n) == ("number=1", 2.0, 0.0, 3)
    assert gap.problems == ()  # the same trials, but each home has run them
    with pytest.raises(
        InputError, match=r"two sweeps share no metric 'totl'. Did you mean 'total'"
    ):
        session.compare(other, metric="totl")
    notes = " ".join(contrast.notes)
    assert "1 setting is in asked in" in notes
    assert "3 settings are in extended in" in notes


def test_one_sweep_in_two_homes_and_with_other_numbers(ran, tmp_path, monkeypatch):
    session, _ = ran
    other = session_in(tmp_path, counting(seeds=4))
    monkeypatch.setattr(Count, "train", lambda self, run: run.log(total=10.0))
    other.run(executor="inline")
    gaps = session.compare(session, other).gaps
    assert [(gap.at, gap.difference.mean, gap.n) for gap in gaps] == [
        ("number=1", 8.0, 3),
        ("number=2", 6.0, 3),
    ]
    assert all("seed is not the same on all sides" in " ".join(gap.problems) for gap in gaps)


@pytest.mark.parametrize("what", ["tables", "note"])
@pytest.mark.parametrize("way", [Session.track, partial(Session.run, executor="inline")])
def test_what_cannot_be_written_leaves_no_process_that_waits(tmp_path, monkeypatch, way, what):
    """Else it writes MLflow beside the next one, or waits as long as a notebook is open."""
    from orchestrator.analysis import summary
    from orchestrator.session import following, running

    finished = []

    class Writer:
        def __init__(self):
            self.finished = set()

        def send(self, message):
            assert not finished

        def finish(self, last):
            finished.append(last)
            return 0, ""

    def full(*given):
        raise OSError("no space left on device")

    for module in (following, running):
        monkeypatch.setattr(module, "start_writer", lambda *given: Writer())
        if what == "tables":
            monkeypatch.setattr(module, "write_tables", full)
    if what == "note":
        monkeypatch.setattr(summary, "summary", full)
    session = Session(counting(), name="asked", home=tmp_path / "home")
    with pytest.raises(OSError, match="no space left"):
        way(session)
    assert finished == [None]
