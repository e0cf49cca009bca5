"""Counts by outcome and n a row: what did not come to a good end is never told as if it had, and
all that shows a number shows the same one.
"""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from sample_methods import (
    AfterEnding,
    DoneAnyway,
    Ending,
    LearnsTarget,
    OneBase,
    Priced,
    ScoresEveryTask,
    ScoresTargets,
)

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Results, Store, Sweep, digits, make_plan, product, union
from orchestrator.analysis.plots import series
from orchestrator.analysis.summary import summary
from orchestrator.planning.explain import unmet
from orchestrator.training import provenance
from orchestrator.training.execute import execute
from orchestrator.training.outcome import Outcome, failure_record

QUICK = ("--executor", "inline", "--tracking", "none")
WAYS = ("done", "done", "diverged", "infeasible")
TASKS = tuple(
    digits.classes(*classes).images(limit=20).named(name)
    for name, classes in (("base", (0, 1)), ("target", (2, 3)), ("other", (4, 5)))
)


def results(cells, store):
    """The results of a sweep that has been run, trial after trial."""
    sweep = Sweep(question="?", cells=cells, expect=len(cells))
    for trial in make_plan("asked", sweep, store).todo:
        execute(trial, store)
    return Results(make_plan("asked", sweep, store), store)


def ending(ways, num_seeds, more=""):
    return f"product(union(Ending.grid(ways={ways!r}){more}), seed=range({num_seeds}))"


# ---------------------------------------------------------------------- counts


@pytest.mark.mlflow
@pytest.mark.usefixtures("written_here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint:UserWarning")
def test_terminal_page_json_parquet_and_mlflow_tell_one_story(
    spolia, sweep_file, tmp_path, fresh_database
):
    from mlflow import MlflowClient

    address = fresh_database(tmp_path / "m.db")
    file = sweep_file(ending(WAYS, 4, f", AfterEnding.grid(ways={WAYS!r})"), 8)
    code, out, _ = spolia("run", file, "--executor", "inline", "--tracking", address)
    assert code == 3
    assert "\n4 of 8 done · 1 diverged · 3 infeasible · " in out
    story = "4 of 8 cells done, 1 diverged, 3 infeasible; 4 of 8 trials done, 1 diverged, 3"
    assert f"asked: {story} infeasible" in " ".join(out.split())
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "0.500 ±6.353 0.500 (n=1) 2 1 diverged, 1 infeasible" in rows
    assert "1.000 ±12.706 2 2 infeasible" in rows

    view = json.loads(spolia("results", file, "--json")[1])
    assert view["cell_counts"] == {"done": 4, "diverged": 1, "infeasible": 3}
    plain, doubled = view["groups"]
    assert (plain["n"], plain["planned"]) == (2, 4)
    assert plain["counts"] == {"done": 2, "diverged": 1, "infeasible": 1}
    assert (plain["metrics"]["score"]["mean"], plain["metrics"]["score"]["n"]) == (0.5, 2)
    assert (doubled["metrics"]["score"]["mean"], doubled["metrics"]["score"]["n"]) == (1.0, 2)

    table = pq.read_table(tmp_path / "spolia-home/tables/asked/metrics.parquet").to_pandas()
    scores = table[(table.metric == "score") & (table.outcome == "done")]
    assert scores.groupby("method")["value"].mean().to_dict() == {
        "ending": 0.5,
        "after_ending": 1.0,
    }

    assert spolia("report", file, "--out", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    client = MlflowClient(address)
    (experiment,) = [e for e in client.search_experiments() if e.name == "asked"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["spolia.role"] == "sweep"]
    note = parent.data.tags["mlflow.note.content"]
    assert json.loads(parent.data.tags["spolia.counts"]) == view["cell_counts"]
    for text in (page, note):
        assert f"{story} infeasible" in text
        assert "0.500 ±6.353" in text
        assert "1.000 ±12.706" in text
        assert "1 diverged, 1 infeasible" in text


def test_a_cell_says_which_need_diverged(spolia, sweep_file):
    file = sweep_file(f"product(AfterEnding.grid(ways={WAYS!r}), seed=[0, 2])", 2)
    spolia("run", file, *QUICK)
    view = json.loads(spolia("status", file, "--json")[1])
    done, infeasible = view["cells"]
    assert "why" not in done
    assert (infeasible["state"], infeasible["need"]) == ("infeasible", "before")
    trials = json.loads(spolia("plan", file, "--json")[1])["trials"]
    (diverged,) = [trial["key"] for trial in trials if trial["state"] == "diverged"]
    assert infeasible["need_key"] == diverged
    code, out, _ = spolia("status", file)
    words = " ".join(out.split())
    assert code == 3
    assert "1 cell infeasible: its need 'before'" in words
    assert f"{diverged[:12]}) diverged: it grows without end" in words


def test_what_failed_and_what_is_blocked_by_it_are_not_done(spolia, sweep_file):
    file = sweep_file(ending(("done", "raise"), 2, ", AfterEnding.grid(ways=('done', 'raise'))"), 4)
    code, out, _ = spolia("run", file, *QUICK)
    assert (code, "\n2 of 4 done · 1 failed · 1 blocked · " in out) == (1, True)
    code, out, _ = spolia("status", file)
    assert code == 1
    assert "2 of 4 cells done, 1 failed, 1 blocked" in out
    plan = " ".join(spolia("plan", file)[1].split())
    assert "done 2 failed 1 last time, to run again blocked 1 by a need that is not done" in plan


def test_what_was_lost_with_its_machine_is_called_so(store):
    sweep = Sweep(question="?", cells=product(AfterEnding.grid(), seed=0), expect=1)
    (need, cell) = make_plan("asked", sweep, store).todo
    lost = Outcome(need.key, "lost", reason="the machine is gone")
    store.put_failure(need.key, failure_record(need, lost))
    plan = make_plan("asked", sweep, store)
    assert (plan.trial_counts, plan.cell_counts) == ({"lost": 1, "blocked": 1}, {"blocked": 1})
    assert plan.cause(plan.cells[0].trial) == ("before", need)
    (why,) = unmet(plan)
    assert (why.state, "lost: the machine is gone" in why.line) == ("blocked", True)
    assert cell.key == plan.cells[0].trial.key


@pytest.mark.parametrize(
    ("ways", "status"),
    [(("done", "done"), 0), (("done", "diverged"), 3), (("done", "infeasible"), 3)],
)
def test_exit_status_is_zero_only_where_all_is_done(spolia, sweep_file, ways, status):
    file = sweep_file(ending(ways, 2), 2)
    assert spolia("run", file, *QUICK)[0] == status
    assert spolia("run", file, *QUICK)[0] == status  # nothing to run does not make it good
    assert spolia("status", file)[0] == status
    assert spolia("status", file, "--only", "seed=0")[0] == 0


def test_a_need_that_diverged_and_is_accepted_takes_nothing_from_a_cell(store):
    found = results(product(DoneAnyway.grid(ways=[("diverged",)]), seed=range(2)), store)
    assert found.plan.cell_counts == {"done": 2}
    assert found.plan.is_done
    assert found.plan.trial_counts == {"done": 2, "diverged": 2}
    assert found.groups()[0].metric("score").n == 2


# ---------------------------------------------------------------------- n a row


def test_a_trial_that_diverged_is_in_no_mean_even_with_values_logged_before(store):
    (group,) = results(product(Ending.grid(ways=[WAYS]), seed=range(4)), store).groups()
    assert (group.n, group.num_planned) == (2, 4)
    assert group.counts == {"done": 2, "diverged": 1, "infeasible": 1}
    assert (group.metric("score").mean, group.metric("score").n) == (0.5, 2)


def test_a_metric_over_fewer_trials_than_its_row_says_so(spolia, sweep_file):
    file = sweep_file("product(union(Ending.grid(), Count.grid()), seed=range(3))", 6)
    spolia("run", file, *QUICK)
    rows = [" ".join(line.split()) for line in spolia("results", file)[1].splitlines()]
    assert "1.000 ±2.484 0.500 (n=1) 3" in rows


def test_what_is_not_run_yet_stands_in_the_table(spolia, sweep_file):
    file = sweep_file("product(Count.grid(number=[1, 2]), seed=range(3))", 6)
    spolia("run", file, *QUICK, "--limit", "1")
    rows = [" ".join(line.split()) for line in spolia("results", file)[1].splitlines()]
    assert "1 1.000 1 2 open" in rows
    assert "2 – 0 3 open" in rows


def test_trials_that_share_a_need_are_shown_with_it(store):
    found = results(product(OneBase.grid(), seed=range(5)), store)
    (section,) = found.sections()
    (group,) = section.groups
    assert (section.counting_heads, section.counting(group)) == (["n", "needs"], ["5", "1"])
    assert "fewer distinct needs than n" in summary(found)


def test_a_mean_over_several_kinds_of_device_says_so(store, monkeypatch):
    cells = product(Priced.grid(), seed=range(4))
    assert "kind of device" not in summary(results(cells, store))
    kinds = iter(["cpu x86_64", "cpu x86_64", "NVIDIA H200", "NVIDIA H200"])
    monkeypatch.setattr(provenance, "device_class", lambda device: next(kinds))
    found = results(cells, Store(store.address + "-of-two"))
    (group,) = found.groups()
    assert group.devices == ("NVIDIA H200", "cpu x86_64")
    told = "Some means mix results of NVIDIA H200 and cpu x86_64: equal bits are promised within"
    assert told in summary(found)


# ---------------------------------------------------------------------- parts, and nothing


def test_a_part_shows_its_own_rows_and_says_that_it_is_one(spolia, sweep_file):
    file = sweep_file(
        "product(Count.grid(number=[1, 2]), seed=range(3)), "
        "claims=[claims.Varies(metric='total', axis='number')]",
        6,
        before="from orchestrator import claims",
    )
    spolia("run", file, *QUICK)
    ran = spolia("run", file, *QUICK, "--only", "number=2 seed=0")[1]
    view = json.loads(spolia("results", file, "--only", "number=2 seed=0", "--json")[1])
    assert (view["part"], view["claims"], view["claims_of_whole"]) == (True, [], 1)
    shown = spolia("results", file, "--only", "number=2 seed=0")[1]
    for out in (ran, shown):
        rows = [" ".join(line.split()) for line in out.splitlines()]
        assert (
            "A part of asked: 1 of its 6 cells. Its claim is undecided: verdicts are on the whole "
            "sweep."
        ) in " ".join(rows)
        assert "2 2.000 1" in rows
        assert "±0" not in out
        assert "1 1.000 3" not in rows


@pytest.mark.parametrize("command", ["results", "report"])
def test_results_of_nothing_say_so_and_write_nothing(spolia, sweep_file, tmp_path, command):
    file = sweep_file("product(Ending.grid(ways=('raise',)), seed=0)")
    code, out, err = spolia(command, file)
    assert (code, out) == (1, "")
    assert "asked: nothing has run yet" in err
    assert not (tmp_path / "spolia-home").exists()
    spolia("run", file, *QUICK)
    code, out, err = spolia(command, file)
    assert (code, out) == (1, "")
    assert "no cell has a result yet (0 of 1 cells done, 1 failed). Nothing was written." in err
    assert not (tmp_path / "spolia-home/tables").exists()


# ---------------------------------------------------------------------- labels


def both(first, second, store, tasks=TASKS[:2]):
    cells = product(union(first.grid(), second.grid()), tasks=[tasks], seed=range(2))
    return results(cells, store)


def test_a_metric_is_not_averaged_over_labels_that_another_row_lacks(store):
    found = both(LearnsTarget, ScoresEveryTask, store)
    assert [c.title for c in found.columns("accuracy")] == [
        "accuracy task=target",
        "accuracy task=base",
    ]
    target, base = found.columns("accuracy")
    learns, scores = found.groups()
    assert learns.value(target).mean == pytest.approx(0.305)
    assert scores.value(target).mean == pytest.approx(0.205)
    assert (learns.value(base).n, scores.value(base).mean) == (0, 0.9)
    assert "0.552" not in summary(found)  # the mean over base and target


def test_the_target_is_the_headline_of_a_method_that_learns_it(store):
    found = both(LearnsTarget, ScoresTargets, store)
    assert [c.title for c in found.columns("accuracy")] == ["accuracy"]
    assert [g.metric("accuracy").mean for g in found.groups()] == pytest.approx([0.305, 0.205])


def test_labels_that_all_rows_share_are_averaged_and_named(store):
    found = both(ScoresEveryTask, ScoresEveryTask, store)
    (column,) = found.columns("accuracy")
    assert (column.title, column.over) == ("accuracy", "task=base, task=target")
    assert "accuracy is averaged over task=base, task=target in each trial." in summary(found)


def test_rows_about_other_tasks_stand_in_one_column(store):
    cells = product(LearnsTarget.grid(), tasks=[TASKS[:2], (TASKS[0], TASKS[2])], seed=range(2))
    (column,) = results(cells, store).columns("accuracy")
    assert (column.label, column.over) == (None, "")


def test_a_plot_has_a_line_for_each_label_that_is_not_shared(store):
    ((_, lines),) = series(both(LearnsTarget, ScoresEveryTask, store))
    found = {line.name: [y for _, y, _ in line.points] for line in lines}
    assert found == {
        "learns_target, task=target": pytest.approx([0.305]),
        "scores_every_task, task=target": pytest.approx([0.205]),
        "all cells, task=base": pytest.approx([0.9]),
    }


def test_a_plot_leaves_out_a_seed_that_one_of_its_cells_lacks(store):
    cells = product(Priced.grid(size=[1], shape=["round", "flat"]), seed=range(2))
    found = results(cells, store)
    gone = next(cell for cell in found.plan.cells if cell.trial.seed == 1)
    found.plan.outcomes.pop(gone.trial.key)
    first, second = found.groups()
    assert (first.by_seed(found.columns("worth")[0]), second.n) == ({0: 10.0}, 2)


def test_json_has_a_metric_by_label_where_rows_do_not_share_them(spolia, sweep_file):
    tasks = ", ".join(
        f"digits.classes({a}, {a + 1}).images(limit=20).named('{name}')"
        for a, name in ((0, "base"), (2, "target"))
    )
    file = sweep_file(
        f"product(union(LearnsTarget.grid(), ScoresEveryTask.grid()), tasks=({tasks}), seed=0)", 2
    )
    spolia("run", file, *QUICK)
    groups = json.loads(spolia("results", file, "--json")[1])["groups"]
    assert [sorted(group["metrics"]) for group in groups] == [
        ["accuracy task=target", "cost"],
        ["accuracy task=base", "accuracy task=target", "cost"],
    ]


def test_compatibility_is_a_headline_on_both_protocols(store):
    cells = product(
        Recombine.grid(of=CompatibleFeatures.grid(epochs=1), split="pool"),
        network=resnet8(width=4),
        tasks=[TASKS[:2]],
        seed=0,
    )
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=1), store)
    assert Results(plan, store).headline()[:2] == ["compatibility", "compatibility_by_head"]
