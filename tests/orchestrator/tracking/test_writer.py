"""MLflow, the real one on SQLite: what a sweep leaves there, once, and again."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from orchestrator import Results, Store, in_order, load_sweep, make_plan
from orchestrator.data import sources
from orchestrator.session import following
from orchestrator.tracking.manifest import manifest
from orchestrator.tracking.writer import Writer, WriterHere
from orchestrator.training.execute import execute

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning"),
]  # MLflow's own dependencies warn

NETWORKS = (
    "CompatibleFeatures.grid(ingredients=[(), ('common',)], split=['stage1', 'pool'], epochs=2)"
)
CELLS = (
    f"product(Recombine.grid(of={NETWORKS}), network=resnet8(width=4),"
    " tasks=(digits.classes(0, 1, 2).images(limit=60).named('a'),"
    " digits.classes(0, 1, 3).images(limit=60).named('b')), seed=range(SEEDS))"
)


@pytest.fixture(autouse=True)
def _home_with_a_database(fresh_database, tmp_path):
    """What a run would make first, which takes MLflow seconds."""
    fresh_database(tmp_path / "home/mlflow.db")


def client(home):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{home / 'mlflow.db'}")


def runs(home, sweep="asked"):
    """All runs, one by one: a search leaves out their inputs and outputs."""
    found = client(home)
    listed = found.search_runs(
        [found.get_experiment_by_name(sweep).experiment_id], max_results=1000
    )
    return [found.get_run(r.info.run_id) for r in listed]


def dump(home):
    """Everything that a person can see, without ids."""
    found = client(home)
    everything = {}
    for run in runs(home):
        history = {
            name: [
                (m.step, m.value, m.timestamp)
                for m in found.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }
        is_setting = run.data.tags["spolia.role"] == "setting"
        artifacts = sorted(f.path for f in found.list_artifacts(run.info.run_id))
        times = (
            (run.info.start_time, run.info.end_time)
            if "mlflow.parentRunId" in run.data.tags or is_setting
            else None
        )
        models = (
            len(run.outputs.model_outputs) if run.outputs else 0,
            len(run.inputs.model_inputs) if run.inputs else 0,
        )
        everything[run.data.tags["spolia.id"]] = (
            run.info.status,
            run.data.params,
            history,
            artifacts,
            times,
            models,
        )
    return everything


@pytest.fixture(scope="module")
def _finished(tmp_path_factory):
    """Where the sweep of `tracked` is run, once for all tests, and what that printed."""
    return {"home": tmp_path_factory.mktemp("finished") / "home", "output": ""}


@pytest.fixture
def tracked(_finished, spolia, sweep_file, fresh_database, tmp_path, monkeypatch):
    """A sweep of two seeds, run and tracked by a process, in a home of the test's own, in which the
    test's process writes: (home, file, output).
    """
    file = sweep_file(CELLS.replace("SEEDS", "2"), expect=8)
    if not _finished["output"]:
        fresh_database(_finished["home"] / "mlflow.db")
        code, out, err = spolia("run", file, "--home", _finished["home"], "--executor", "inline")
        assert code == 0, err
        _finished["output"] = out
    home = tmp_path / "home"
    shutil.copytree(_finished["home"], home, dirs_exist_ok=True)
    _move_places(home / "mlflow.db", str(_finished["home"]), str(home))
    (home / "store/sweeps/asked.json").unlink()  # it names the sweep file of the first test
    monkeypatch.setattr(following, "Writer", WriterHere)
    return home, file, _finished["output"]


def _move_places(database, old, new):
    """Where MLflow noted the places of its files: in the copy these are those of the copy."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
        ):
            moved = f"update {table} set {column} = replace({column}, ?, ?)"
            connection.execute(moved, (old, new))
        left = "\n".join(connection.iterdump())
    assert old not in left


def by_role(home):
    found = {}
    for run in runs(home):
        found.setdefault(run.data.tags["spolia.role"], []).append(run)
    return found


def names(found):
    return {run.info.run_name for run in found}


def test_a_sweep_in_mlflow(tracked):
    home, _file, out = tracked
    assert "14 runs written now" in out
    found = by_role(home)
    counts = {role: len(many) for role, many in found.items()}
    assert counts == {"sweep": 1, "setting": 4, "cell": 8, "need": 6}
    assert {r.info.status for r in runs(home)} == {"FINISHED"}
    _check_parent(home, found["sweep"][0])
    for cell in found["cell"]:
        axes = {"method", "network", "tasks", "seed", "split", "ingredients", "of", "other_seeds"}
        assert axes <= set(cell.data.params)
        assert {"compatibility", "own_accuracy"} <= set(cell.data.metrics)
        assert len(cell.inputs.model_inputs) == 2
    for need in found["need"]:
        history = client(home).get_metric_history(need.info.run_id, "joint/val_accuracy/a")
        assert [m.step for m in history] == [1, 2]
        assert need.data.metrics["accuracy/a"] >= 0
        assert all(m.timestamp <= need.info.end_time for m in history)


def test_settings_are_at_the_top_cells_below_them_and_needs_below_the_sweep(tracked):
    found = by_role(tracked[0])
    (sweep,) = found["sweep"]
    settings = {run.info.run_id: run for run in found["setting"]}
    top = [*found["sweep"], *found["setting"]]
    assert not any("mlflow.parentRunId" in run.data.tags for run in top)
    assert names(found["setting"]) == {
        f"{how} · {split}" for how in ("none", "common") for split in ("stage1", "pool")
    }
    for cell in found["cell"]:
        setting = settings[cell.data.tags["mlflow.parentRunId"]]
        assert cell.info.run_name == f"{setting.info.run_name} · {cell.data.params['seed']}"
        # What a setting says of itself is true of each of its cells.
        assert setting.data.params.items() <= cell.data.params.items()
        assert setting.data.params.keys() == cell.data.params.keys() - {"seed"}
    parents = {run.data.tags["mlflow.parentRunId"] for run in found["need"]}
    assert parents == {sweep.info.run_id}


def test_a_need_is_named_by_what_it_depends_on_and_has_no_param_of_anything_else(tracked):
    needs = by_role(tracked[0])["need"]
    # Without ingredients, a training does not depend on where its network is split.
    assert names(needs) == {
        *(f"train: none · {seed}" for seed in (0, 1)),
        *(f"train: common · {split} · {seed}" for split in ("stage1", "pool") for seed in (0, 1)),
    }
    for need in needs:
        is_plain = need.info.run_name.startswith("train: none")
        assert ("split" in need.data.params) == (not is_plain)
        assert "ingredients" in need.data.params


def test_a_setting_has_the_numbers_of_the_tables(tracked):
    home, file, _ = tracked
    name, sweep = load_sweep(file)
    store = Store(home / "store")
    results = Results(make_plan(name, sweep, store), store)
    means = results.means()
    settings = by_role(home)["setting"]
    assert len(means) == len(settings) == 4
    for _, row in means.iterrows():
        told = (row["ingredients"], row["split"])
        (run,) = [
            one
            for one in settings
            if (one.data.params["ingredients"], one.data.params["split"]) == told
        ]
        found = run.data.metrics
        assert (found["n"], found["planned"], found["diverged"]) == (2, 2, 0)
        for metric in results.metrics():
            assert found[metric] == row[metric]
            assert found[f"{metric}.ci95"] == row[f"{metric}_half"]
            assert found[f"{metric}.n"] == row[f"{metric}_n"]


def test_cells_have_the_numbers_of_the_parquet_table(tracked):
    home = tracked[0]
    table = pq.read_table(home / "tables/asked/metrics.parquet").to_pylist()
    in_mlflow = set()
    for cell in by_role(home)["cell"]:
        for name, value in cell.data.metrics.items():
            in_mlflow.add((cell.data.tags["spolia.key"], name, value))
    for row in table:
        labels = [one.partition("=")[2] for one in row["label"].split(",") if one]
        assert (row["key"], "/".join([row["metric"], *labels]), row["value"]) in in_mlflow


def test_a_run_has_few_tags_and_says_what_made_it_in_a_file(tracked):
    home = tracked[0]
    cell = by_role(home)["cell"][0]
    own = {name for name in cell.data.tags if name.startswith("spolia.")}
    identity = ["spolia.id", "spolia.store", "spolia.layout", "spolia.try", "spolia.result"]
    assert own == {*identity, "spolia.role", "spolia.key", "spolia.outcome"}
    told = client(home).download_artifacts(cell.info.run_id, "provenance.json")
    assert {"torch", "python", "code", "host"} <= json.loads(Path(told).read_text()).keys()
    assert cell.data.metrics["cost.seconds"] > 0
    assert 1 < cell.data.metrics["cost.process_mib"] < 100_000


def _check_parent(home, parent):
    files = {f.path for f in client(home).list_artifacts(parent.info.run_id)}
    tables = {"metrics.parquet", "matrices.parquet"}
    assert files == {*tables, "overview.png", "report.html", "images"}
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("What is asked?\n\n8 of 8 cells done; 14 of 14 trials done.\n")
    assert (
        "| ingredients | split | compatibility | compatibility_by_head | recombined_accuracy "
        "| own_accuracy | n |" in note
    )


def test_matrices_are_parquet_and_pictures_at_the_root(tracked):
    home, _file, _ = tracked
    cell = by_role(home)["cell"][0]
    folder = Path(client(home).download_artifacts(cell.info.run_id, ""))
    with open(folder / "accuracy_by_extractor.parquet", "rb") as stream:
        rows = pq.read_table(io.BytesIO(stream.read())).to_pylist()
    assert [(r["row"], r["column"]) for r in rows] == [
        ("a", "a"),
        ("a", "b"),
        ("b", "a"),
        ("b", "b"),
    ]
    assert all(r["count"] > 0 and 0 <= r["value"] <= 1 for r in rows)
    names = {path.stem for path in folder.glob("*.parquet")}
    assert len(names) == 6
    assert all(b"<svg" in (folder / f"{name}.svg").read_bytes()[:200] for name in names)


def images(home, run):
    """Series and steps of a run's pictures, as MLflow's pages read them off the files."""
    found = {}
    for file in client(home).list_artifacts(run.info.run_id, "images"):
        series, _, step, *_ = file.path.removeprefix("images/").split("+")
        found.setdefault((series.replace("~", "/"), int(step)), []).append(file)
    # Each once in full and once as a preview.
    assert {len(files) for files in found.values()} == {2}
    assert max(file.file_size for files in found.values() for file in files) < 300_000
    return set(found)


def test_pictures_of_the_sweep_are_series_along_the_axis_in_question(tracked):
    home = tracked[0]
    (sweep,) = by_role(home)["sweep"]
    found = images(home, sweep)
    assert sweep.data.tags["mlflow.loggedImages"] == "True"
    of_headline = {one for one in found if one[0].startswith("accuracy_by_extractor/")}
    # Of two axes with two values each the first is gone along.
    assert of_headline == {
        (f"accuracy_by_extractor/{split}", step) for split in ("stage1", "pool") for step in (0, 1)
    }
    assert len({series for series, _ in found}) == 2 * 6


def test_a_setting_has_its_mean_matrices_as_pictures_and_as_tables(tracked):
    home, file, _ = tracked
    run = next(r for r in by_role(home)["setting"] if r.info.run_name == "common · pool")
    name, sweep = load_sweep(file)
    store = Store(home / "store")
    results = Results(make_plan(name, sweep, store), store)
    mean = results.matrix(where={"ingredients": "common", "split": "pool"})
    assert images(home, run) == {(one, 0) for one in results.matrix_names()}
    told = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert {"path": "accuracy_by_extractor.json", "type": "table"} in told
    place = client(home).download_artifacts(run.info.run_id, "accuracy_by_extractor.json")
    table = json.loads(Path(place).read_text())
    assert table["columns"] == ["extractor × head", "score", "ci95", "n", "extractor", "head"]
    assert table["data"] == [
        [f"{row} × {column}", mean[row, column].mean, mean[row, column].half, 2, row, column]
        for row in mean.rows
        for column in mean.columns
    ]


def test_running_again_changes_nothing(tracked, spolia):
    home, file, _ = tracked
    before = dump(home)
    code, out, _ = spolia("run", file, "--home", home, "--executor", "inline")
    assert code == 0
    assert "Nothing to run: every cell has its result in the store." in out
    assert "MLflow (up to date)" in out
    assert dump(home) == before


def test_a_half_written_run_and_a_deleted_one_are_completed(tracked, spolia):
    home, file, _ = tracked
    before = dump(home)
    cell, need = (
        next(r for r in runs(home) if r.data.tags["spolia.role"] == role)
        for role in ("cell", "need")
    )
    client(home).delete_tag(cell.info.run_id, "spolia.result")
    client(home).set_terminated(cell.info.run_id, "RUNNING")
    client(home).delete_run(need.info.run_id)
    code, out, _ = spolia("run", file, "--home", home, "--executor", "inline")
    assert (code, "2 runs written now" in out) == (0, True)
    assert dump(home) == before


def test_a_new_seed_adds_its_runs_only_and_is_in_the_means(tracked, spolia, sweep_file):
    home, _, _ = tracked
    before = dump(home)
    settings = {run.info.run_id: run.data.metrics for run in by_role(home)["setting"]}
    grown = sweep_file(CELLS.replace("SEEDS", "3"), expect=12)
    code, out, err = spolia("run", grown, "--home", home, "--executor", "inline")
    assert (code, "7 runs written now" in out) == (0, True), err
    after = dump(home)
    anew = {"parent", *(run.data.tags["spolia.id"] for run in by_role(home)["setting"])}
    assert {k: after[k] for k in before if k not in anew} == {
        k: v for k, v in before.items() if k not in anew
    }
    assert len(after) == len(before) + 7
    for run in by_role(home)["setting"]:
        assert (settings[run.info.run_id]["n"], run.data.metrics["n"]) == (2, 3)
        assert run.data.metrics["compatibility.n"] == 3


def test_a_model_says_what_it_is_and_how_good(tracked):
    home = tracked[0]
    found = client(home)
    experiment = found.get_experiment_by_name("asked").experiment_id
    models = {m.name: m for m in found.search_logged_models([experiment])}
    assert set(models) == {
        *(f"none · {seed} · network-{task}" for seed in (0, 1) for task in "ab"),
        *(
            f"common · {split} · {seed} · {part}"
            for split in ("stage1", "pool")
            for seed in (0, 1)
            for part in ("network-a", "network-b", "auxiliary-common")
        ),
    }
    model = models["common · pool · 1 · network-b"]
    assert model.tags["spolia.task"] == "b"
    assert {"stage1", "pool"} <= set(model.tags["spolia.splits"].split(", "))
    need = found.get_run(model.source_run_id)
    (accuracy,) = [metric for metric in model.metrics if metric.key == "accuracy/b"]
    assert accuracy.value == need.data.metrics["accuracy/b"]
    data = {one.dataset.name: one for one in need.inputs.dataset_inputs}
    assert set(data) == {"a", "b"}
    assert (accuracy.dataset_name, accuracy.dataset_digest) == ("b", data["b"].dataset.digest)
    assert [(tag.key, tag.value) for tag in data["b"].tags] == [("mlflow.data.context", "training")]
    from mlflow.models import Model

    told = Model.load(model.artifact_location.removeprefix("file://"))
    assert told.signature.inputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 1, 8, 8)
    assert told.saved_input_example_info is not None


def test_a_measurement_says_which_networks_it_joined_and_on_which_data(tracked):
    home = tracked[0]
    found = client(home)
    cell = next(r for r in by_role(home)["cell"] if r.info.run_name == "none · pool · 0")
    joined = [found.get_logged_model(one.model_id).name for one in cell.inputs.model_inputs]
    assert sorted(joined) == ["none · 0 · network-a", "none · 0 · network-b"]
    # Nor the heads of a loss that a training kept beside its networks.
    cell = next(r for r in by_role(home)["cell"] if r.info.run_name == "common · pool · 0")
    joined = [found.get_logged_model(one.model_id).name for one in cell.inputs.model_inputs]
    assert sorted(joined) == [f"common · pool · 0 · network-{task}" for task in "ab"]
    contexts = {one.dataset.name: one.tags[0].value for one in cell.inputs.dataset_inputs}
    assert contexts == {"a": "evaluation", "b": "evaluation"}


def test_a_network_that_was_promoted_is_not_joined_twice(tracked, spolia):
    home, file, _ = tracked
    found = client(home)
    experiment = found.get_experiment_by_name("asked").experiment_id
    for model in found.search_logged_models([experiment]):
        # As `spolia promote` leaves one.
        told = {**model.tags, "spolia.component": f"{model.tags['spolia.component']} (pt2)"}
        made = found.create_logged_model(experiment, name="a copy", tags=told)
        found.finalize_logged_model(made.model_id, "READY")
    (cell, *_) = by_role(home)["cell"]
    found.delete_run(cell.info.run_id)
    code, out, _ = spolia("track", file, "--home", home)
    assert (code, "1 runs written now" in out) == (0, True)
    (again,) = [r for r in by_role(home)["cell"] if r.info.run_name == cell.info.run_name]
    told = [{one.model_id for one in run.inputs.model_inputs} for run in (cell, again)]
    assert told[0] == told[1]
    assert len(told[0]) == 2


def test_a_network_loads_in_a_fresh_process_without_pickle(tracked, tmp_path):
    home, file, _ = tracked
    found = client(home)
    experiment = found.get_experiment_by_name("asked").experiment_id
    model = next(m for m in found.search_logged_models([experiment]) if "network-a" in m.name)
    x, _ = sources.load("digits").test
    np.save(tmp_path / "x.npy", x[:16])
    program = (
        "import sys, json, pickle, pickletools\n"
        "def refuse(*a, **k): raise AssertionError('pickle was used')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "import mlflow, numpy as np\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model(sys.argv[2])\n"
        "print(json.dumps(model.predict(np.load(sys.argv[3])).tolist()))\n"
    )
    uri = f"sqlite:///{home / 'mlflow.db'}"
    ran = subprocess.run(
        [sys.executable, "-c", program, uri, f"models:/{model.model_id}", str(tmp_path / "x.npy")],
        capture_output=True,
        text=True,
        check=True,
    )
    name, sweep = load_sweep(file)
    store = Store(home / "store")
    results = Results(make_plan(name, sweep, store), store)
    trial = results.plan.trials[model.tags["spolia.key"]]
    from orchestrator import Result

    part = Result(store, store.find(trial.key)).module("network", task="a")
    whole = digits_in_order(trial)
    with torch.no_grad():
        expected = part(whole[:16])
    # The 16 raw images are the first of the test part of whole digits; the task's own are a subset,
    # so compare on raw pixels normalised alike.
    record = sources.load("digits").record
    raw = (torch.from_numpy(x[:16]).float() / 255 - record.mean[0]) / record.std[0]
    with torch.no_grad():
        assert np.allclose(json.loads(ran.stdout), part(raw).numpy(), atol=1e-5)
    assert expected.shape == (16, 3)


def digits_in_order(trial):
    return torch.cat([x for x, _ in in_order(trial.tasks[0].test, torch.device("cpu"))])


@pytest.mark.usefixtures("written_here")
def test_a_failed_trial_is_a_failed_run_until_it_succeeds_which_leaves_no_trace_of_it(
    spolia, sweep_file, tmp_path, monkeypatch
):
    home = tmp_path / "home"
    file = sweep_file(
        "product(Faulty.grid(how='raise'), network=resnet8(width=4),"
        " tasks=digits.classes(0, 1).images(limit=40), seed=0)"
    )

    def only_cell():
        (found,) = [r for r in runs(home) if r.data.tags["spolia.role"] == "cell"]
        return found

    code, _, err = spolia("run", file, "--home", home, "--executor", "inline")
    assert code == 1
    assert "something in epoch 2" in err
    failed = only_cell()
    reason = "ZeroDivisionError: something in epoch 2"
    assert (failed.info.status, failed.data.tags["spolia.reason"]) == ("FAILED", reason)
    assert failed.data.metrics == {}
    assert "spolia.result" not in failed.data.tags
    (trace,) = [f.path for f in client(home).list_artifacts(failed.info.run_id)]
    traceback = Path(client(home).download_artifacts(failed.info.run_id, trace)).read_text()
    assert traceback.rstrip().endswith(reason)

    monkeypatch.setattr("sample_methods.Faulty.train", lambda self, run: run.log(total=1.0))
    code, out, _ = spolia("run", file, "--home", home, "--executor", "inline")
    assert (code, "1 of 1 done" in out) == (0, True)
    again, store = only_cell(), Store(home / "store")
    (key,) = store.finished()
    timings = [int(store.find(key)["timings"][moment] * 1000) for moment in ("began", "ended")]
    assert [again.info.start_time, again.info.end_time] == timings
    assert again.data.metrics["total"] == 1.0
    assert again.data.params == failed.data.params
    assert not {"spolia.reason", "spolia.failed"} & again.data.tags.keys()
    assert "traceback.txt" not in [f.path for f in client(home).list_artifacts(again.info.run_id)]
    # Who has a link to the failed run is told where to look.
    kept = client(home).get_run(failed.info.run_id)
    assert kept.data.tags["spolia.replaced_by"] == again.info.run_id
    assert kept.data.tags["mlflow.note.content"] == f"Replaced by run {again.info.run_id}."
    # What is levelled once more stays as it is.
    code, out, _ = spolia("track", file, "--home", home)
    assert (code, "0 runs written now" in out) == (0, True)
    assert only_cell().to_dictionary() == again.to_dictionary()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "sqlite:////proc/nowhere/mlflow.db"])
@pytest.mark.usefixtures("written_here")
def test_a_tracking_server_that_is_away_does_not_stop_the_training(
    spolia, sweep_file, tmp_path, address
):
    file = sweep_file("product(Count.grid(), seed=range(3))", 3)
    code, out, err = spolia(
        "run", file, "--home", tmp_path / "home", "--executor", "inline", "--tracking", address
    )
    assert code == 1
    assert "MLflow is behind the store" in err
    assert "the same command run again, writes what is missing" in err
    assert "3 of 3 done" in out
    code, out, _ = spolia("run", file, "--home", tmp_path / "home", "--executor", "inline")
    assert (code, "3 runs written now" in out) == (0, True)


def test_what_the_process_prints_does_not_stop_it(sweep_file, store, fresh_database, tmp_path):
    """More than a pipe holds, before the first run: nobody reads it before the end."""
    (tmp_path / "said").mkdir()
    (tmp_path / "said/sitecustomize.py").write_text("print('x' * 200_000)\n")
    name, sweep = load_sweep(sweep_file("product(Count.grid(), seed=0)"))
    plan = make_plan(name, sweep, store)
    (cell,) = plan.cells
    assert execute(cell.trial, store).kind == "done"
    address = fresh_database(tmp_path / "m.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}/said:{os.environ['PYTHONPATH']}")
        artifacts = (tmp_path / "art").as_uri()
        writer = Writer(manifest(plan, store, address, artifacts), tmp_path / "log")
    writer.send({"finished": cell.trial.key})
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and num_finished(tmp_path / "m.db") < 2:
        time.sleep(0.2)
    assert num_finished(tmp_path / "m.db") == 2  # the cell and its setting
    assert writer.finish(None) == (1, "")
    assert "x" * 200_000 in (tmp_path / "log").read_text()


def num_finished(database):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        count = "select count(*) from runs where status = 'FINISHED'"
        return connection.execute(count).fetchone()[0]
