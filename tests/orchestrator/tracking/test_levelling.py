"""MLflow brought level with the store: after a server's outage, a deleted database, half-written
runs; over HTTP and on SQLite.
"""

from __future__ import annotations

import json
import shutil
import threading
import time

import pytest
from written_here import writing_here

from orchestrator import Store, load_sweep, make_plan
from orchestrator.store.code import Code
from orchestrator.tracking.manifest import manifest
from orchestrator.training.execute import execute

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning"),
]  # MLflow's own dependencies warn
CELLS = (
    "product(union(Count.grid(number=[1, 2], depth=1), Looped.grid(epochs=2)), "
    "tasks=digits.classes(0, 1).images(limit=40).named('t'), seed=range(2))"
)


# What a server keeps its tables in is nothing to a client of its, which speaks HTTP.
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]


@pytest.fixture(autouse=True)
def _home_with_a_database(fresh_database, tmp_path):
    """What a run would make first, which takes MLflow seconds."""
    fresh_database(tmp_path / "home/mlflow.db")


def report_on(stream):
    from orchestrator.tracking import process  # brings MLflow

    return process.report_on(stream)


def client_of(address):
    from mlflow import MlflowClient

    return MlflowClient(address)


def tracker_of(plan, store, address, artifacts, last_tries=0.0):
    """A tracker in this process, whose stream has ended."""
    from orchestrator.tracking.levelling import Tracker
    from orchestrator.tracking.patience import Patience

    is_last = threading.Event()
    is_last.set()
    described = manifest(plan, store, address, artifacts.as_uri())
    return Tracker(described, Patience(is_last, last_tries))


NOTHING = {"artifacts": [], "note": "", "counts": {}, "status": "FINISHED", "ended": None}


def dump(address, folder):
    """Everything that the tracker wrote, field by field, but for what a server chooses itself (ids,
    its own clock) and the parent's times.
    """
    client = client_of(address)
    experiments = [e for e in client.search_experiments() if e.name == "asked"]
    if not experiments:
        return {}
    ids = [experiments[0].experiment_id]
    models = {
        m.model_id: (m.name, sorted(m.tags.items()), sorted(m.params.items()), str(m.status))
        for m in client.search_logged_models(ids)
    }
    found = {}
    for run in client.search_runs(ids, max_results=1000):
        role = run.data.tags["spolia.role"]
        times = (run.info.start_time, run.info.end_time)
        # The sweep's own run has the time of its writing; a setting begins with whichever of its
        # trials is written first, and has been through as many states as there was time for.
        times = {"sweep": (), "setting": times[1:]}.get(role, times)
        tags = {
            k: v for k, v in run.data.tags.items() if k not in ("mlflow.parentRunId", "mlflow.user")
        }
        if role == "setting":
            tags.pop("spolia.try", None)
        points = {
            m: sorted(
                (p.step, p.timestamp, p.value)
                for p in client.get_metric_history(run.info.run_id, m)
            )
            for m in run.data.metrics
            if role != "setting"
        } or dict(run.data.metrics)
        files = sorted(top.path for top in client.list_artifacts(run.info.run_id))
        outputs = (
            sorted(models[o.model_id][0] for o in run.outputs.model_outputs) if run.outputs else []
        )
        assert run.data.tags["spolia.id"] not in found, "two runs of one cell"
        about = (
            run.info.run_name,
            run.info.status,
            role,
            times,
            dict(run.data.params),
            tags,
            points,
            files,
            outputs,
        )
        found[run.data.tags["spolia.id"]] = about
    return {"runs": found, "models": sorted(map(repr, models.values()))}


def lines(plan, store, address, artifacts=None):
    """What a driver tells of a finished sweep, line by line."""
    messages = [manifest(plan, store, address, artifacts)]
    messages += [{"finished": key} for key in plan.trials]
    return [json.dumps(message) for message in [*messages, {"summary": NOTHING}]]


def num_finished(address):
    client = client_of(address)
    experiments = [e.experiment_id for e in client.search_experiments() if e.name == "asked"]
    return len(client.search_runs(experiments, "status = 'FINISHED'", max_results=5000))


def disturb(plan, store, server, num_outages):
    """Write a finished sweep while the server is stopped and started again, so many times."""
    told = lines(plan, store, server.address)

    def stream():
        manifested, *rest, last = told
        yield manifested
        size = -(-len(rest) // num_outages)
        for start in range(0, len(rest), size):
            part = rest[start : start + size]
            yield from part[: size // 2]
            while num_finished(server.address) <= start:  # until it writes of this part
                time.sleep(0.1)
            server.stop()
            yield from part[size // 2 :]
            server.start()
        yield last

    assert report_on(stream()) == (len(plan.trials), "")


@pytest.mark.parametrize("server", DATABASES, indirect=True)
def test_a_server_that_was_away_is_brought_level_without_anybody_doing_anything(
    spolia, sweep_file, tmp_path, server, fresh_database
):
    file = sweep_file(CELLS, 6)
    home = ("--home", tmp_path / "home", "--executor", "inline", "--tracking", "none")
    assert spolia("run", file, *home)[0] == 0
    store = Store(tmp_path / "home/store")
    name, sweep = load_sweep(file)
    plan = make_plan(name, sweep, store)
    disturb(plan, store, server, num_outages=1)
    # As if nothing had happened: the same store written to a database, which is never away.
    reference = fresh_database(tmp_path / "reference.db")
    report = report_on(lines(plan, store, reference, (tmp_path / "art").as_uri()))
    assert report == (10, "")
    assert dump(server.address, tmp_path) == dump(reference, tmp_path)
    again = report_on(lines(plan, store, server.address))
    assert again == (0, "")


@pytest.mark.long
@pytest.mark.parametrize("server", ["sqlite", "postgresql"], indirect=True)
def test_four_hundred_runs_with_two_outages(sweep_file, store, server):
    name, sweep = load_sweep(sweep_file("product(Count.grid(), seed=range(400))", 400))
    plan = make_plan(name, sweep, store)
    for trial in plan.trials.values():
        assert execute(trial, store).kind == "done"
    disturb(plan, store, server, num_outages=2)
    client = client_of(server.address)
    (experiment,) = [e for e in client.search_experiments() if e.name == "asked"]
    runs = client.search_runs([experiment.experiment_id], max_results=5000)
    # With the sweep's run and that of the setting.
    assert len({run.data.tags["spolia.id"] for run in runs}) == len(runs) == 402
    assert {run.info.status for run in runs} == {"FINISHED"}
    cells = [run for run in runs if run.data.tags["spolia.role"] == "cell"]
    assert {run.data.metrics["total"] for run in cells} == {1.0}


def test_a_deleted_database_is_made_anew_as_it_was(spolia, sweep_file, tmp_path):
    file = sweep_file(CELLS, 6)
    home = ("--home", tmp_path / "home")
    with writing_here():
        assert spolia("run", file, *home, "--executor", "inline")[0] == 0
    address = f"sqlite:///{tmp_path}/home/mlflow.db"
    before = dump(address, tmp_path)
    assert len(before["runs"]) == 14  # the sweep, 3 settings, 6 cells, 4 needs
    for path in (tmp_path / "home").glob("mlflow.db*"):
        path.unlink()
    code, out, err = spolia("track", file, *home)
    assert (code, "10 runs written now" in out) == (0, True), err
    # By another name: under the old one this process would go on reading the file it has open.
    shutil.copy(tmp_path / "home/mlflow.db", tmp_path / "new.db")
    assert dump(f"sqlite:///{tmp_path}/new.db", tmp_path) == before


@pytest.mark.usefixtures("written_here")
def test_younger_twins_and_half_written_runs_are_put_right(spolia, sweep_file, tmp_path):
    file = sweep_file("product(Count.grid(), seed=range(2))", 2)
    home = ("--home", tmp_path / "home")
    assert spolia("run", file, *home, "--executor", "inline")[0] == 0
    address = f"sqlite:///{tmp_path}/home/mlflow.db"
    before, client = dump(address, tmp_path), client_of(address)
    (experiment,) = [e for e in client.search_experiments() if e.name == "asked"]
    victim, whole = [
        r
        for r in client.search_runs([experiment.experiment_id])
        if r.data.tags["spolia.role"] == "cell"
    ]
    client.create_run(
        experiment.experiment_id,
        tags={name: whole.data.tags[name] for name in ("spolia.id", "spolia.store", "spolia.role")},
    )
    client.delete_tag(victim.info.run_id, "spolia.result")
    client.update_run(victim.info.run_id, status="RUNNING")
    code, out, err = spolia("track", file, *home)
    assert (code, "1 runs written now" in out) == (0, True), err
    assert dump(address, tmp_path) == before


@pytest.mark.usefixtures("written_here")
def test_a_run_whose_models_were_linked_before_its_writer_died_is_completed(
    spolia, sweep_file, tmp_path
):
    cells = (
        "product(Adopting.grid(), network=resnet8(width=4), "
        "tasks=digits.classes(0, 1).images(limit=40).named('t'), seed=0)"
    )
    file, home = sweep_file(cells), tmp_path / "home"
    address = f"sqlite:///{home / 'mlflow.db'}"
    assert spolia("run", file, "--home", home, "--executor", "inline")[0] == 0
    whole, client = dump(address, tmp_path), client_of(address)
    (experiment,) = [e for e in client.search_experiments() if e.name == "asked"]
    for run in client.search_runs([experiment.experiment_id]):
        # What a run lacks whose writer was killed after its models were linked.
        if "spolia.result" in run.data.tags:
            client.delete_tag(run.info.run_id, "spolia.result")
            client.update_run(run.info.run_id, status="RUNNING")
    code, out, err = spolia("track", file, "--home", home)
    assert (code, "2 runs written now" in out) == (0, True), out + err
    assert dump(address, tmp_path) == whole


def test_curves_of_a_running_trial_are_seen_while_it_runs_and_are_the_same_afterwards(
    store, tmp_path, sweep_file, fresh_database
):
    from orchestrator.training.observation import Reporter

    name, sweep = load_sweep(
        sweep_file(
            "product(FineTune.grid(epochs=3), network=resnet8(width=4), "
            "tasks=digits.classes(0, 1).images(limit=40), seed=0)"
        )
    )
    plan = make_plan(name, sweep, store)
    (trial,) = plan.todo
    address = fresh_database(tmp_path / "m.db")
    tracker = tracker_of(plan, store, address, tmp_path / "art")
    seen = []

    def look(moment):
        if moment.epoch == 2:
            Reporter(trial.key, store, began=began[0], every=0.0)(
                moment
            )  # what a trial leaves every ten seconds
            tracker.follow(trial.key)
            tracker.followed[trial.key] = -1e9
            tracker.write_live()
            (run,) = [
                r
                for r in client_of(address).search_runs([tracker.experiment])
                if r.data.tags["spolia.role"] == "cell"
            ]
            seen.append(
                (
                    run.info.status,
                    run.data.params["epochs"],
                    len(client_of(address).get_metric_history(run.info.run_id, "train/loss")),
                )
            )

    began = [time.time()]
    assert execute(trial, store, on_epoch=look).kind == "done"
    assert seen == [("RUNNING", "3", 2)]
    tracker.write([trial.key])
    (run,) = [
        r
        for r in client_of(address).search_runs([tracker.experiment])
        if r.data.tags["spolia.role"] == "cell"
    ]
    assert run.info.status == "FINISHED"
    assert [
        p.step for p in client_of(address).get_metric_history(run.info.run_id, "train/loss")
    ] == [1, 2, 3]


def test_what_was_under_way_when_the_driver_ended_does_not_look_as_if_it_ran(
    store, tmp_path, sweep_file, fresh_database
):
    name, sweep = load_sweep(sweep_file("product(Count.grid(), seed=range(2))", 2))
    plan = make_plan(name, sweep, store)
    address = fresh_database(tmp_path / "m.db")
    tracker = tracker_of(plan, store, address, tmp_path / "art")
    key = plan.cells[0].trial.key
    store.put_progress(
        key,
        {
            "key": key,
            "began": 5.0,
            "stage": "s",
            "epoch": 1,
            "epochs": 2,
            "time": 6.0,
            "curves": [["s/loss", 1, 0.5, 6.0]],
        },
    )
    tracker.followed[key] = -1e9
    tracker.write_live()
    tracker.close({**NOTHING, "status": "KILLED"})
    assert {r.info.status for r in client_of(address).search_runs([tracker.experiment])} == {
        "KILLED"
    }


@pytest.mark.usefixtures("written_here")
def test_a_failed_trial_levelled_later_keeps_the_time_at_which_it_failed(
    spolia, sweep_file, tmp_path
):
    file = sweep_file(
        "product(Faulty.grid(how='raise'), network=resnet8(width=4), tasks=digits.classes(0, "
        "1).images(limit=40), seed=0)"
    )
    spolia("run", file, "--home", tmp_path / "home", "--executor", "inline", "--tracking", "none")
    spolia("track", file, "--home", tmp_path / "home")
    (run,) = [
        r
        for r in dump(f"sqlite:///{tmp_path}/home/mlflow.db", tmp_path)["runs"].values()
        if r[2] == "cell"
    ]
    store = Store(tmp_path / "home/store")
    (key,) = store.failures()
    assert (run[1], run[3][1]) == ("FAILED", int(store.failure(key)["time"] * 1000))


@pytest.mark.usefixtures("written_here")
def test_a_result_that_was_made_again_replaces_its_run_and_its_models(
    spolia, sweep_file, tmp_path, monkeypatch
):
    file = sweep_file(
        "product(Looped.grid(epochs=1), tasks=digits.classes(0, "
        "1).images(limit=40).named('t'), seed=0)"
    )
    home = ("--home", tmp_path / "home", "--executor", "inline")
    assert spolia("run", file, *home)[0] == 0
    monkeypatch.setattr("orchestrator.planning.history.code_of", lambda trial: Code({"a": "1"}))
    assert spolia("run", file, *home, "--stale", "rerun")[0] == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    address = f"sqlite:///{tmp_path}/home/mlflow.db"
    (run,) = [r for r in dump(address, tmp_path)["runs"].values() if r[2] == "cell"]
    # Accuracy, the loss of one epoch, and what it took, once each.
    assert [len(points) for points in run[6].values()] == [1, 1, 1, 1]
    store = Store(tmp_path / "home/store")
    (key,) = store.finished()
    assert run[3][0] == int(store.find(key)["timings"]["began"] * 1000)


@pytest.mark.usefixtures("written_here")
def test_what_another_run_of_the_sweep_has_done_meanwhile_is_written_at_the_end(
    store, tmp_path, sweep_file
):
    from orchestrator import Results
    from orchestrator.session.display import LineDisplay
    from orchestrator.session.following import finish_writer, start_writer
    from orchestrator.store.home import home

    name, sweep = load_sweep(sweep_file("product(Count.grid(), seed=range(2))", 2))
    here = home(tmp_path / "home", store.address, None)
    plan = make_plan(name, sweep, store)
    writer = start_writer(plan, store, here, LineDisplay())
    for trial in plan.todo:
        execute(trial, store)
    results = Results(make_plan(name, sweep, store), store)
    tracked = finish_writer(writer, results, [], LineDisplay())
    assert (tracked.num_written, tracked.error) == (2, "")
    runs = dump(here.tracking, tmp_path)["runs"].values()
    (setting,) = [run for run in runs if run[2] == "setting"]
    assert (setting[1], setting[6]["n"]) == ("FINISHED", 2)
