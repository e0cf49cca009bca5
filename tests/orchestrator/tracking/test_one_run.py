"""Which run in MLflow stands for a trial: one at a time, the same as long as the result is, and of
this store alone.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time

import pytest

from orchestrator import Store, load_sweep, make_plan
from orchestrator.store.code import Code
from orchestrator.tracking.manifest import manifest
from orchestrator.training.execute import execute

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning"),
]  # MLflow's own dependencies warn

NOTHING = {"artifacts": [], "note": "", "counts": {}, "status": "FINISHED", "ended": None}


@pytest.fixture
def address(fresh_database, tmp_path):
    return fresh_database(tmp_path / "m.db")


@pytest.fixture
def plan(store, sweep_file):
    """Two cells that wait to be run."""
    name, sweep = load_sweep(sweep_file("product(Count.grid(), seed=range(2))", 2))
    return make_plan(name, sweep, store)


@pytest.fixture
def tracker(plan, store, address, tmp_path):
    return made(plan, store, address, tmp_path)


def made(plan, store, address, folder):
    """A tracker in this process; nothing more will be said, and it asks for a second again."""
    from orchestrator.tracking.levelling import Tracker
    from orchestrator.tracking.patience import Patience

    is_last = threading.Event()
    is_last.set()
    described = manifest(plan, store, address, (folder / "art").as_uri())
    return Tracker(described, Patience(is_last, 1.0))


def runs(tracker, role="cell"):
    """The runs that a person sees."""
    found = tracker.client.search_runs([tracker.experiment], f"tags.`spolia.role` = '{role}'")
    return list(found)


def history(tracker, run, name):
    return [p.step for p in tracker.client.get_metric_history(run.info.run_id, name)]


def progress(store, key, began, num_points, moved=0.0):
    """What a trial under way leaves: a point a second, those from the third on `moved` in time."""
    points = [
        ["s/loss", step, 1.0 / step, began + step + (moved if step > 2 else 0.0)]
        for step in range(1, num_points + 1)
    ]
    told = {"key": key, "began": began, "time": time.time(), "curves": points}
    store.put_progress(key, {**told, "stage": "s", "epoch": num_points, "epochs": 9})


def look(tracker, key):
    """Look at a trial under way now."""
    tracker.followed[key] = -1e9
    tracker.write_live()


def test_a_live_curve_is_sent_point_by_point(tracker, store, plan, monkeypatch):
    key = plan.cells[0].trial.key
    sent = []
    log_batch = tracker.client.log_batch

    def counting(run_id, metrics=(), **others):
        sent.append([metric.step for metric in metrics])
        return log_batch(run_id, metrics=metrics, **others)

    monkeypatch.setattr(tracker.client, "log_batch", counting)
    for num_points in (2, 5, 5):
        progress(store, key, 5.0, num_points)
        look(tracker, key)
    assert sent == [[], [1, 2], [3, 4, 5]]  # the params of its setting before
    (run,) = runs(tracker)
    assert (run.info.status, run.data.params["number"]) == ("RUNNING", "1")


def test_who_takes_over_goes_on_with_the_run_that_is_there(tracker, store, plan, address, tmp_path):
    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 2)
    look(tracker, key)
    (before,) = runs(tracker)
    later = made(plan, store, address, tmp_path)
    progress(store, key, 5.0, 3)
    look(later, key)
    (after,) = runs(later)
    assert after.info.run_id == before.info.run_id
    assert history(later, after, "s/loss") == [1, 2, 3]


def test_epochs_that_a_resumed_try_does_again_are_not_there_twice(tracker, store, plan):
    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 4)
    look(tracker, key)
    # It was killed, went on from a checkpoint after two epochs, and does the third again.
    progress(store, key, 5.0, 4, moved=100.0)
    look(tracker, key)
    (run,) = runs(tracker)
    assert history(tracker, run, "s/loss") == [1, 2, 3, 4]


def test_an_interrupted_run_does_not_stay_beside_the_finished_one(
    tracker, store, plan, address, tmp_path
):
    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 4)
    look(tracker, key)
    tracker.close({**NOTHING, "status": "KILLED"})
    (killed,) = runs(tracker)
    assert killed.info.status == "KILLED"
    assert execute(plan.cells[0].trial, store).kind == "done"
    later = made(plan, store, address, tmp_path)
    later.write([key])
    (run,) = runs(later)
    assert (run.info.status, "s/loss" in run.data.metrics) == ("FINISHED", False)
    old = later.client.get_run(killed.info.run_id)
    assert old.data.tags["spolia.replaced_by"] == run.info.run_id


def test_a_result_that_is_written_again_keeps_its_run(tracker, store, plan, address, tmp_path):
    keys = [cell.trial.key for cell in plan.cells]
    for cell in plan.cells:
        execute(cell.trial, store)
    tracker.write(keys)
    before = [run.to_dictionary() for run in runs(tracker)]
    # One of them half: its writer was killed before its end.
    tracker.client.update_run(before[0]["info"]["run_id"], status="RUNNING")
    later = made(plan, store, address, tmp_path)
    later.write(keys)
    assert [run.to_dictionary() for run in runs(later)] == before
    assert len(later.written) == 1


@pytest.mark.usefixtures("written_here")
def test_a_result_that_was_replaced_has_a_new_run_and_the_old_one_says_which(
    spolia, sweep_file, tmp_path, monkeypatch
):
    from mlflow import MlflowClient

    def only_cell():
        (experiment,) = [e for e in client.search_experiments() if e.name == "asked"]
        (run,) = client.search_runs(
            [experiment.experiment_id], filter_string="tags.`spolia.role` = 'cell'"
        )
        return run

    file = sweep_file("product(Count.grid(), seed=0)")
    address = f"sqlite:///{tmp_path}/m.db"
    run_again = ("run", file, "--tracking", address, "--executor", "inline", "--stale", "rerun")
    assert spolia(*run_again)[0] == 0
    client = MlflowClient(address)
    before = only_cell()
    monkeypatch.setattr("orchestrator.planning.history.code_of", lambda trial: Code({"a": "1"}))
    assert spolia(*run_again)[0] == 0
    after = only_cell()
    assert after.info.run_id != before.info.run_id
    old = client.get_run(before.info.run_id)
    assert old.data.tags["spolia.replaced_by"] == after.info.run_id
    assert old.data.metrics == before.data.metrics


def test_a_rerun_that_fails_leaves_the_run_of_the_result_that_stands(tracker, store, plan):
    trial = plan.cells[0].trial
    execute(trial, store)
    tracker.write([trial.key])
    store.put_failure(trial.key, {"time": time.time(), "reason": "broken", "traceback": "..."})
    tracker.write_failure(trial.key)
    (run,) = runs(tracker)
    assert (run.info.status, "spolia.reason" in run.data.tags) == ("FINISHED", False)


def test_a_try_that_fails_before_our_eyes_keeps_its_curve(tracker, store, plan):
    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 2)
    look(tracker, key)
    store.put_failure(key, {"time": 9.0, "reason": "broken", "traceback": "..."})
    for _ in range(2):
        tracker.write_failure(key)
    (run,) = runs(tracker)
    assert (run.info.status, run.info.end_time) == ("FAILED", 9000)
    assert history(tracker, run, "s/loss") == [1, 2]


def test_two_stores_with_one_server_and_one_sweep_name_never_touch_each_others_runs(
    plan, tracker, store, address, tmp_path
):
    """Anna and Ben both write `asked`; Ben closes while a trial of Anna's is under way."""
    of_ben = Store(tmp_path / "ben")
    of_ben.prepare()
    for cell in plan.cells:
        execute(cell.trial, of_ben)
    execute(plan.cells[0].trial, store)
    tracker.write([plan.cells[0].trial.key])
    progress(store, plan.cells[1].trial.key, 5.0, 2)
    look(tracker, plan.cells[1].trial.key)
    of_anna = {run.info.run_id: run.to_dictionary() for run in runs(tracker)}
    assert len(of_anna) == 2

    ben = made(plan, of_ben, address, tmp_path)
    ben.write([cell.trial.key for cell in plan.cells])
    ben.close({**NOTHING, "status": "FINISHED"})
    now = {run.info.run_id: run for run in runs(ben)}
    assert len(now) == 4
    assert {run_id: now[run_id].to_dictionary() for run_id in of_anna} == of_anna
    stores = [run.data.tags["spolia.store"] for run in runs(ben, "sweep")]
    assert sorted(stores) == sorted([store.identity(), of_ben.identity()])

    again = made(plan, store, address, tmp_path)
    again.write([plan.cells[0].trial.key])
    assert not again.written
    assert len(runs(again)) == 4


def test_what_another_driver_runs_in_this_store_goes_on(tracker, store, plan, address, tmp_path):
    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 2)
    look(tracker, key)
    made(plan, store, address, tmp_path).close(NOTHING)
    (run,) = runs(tracker)
    assert run.info.status == "RUNNING"


def test_a_driver_that_died_leaves_nothing_running(plan, store, address, tmp_path):
    import json

    from orchestrator.tracking.process import report_on

    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 2)
    described = manifest(plan, store, address, (tmp_path / "art").as_uri())

    def stream():
        yield json.dumps(described)
        yield json.dumps({"started": key})

    assert report_on(stream()) == (0, "")
    tracker = made(plan, store, address, tmp_path)
    (run,) = runs(tracker, "sweep")
    assert run.info.status == "KILLED"


def test_what_mlflow_refuses_is_told_and_all_else_is_written(tracker, store, plan, monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    keys = [cell.trial.key for cell in plan.cells]
    for cell in plan.cells:
        execute(cell.trial, store)
    create_run, asked = tracker.client.create_run, []

    def refusing(experiment, start_time, tags):
        if tags.get("spolia.key") == keys[0]:
            asked.append(tags)
            raise MlflowException("a strange tag", INVALID_PARAMETER_VALUE)
        return create_run(experiment, start_time, tags)

    monkeypatch.setattr(tracker.client, "create_run", refusing)
    tracker.write(keys)
    assert tracker.refused == {keys[0]: "MlflowException: a strange tag"}
    assert len(asked) == 3
    assert [run.data.tags["spolia.key"] for run in runs(tracker)] == [keys[1]]


def test_a_run_whose_end_was_heard_and_not_answered_counts_as_written(
    tracker, store, plan, monkeypatch
):
    from mlflow.exceptions import MlflowException

    execute(plan.cells[0].trial, store)
    end = tracker.client.set_terminated

    def unanswered(*arguments, **others):
        end(*arguments, **others)
        monkeypatch.undo()
        raise MlflowException("the connection broke")

    monkeypatch.setattr(tracker.client, "set_terminated", unanswered)
    tracker.write([plan.cells[0].trial.key])
    assert len(tracker.written) == 1


def test_a_run_over_which_mlflow_stumbles_each_time_does_not_keep_the_others(
    tracker, store, plan, monkeypatch
):
    from mlflow.exceptions import MlflowException

    from orchestrator.tracking import patience

    keys = [cell.trial.key for cell in plan.cells]
    for cell in plan.cells:
        execute(cell.trial, store)
    create_run = tracker.client.create_run

    def stumbling(experiment, start_time, tags):
        if tags.get("spolia.key") == keys[0]:
            raise MlflowException("internal error")
        return create_run(experiment, start_time, tags)

    monkeypatch.setattr(patience, "STUBBORN", 2)
    monkeypatch.setattr(tracker.client, "create_run", stumbling)
    # The driver may say more, so that an outage would be waited for.
    tracker.patience._is_last = threading.Event()
    tracker.write(keys)
    assert tracker.refused == {keys[0]: "MlflowException: internal error"}
    assert [run.data.tags["spolia.key"] for run in runs(tracker)] == [keys[1]]


def test_a_request_that_was_heard_and_not_answered_makes_no_second_run(
    tracker, store, plan, monkeypatch
):
    from mlflow.exceptions import MlflowException

    execute(plan.cells[0].trial, store)
    create_run, asked = tracker.client.create_run, {}

    def unanswered(*arguments):
        made = create_run(*arguments)
        if made.data.tags["spolia.role"] not in asked:
            asked[made.data.tags["spolia.role"]] = made.info.run_id
            raise MlflowException("the connection broke")
        return made

    monkeypatch.setattr(tracker.client, "create_run", unanswered)
    tracker.write([plan.cells[0].trial.key])
    tracker.write_settings("FINISHED")
    for role in ("setting", "cell"):
        (run,) = runs(tracker, role)
        assert (run.info.status, run.info.run_id) == ("FINISHED", asked[role])


def _first_when_trials_have_ended(inbox):
    assert inbox.trials_have_ended.wait(60)
    return inbox._messages.get()


@pytest.mark.process
@pytest.mark.long
def test_many_runs_that_wait_are_written_by_several_processes(
    sweep_file, store, address, tmp_path, monkeypatch
):
    import json

    from orchestrator.tracking import helpers, process

    monkeypatch.setattr(helpers, "FROM", 4)
    monkeypatch.setattr(helpers, "AT_ONCE", 2)
    monkeypatch.setattr(helpers, "MOST", 2)
    name, sweep = load_sweep(sweep_file("product(Count.grid(), seed=range(6))", 6))
    plan = make_plan(name, sweep, store)
    for cell in plan.cells:
        execute(cell.trial, store)
    asked = []
    monkeypatch.setattr(process.Tracker, "_write_run", lambda *_: asked.append(1))
    lines = [manifest(plan, store, address, (tmp_path / "art").as_uri())]
    lines += [{"finished": cell.trial.key} for cell in plan.cells]
    have_begun = threading.Event()
    begin = helpers.Helpers.begin

    def stream():
        yield from (json.dumps(line) for line in [*lines, {"trials_ended": True}])
        assert have_begun.wait(60)  # before the driver has made its tables
        yield json.dumps({"summary": NOTHING})

    def noted(*given):
        begin(*given)
        have_begun.set()

    monkeypatch.setattr(helpers.Helpers, "begin", noted)
    monkeypatch.setattr(process.Inbox, "first", _first_when_trials_have_ended)
    assert process.report_on(stream(), with_helpers=True) == (6, "")
    assert asked == []  # this process had nothing to write itself
    # It wrote ahead, and is as it was: without a second file, and for folders of any kind.
    with contextlib.closing(sqlite3.connect(address.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    monkeypatch.undo()
    tracker = made(plan, store, address, tmp_path)
    tracker.write([cell.trial.key for cell in plan.cells])
    assert (len(runs(tracker)), tracker.written) == (6, set())


def test_a_replaced_run_goes_out_of_sight_though_nobody_heard_that_it_was_to_be_deleted(
    tracker, store, plan, monkeypatch
):
    from mlflow.exceptions import MlflowException

    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 2)
    look(tracker, key)
    (old,) = runs(tracker)

    def unheard(run_id):
        monkeypatch.undo()
        raise MlflowException("the connection broke")

    monkeypatch.setattr(tracker.client, "delete_run", unheard)
    assert execute(plan.cells[0].trial, store).kind == "done"
    tracker.write([key])
    (run,) = runs(tracker)
    assert (run.info.status, run.info.run_id != old.info.run_id) == ("FINISHED", True)
    gone = tracker.client.get_run(old.info.run_id)
    assert (gone.info.lifecycle_stage, gone.info.status) == ("deleted", "KILLED")


def test_an_experiment_that_was_deleted_comes_back_without_the_runs_that_were_replaced(
    tracker, store, plan, address, tmp_path
):
    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 2)
    look(tracker, key)
    execute(plan.cells[0].trial, store)
    tracker.write([key])
    (before,) = runs(tracker)
    # MLflow restores all runs of an experiment with it.
    tracker.client.delete_experiment(tracker.experiment)
    again = made(plan, store, address, tmp_path)
    again.write([key])
    assert [run.info.run_id for run in runs(again)] == [before.info.run_id]
    assert not again.written


def test_a_resumed_try_of_a_sweep_that_has_grown_since_is_written_with_the_params_of_today(
    tracker, store, plan, address, tmp_path
):
    key = plan.cells[0].trial.key
    progress(store, key, 5.0, 2)
    look(tracker, key)
    (old,) = runs(tracker)
    later = made(plan, store, address, tmp_path)
    for entry in later.entries[key]:
        entry["params"]["number"] = "1 (of two)"  # a value that needs more words beside another
    progress(store, key, 5.0, 3)
    look(later, key)
    (run,) = runs(later)
    assert (run.data.params["number"], not later.refused) == ("1 (of two)", True)
    assert run.info.run_id != old.info.run_id


def test_a_run_of_the_sweep_that_somebody_deletes_meanwhile_is_made_anew(tracker, store, plan):
    keys = [cell.trial.key for cell in plan.cells]
    for cell in plan.cells:
        execute(cell.trial, store)
    tracker.write(keys[:1])
    gone = tracker.sweep_run.run_id
    tracker.client.delete_run(gone)
    tracker.write(keys[1:])
    tracker.close({**NOTHING, "note": "how it stands"})
    assert not tracker.refused
    (sweep,) = runs(tracker, "sweep")
    assert (sweep.info.run_id != gone, sweep.info.status) == (True, "FINISHED")
    assert sweep.data.tags["mlflow.note.content"] == "how it stands"


def test_artifacts_that_nobody_takes_do_not_keep_other_runs(tracker, store, plan, monkeypatch):
    """What keeps them may be a bucket, whose client has errors of its own."""
    from orchestrator.tracking import patience
    from orchestrator.tracking.runs import Runs

    keys = [cell.trial.key for cell in plan.cells]
    for cell in plan.cells:
        execute(cell.trial, store)
    place_of = Runs._place

    class NoCredentialsError(Exception):
        pass

    def place(self, run):
        if run.tags.get("spolia.key") == keys[0]:
            raise NoCredentialsError("unable to locate credentials")
        return place_of(self, run)

    monkeypatch.setattr(patience, "STUBBORN", 2)
    monkeypatch.setattr(Runs, "_place", place)
    tracker.patience._is_last = threading.Event()  # the driver may say more
    tracker.write(keys)
    why = "ArtifactsError: NoCredentialsError: unable to locate credentials"
    assert tracker.refused == {keys[0]: why}
    finished = [run for run in runs(tracker) if run.info.status == "FINISHED"]
    assert [run.data.tags["spolia.key"] for run in finished] == [keys[1]]
    # At the end once more: it may have been a part of MLflow that was away.
    monkeypatch.undo()
    tracker.close(NOTHING)
    assert not tracker.refused
    assert {run.info.status for run in runs(tracker)} == {"FINISHED"}


def test_files_that_went_away_with_whoever_made_them_do_not_keep_the_sweep_open(tracker, tmp_path):
    tracker.close({**NOTHING, "artifacts": [str(tmp_path / "gone/report.html")]})
    (sweep,) = runs(tracker, "sweep")
    assert sweep.info.status == "FINISHED"


def test_a_run_says_whose_it_is(tracker, store, plan, monkeypatch, address, tmp_path):
    monkeypatch.setenv("LOGNAME", "anna")
    later = made(plan, store, address, tmp_path)
    execute(plan.cells[0].trial, store)
    later.write([plan.cells[0].trial.key])
    (run,) = runs(later)
    assert run.data.tags["mlflow.user"] == "anna"


def test_a_run_that_is_asked_for_again_is_known_to_other_threads_meanwhile(
    tracker, store, plan, monkeypatch
):
    """Four of them write, and all cells of a setting stand below one run."""
    execute(plan.cells[0].trial, store)
    tracker.write([plan.cells[0].trial.key])
    (setting,) = tracker.manifest["settings"]
    search, seen = tracker.client.search_runs, []

    def watched(*arguments, **others):
        seen.append(tracker.runs.get(setting["id"]))
        return search(*arguments, **others)

    monkeypatch.setattr(tracker.client, "search_runs", watched)
    tracker.runs.look_again(setting["id"])
    assert [run is not None for run in seen] == [True]


def test_a_setting_that_somebody_deletes_meanwhile_is_made_anew_for_its_cells(
    tracker, store, plan, monkeypatch
):
    from mlflow.exceptions import MlflowException

    keys = [cell.trial.key for cell in plan.cells]
    for cell in plan.cells:
        execute(cell.trial, store)
    tracker.write(keys[:1])
    (old,) = runs(tracker, "setting")
    tracker.client.delete_run(old.info.run_id)

    def unheard(*arguments):
        monkeypatch.undo()  # once: then it is looked for
        raise MlflowException("the connection broke")

    monkeypatch.setattr(tracker.client, "create_run", unheard)
    tracker.write(keys[1:])
    tracker.close(NOTHING)
    assert not tracker.refused
    (setting,) = runs(tracker, "setting")
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs(tracker)}
    assert (setting.data.metrics["n"], parents) == (2, {setting.info.run_id})


def test_a_part_of_no_task_is_no_model_and_keeps_nobody(store, address, sweep_file, tmp_path):
    name, sweep = load_sweep(sweep_file("product(Taskless.grid(), seed=0)"))
    plan = make_plan(name, sweep, store)
    (cell,) = plan.cells
    assert execute(cell.trial, store).kind == "done"
    tracker = made(plan, store, address, tmp_path)
    tracker.write([cell.trial.key])
    (run,) = runs(tracker)
    assert (run.info.status, tracker.refused) == ("FINISHED", {})
