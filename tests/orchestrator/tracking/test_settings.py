"""The runs of settings: which state they show, in how many requests, and what becomes of them when
a sweep grows or was written by an earlier version.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from paged import Paged
from sample_methods import Count, Ending, Priced

from orchestrator import Results, Sweep, make_plan, product, union
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
def place(store, address, tmp_path):
    """Makes plans of cells, and trackers of plans in this process."""

    class Place:
        def __init__(self):
            self.store, self.address = store, address

        def plan(self, cells):
            return make_plan("asked", Sweep(question="?", cells=cells, expect=len(cells)), store)

        def tracker(self, plan):
            from orchestrator.tracking.levelling import Tracker
            from orchestrator.tracking.patience import Patience

            is_last = threading.Event()
            is_last.set()
            described = manifest(plan, store, address, (tmp_path / "art").as_uri())
            return Tracker(described, Patience(is_last, 1.0))

        def run(self, plan, seeds=None):
            """Run the cells of some seeds; their keys."""
            wanted = [c.trial for c in plan.cells if seeds is None or c.trial.seed in seeds]
            for trial in wanted:
                execute(trial, store)
            return [trial.key for trial in wanted]

        def results(self, cells):
            return Results(self.plan(cells), store)

    return Place()


def settings(tracker):
    """The runs of settings that a person sees, by name."""
    found = tracker.client.search_runs([tracker.experiment], "tags.`spolia.role` = 'setting'")
    return {run.info.run_name: run for run in found}


def whole(place, cells):
    """A sweep run and written to its end."""
    plan = place.plan(cells)
    tracker = place.tracker(plan)
    tracker.write(place.run(plan))
    tracker.close(NOTHING)
    return tracker


def test_seeds_that_end_together_are_one_state(place, monkeypatch):
    plan = place.plan(product(Count.grid(), seed=range(5)))
    tracker = place.tracker(plan)
    keys = place.run(plan)
    sent = []
    log_batch = tracker.client.log_batch

    def counting(run_id, metrics=(), **others):
        (entry,) = [e for e in tracker.manifest["settings"]]
        if run_id == tracker.runs.get(entry["id"]).run_id:
            sent.append({m.key: m.value for m in metrics}.get("n"))
        return log_batch(run_id, metrics=metrics, **others)

    monkeypatch.setattr(tracker.client, "log_batch", counting)
    tracker.write(keys[:3])
    tracker.write_settings()
    for key in keys[3:]:  # within the pause
        tracker.write([key])
        tracker.write_settings()
    tracker.close(NOTHING)
    assert sent == [None, 3, 5]  # its params, and two states


def test_the_last_state_is_shown_whatever_came_first(place):
    cells = product(Count.grid(), seed=range(3))
    plan = place.plan(cells)
    place.run(plan)
    tracker = place.tracker(plan)
    # The one that ended last is written first: it is not older than what follows.
    for cell in reversed(plan.cells):
        tracker.write([cell.trial.key])
        tracker.settings._not_before = 0.0
        tracker.write_settings()
    (run,) = settings(tracker).values()
    (group,) = place.results(cells).groups()
    found = group.metric("total")
    assert (run.data.metrics["n"], run.data.metrics["total.n"]) == (3, 3)
    assert (run.data.metrics["total"], run.data.metrics["total.ci95"]) == (found.mean, found.half)
    history = tracker.client.get_metric_history(run.info.run_id, "n")
    # All at one step: else MLflow would draw lines instead of bars.
    assert {point.step for point in history} == {0}
    assert run.info.status == "FINISHED"


def test_a_setting_counts_what_diverged_and_is_infeasible_beside_its_n(place):
    ways = ("done", "diverged", "done", "infeasible", "done")
    tracker = whole(place, product(Ending.grid(ways=[ways]), seed=range(5)))
    (run,) = settings(tracker).values()
    found = run.data.metrics
    counts = [found[name] for name in ("n", "planned", "diverged", "infeasible")]
    assert counts == [3, 5, 1, 1]
    # Means are over what is done; one seed of them has this metric, and so no interval.
    assert (found["score"], found["side"], found["side.n"]) == (2.0, 0.5, 1)
    assert "side.ci95" not in found


def test_a_setting_that_is_not_whole_has_the_status_of_its_sweep(place):
    plan = place.plan(product(Priced.grid(size=[1, 2]), seed=range(2)))
    tracker = place.tracker(plan)
    keys = [cell.trial.key for cell in plan.cells]
    place.run(plan)
    tracker.write(keys[:3])
    tracker.write_settings()
    assert settings(tracker)["size=2"].info.status == "RUNNING"
    tracker.close({**NOTHING, "status": "KILLED"})
    found = {name: run.info.status for name, run in settings(tracker).items()}
    assert found == {"size=1": "FINISHED", "size=2": "KILLED"}


def test_a_run_that_would_show_what_is_no_more_is_replaced_and_its_cells_go_along(place):
    before = whole(place, product(Count.grid(), seed=range(2)))
    (old,) = settings(before).values()
    assert "total.ci95" in old.data.metrics
    # One seed is left, which has no interval.
    after = whole(place, product(Count.grid(), seed=range(1)))
    (new,) = settings(after).values()
    assert new.info.run_id != old.info.run_id
    assert "total.ci95" not in new.data.metrics
    gone = after.client.get_run(old.info.run_id)
    assert gone.data.tags["spolia.replaced_by"] == new.info.run_id
    cells = after.client.search_runs([after.experiment], "tags.`spolia.role` = 'cell'")
    inside = [c for c in cells if c.data.tags["mlflow.parentRunId"] == new.info.run_id]
    assert [cell.data.params["seed"] for cell in inside] == ["0"]


def test_a_sweep_that_grows_an_axis_renames_its_runs_and_keeps_them(place):
    before = whole(place, product(Priced.grid(size=[1, 2], shape=["round"]), seed=range(2)))
    old = settings(before)
    assert set(old) == {"size=1", "size=2"}
    after = whole(place, product(Priced.grid(size=[1, 2], shape=["round", "flat"]), seed=range(2)))
    new = settings(after)
    assert set(new) == {f"size={size} · {shape}" for size in (1, 2) for shape in ("round", "flat")}
    for size in (1, 2):
        assert new[f"size={size} · round"].info.run_id == old[f"size={size}"].info.run_id
    cells = after.client.search_runs([after.experiment], "tags.`spolia.role` = 'cell'")
    assert len(cells) == 8
    assert {f"size=1 · round · {seed}" for seed in (0, 1)} <= {c.info.run_name for c in cells}


def test_settings_of_several_methods_have_the_metrics_of_their_own(place):
    cells = product(union(Priced.grid(size=[1]), Count.grid(number=[3.0])), seed=range(2))
    found = settings(whole(place, cells))
    assert set(found) == {"priced · size=1", "count · number=3"}
    assert {"worth", "price"} <= found["priced · size=1"].data.metrics.keys()
    assert "total" not in found["priced · size=1"].data.metrics
    assert "size" not in found["count · number=3"].data.params


def test_all_pictures_of_a_matrix_have_one_scale_which_a_value_beyond_it_widens(place, monkeypatch):
    from orchestrator.tracking import setting_pictures

    drawn = []
    monkeypatch.setattr(
        setting_pictures,
        "matrix_png",
        lambda mean, title, scale, halves: drawn.append((mean.name, title, scale)) or PNG,
    )
    monkeypatch.setattr(setting_pictures, "_preview", lambda picture: b"")
    plan = place.plan(product(Paged.grid(split=["early", "late"]), seed=range(2)))
    tracker = place.tracker(plan)
    keys = place.run(plan)
    tracker.write(keys[:2])
    tracker.write_settings()
    tracker.write(keys[2:])
    tracker.close(NOTHING)
    assert {scale for name, _, scale in drawn if name == "fits"} == {(0.0, 1.0)}
    assert {scale for name, _, scale in drawn if name == "kept"} == {(0.0, 1e6)}
    assert {title for _, title, _ in drawn} == {
        f"{name}: {split} (mean of n = 2)"
        for name in ("fits", "kept")
        for split in ("early", "late")
    }
    sweep = tracker.client.get_run(tracker.sweep_run.run_id)
    assert json.loads(sweep.data.tags["spolia.scales"]) == {"kept": [0.0, 1e6]}
    # Whoever writes next knows of it, and has nothing to draw.
    drawn.clear()
    again = place.tracker(plan)
    again.write(keys)
    again.close(NOTHING)
    assert drawn == []


PNG = b"\x89PNG"


@pytest.mark.parametrize("size", [2, 12, 40, 300])
def test_a_picture_is_small_and_a_large_one_can_be_read(size):
    from io import BytesIO

    from PIL import Image

    from orchestrator.analysis.matrix_png import matrix_png
    from orchestrator.parts.matrix import make_matrix

    values = np.random.default_rng(0).random((size, size))
    labels = [f"task {i}" for i in range(size)]
    axes = ("extractor", "head")
    matrix = make_matrix("accuracy", axes=axes, rows=labels, columns=labels, values=values)
    picture = matrix_png(matrix, "common · pool", (0.0, 1.0), values / 10)
    width, height = Image.open(BytesIO(picture)).size
    assert len(picture) < 300_000
    assert 200 < width < 1000
    assert height < 1000


def test_pictures_are_filed_as_mlflow_files_its_own(place, tmp_path):
    """Else MLflow's pages would show nothing of them."""
    from PIL import Image

    from orchestrator.tracking.setting_pictures import image_files

    tracker = place.tracker(place.plan(product(Count.grid(), seed=[0])))
    run = tracker.sweep_run.run_id
    tracker.client.log_image(run, Image.new("RGB", (8, 8)), key="a b/c", step=3, timestamp=1)
    theirs = {file.path for file in tracker.client.list_artifacts(run, "images")}

    def form(paths):
        """Without the identifier in the middle, which is anybody's choice."""
        return {(*path.split("+")[:5], path.split("+")[-1][36:]) for path in paths if "+" in path}

    assert form(image_files("a b/c", 3, b"", b"")) == form(theirs)
    assert tracker.client.get_run(run).data.tags["mlflow.loggedImages"] == "True"


def test_a_home_of_an_earlier_version_is_brought_level_without_twins(place):
    """Cells stood below the sweep's run, with params of what they do not depend on."""
    plan = place.plan(product(Priced.grid(size=[1, 2]), seed=range(2)))
    tracker = place.tracker(plan)
    keys = place.run(plan)
    old = []
    for entry, key in zip(tracker.manifest["runs"], keys, strict=True):
        record = place.store.find(key)
        tags = {
            "mlflow.parentRunId": tracker.sweep_run.run_id,
            "spolia.role": "cell",
            "spolia.key": key,
            "spolia.try": str(round(record["timings"]["began"], 3)),
            "spolia.result": record.digest,
            "spolia.torch": "2.13",
        }
        run = tracker.runs.create(entry["id"], f"priced seed={key[:3]}", 5, tags)
        tracker.runs.fill(run, {"size": "another", "split": "stage1"}, [], {})
        tracker.runs.end(run, "FINISHED", 6)
        old.append(run.run_id)
    after = place.tracker(plan)
    after.write(keys)
    after.close(NOTHING)
    assert not after.refused
    found = after.client.search_runs([after.experiment], "tags.`spolia.role` = 'cell'")
    assert len(found) == 4
    assert not {run.info.run_id for run in found} & set(old)
    assert all("split" not in run.data.params for run in found)
    assert set(settings(after)) == {"size=1", "size=2"}
    assert after.client.get_run(old[0]).data.tags["spolia.replaced_by"]
    again = place.tracker(plan)
    again.write(keys)
    again.close(NOTHING)
    assert again.written == set()


def test_a_new_process_asks_for_no_matrix_that_is_drawn_already(place, monkeypatch):
    cells = product(Paged.grid(split=["early", "late"]), seed=range(2))
    whole(place, cells)
    from orchestrator.analysis.groups import Group

    monkeypatch.setattr(Group, "matrix", lambda *_: pytest.fail("a matrix was read"))
    whole(place, cells)


def test_pictures_of_steps_that_a_sweep_has_no_more_are_taken_away(place, tmp_path):
    whole(place, product(Paged.grid(split=["early", "middle", "late"]), seed=range(2)))
    tracker = whole(place, product(Paged.grid(split=["early", "late"]), seed=range(2)))
    run = tracker.client.get_run(tracker.sweep_run.run_id)
    files = [Path(f.path).name for f in tracker.client.list_artifacts(run.info.run_id, "images")]
    assert {name.split("+")[2] for name in files} == {"0", "1"}
    assert len(files) == 2 * 2 * 2  # matrices, steps, and a preview of each


def files_of_images(tracker):
    run = tracker.client.get_run(tracker.sweep_run.run_id)
    return len(tracker.client.list_artifacts(run.info.run_id, "images"))


def test_a_run_of_the_sweep_that_was_deleted_has_its_pictures_again(place):
    cells = product(Paged.grid(split=["early", "late"]), seed=range(2))
    before = whole(place, cells)
    num_files = files_of_images(before)
    before.client.delete_run(before.sweep_run.run_id)
    after = whole(place, cells)
    assert after.sweep_run.run_id != before.sweep_run.run_id
    assert files_of_images(after) == num_files > 0


def test_a_setting_whose_value_is_called_otherwise_today_has_another_run(place):
    cells = product(Count.grid(), seed=range(2))
    old = settings(whole(place, cells))["count"]
    plan = place.plan(cells)
    tracker = place.tracker(plan)
    (entry,) = tracker.settings._means.entries.values()
    entry["params"].update(number="1 (of two)", more="added")
    tracker.write([cell.trial.key for cell in plan.cells])
    tracker.close(NOTHING)
    assert not tracker.refused
    new = settings(tracker)["count"]
    assert new.data.params.items() >= {"number": "1 (of two)", "more": "added"}.items()
    gone = tracker.client.get_run(old.info.run_id)
    assert gone.data.tags["spolia.replaced_by"] == new.info.run_id


def test_after_an_outage_nobody_waits_for_hours_for_the_next_state(place, monkeypatch):
    from orchestrator.tracking import setting_runs

    plan = place.plan(product(Count.grid(), seed=range(2)))
    tracker = place.tracker(plan)
    tracker.write(place.run(plan, seeds=[0]))
    clock = iter([0.0, 0.0, 7200.0])  # two hours until MLflow answered
    monkeypatch.setattr(setting_runs.time, "monotonic", lambda: next(clock))
    assert tracker.settings.write(lambda identity, request: request() or True, None)
    monkeypatch.undo()
    assert tracker.settings._not_before - 7200.0 <= 300.0


def test_a_setting_that_mlflow_did_not_take_is_written_with_the_next_state(place, monkeypatch):
    plan = place.plan(product(Count.grid(), seed=range(2)))
    tracker = place.tracker(plan)
    tracker.write(place.run(plan, seeds=[0]))
    tracker.settings.write(lambda identity, request: False, None)
    tracker.settings._not_before = 0.0
    tracker.write_settings()
    assert settings(tracker)["count"].data.metrics["n"] == 1


def test_a_long_name_of_a_setting_is_no_obstacle(place):
    cells = product(Paged.grid(split=["early", "late"]), seed=[0])
    plan = place.plan(cells)
    tracker = place.tracker(plan)
    for entry in tracker.settings._means.entries.values():
        entry["series"] = "width=2 · " * 40
    tracker.write(place.run(plan))
    tracker.close(NOTHING)
    assert not tracker.refused
    assert files_of_images(tracker) == 2 * 2 * 2


def test_views_follow_the_names_that_metrics_have(place, monkeypatch):
    """Before there are results nobody knows by which labels a metric is logged."""
    from sample_methods import LearnsTarget, ScoresEveryTask

    from orchestrator import digits

    tasks = tuple(
        digits.classes(*classes).images(limit=20).named(name)
        for name, classes in (("base", (0, 1)), ("target", (2, 3)))
    )
    plan = place.plan(
        product(union(LearnsTarget.grid(), ScoresEveryTask.grid()), tasks=[tasks], seed=[0])
    )
    tracker = place.tracker(plan)

    def view():
        return tracker.client.get_experiment(tracker.experiment).tags[
            "mlflow.sharedViewState.spolia-settings"
        ]

    before = view()
    tracker.write(place.run(plan))
    tracker.write_settings()
    assert view() != before
