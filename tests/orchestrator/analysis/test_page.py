"""What stands on the page of a sweep: the numbers of the terminal and of the tables."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from paged import Paged
from sample_methods import Count

from orchestrator import (
    Results,
    Store,
    Sweep,
    axis,
    claims,
    digits,
    load_sweep,
    make_plan,
    product,
    roles,
    union,
)
from orchestrator.analysis.page import vega
from orchestrator.analysis.page.matrices import MOST, TOTAL
from orchestrator.analysis.page.model import page_model
from orchestrator.analysis.page.plots import axes_in_question
from orchestrator.analysis.page.rendering import rendered
from orchestrator.cli.json_values import results_view
from orchestrator.training.execute import execute

ROOT = Path(__file__).resolve().parents[3]
SPLITS = ("early", "middle", "late")


def results_of(store, cells, *asked):
    sweep = Sweep(question="Is a < b?", cells=cells, expect=len(cells), claims=asked)
    for trial in make_plan("asked", sweep, store).todo:
        assert execute(trial, store).kind == "done"
    return Results(make_plan("asked", sweep, store), store)


def paged(store, *asked, **axes):
    return results_of(store, product(Paged.grid(**axes), seed=range(3)), *asked)


def entries(table):
    """The rows of a table by the titles of its columns."""
    titles = [head["title"] for head in table["heads"]]
    return [dict(zip(titles, row, strict=True)) for row in table["rows"]]


def test_every_number_is_that_of_the_terminal_of_json_and_of_the_tables(
    spolia, sweep_file, tmp_path, store
):
    cells = product(Paged.grid(split=list(SPLITS), helped=[False, True]), seed=range(3))
    results = results_of(store, cells)
    (table,) = page_model(results)["tables"]
    shown = entries(table)
    assert len(shown) == 6
    results.write(tmp_path / "tables")
    rows = pq.read_table(tmp_path / "tables/metrics.parquet").to_pylist()
    as_json = [(g["labels"], g["metrics"]) for g in results_view(results)["groups"]]
    file = sweep_file(
        "product(Paged.grid(split=['early', 'middle', 'late'], helped=[False, True]), "
        "seed=range(3))",
        18,
        before="from paged import Paged",
    )
    printed = spolia("results", file, "--home", tmp_path)[1]
    drawn = page_model(results)["answer"]["plots"][0]["spec"]["datasets"]["means"]
    for row, (labels, metrics) in zip(shown, as_json, strict=True):
        assert (row["split"]["text"], row["helped"]["text"]) == (
            labels["split"],
            str(labels["helped"]),
        )
        for metric in ("score", "cost"):
            own = [one for one in rows if {**one, **labels, "metric": metric} == one]
            assert [one["seed"] for one in own] == [0, 1, 2]
            assert row[metric]["sort"] == pytest.approx(np.mean([one["value"] for one in own]))
            assert row[metric]["sort"] == metrics[metric]["mean"]
        assert row["n"]["text"] == "3"
        # The headline metric is what the terminal shows, and what is drawn.
        assert row["score"]["text"] in printed
        assert row["score"]["sort"] in [one["y"] for one in drawn]


def test_every_trial_has_its_key_and_the_value_of_its_record(store):
    results = paged(store, split=list(SPLITS))
    for row in entries(page_model(results)["trials"]):
        result = results.by_key[row["key"]["full"]]
        assert row["score"]["sort"] == result.metric("score")
        assert row["seed"]["sort"] == result.trial.seed
        assert row["key"]["text"] == row["key"]["full"][:12]


def test_the_question_goes_along_the_axis_of_its_claims(store):
    axes = {"split": list(SPLITS), "helped": [False, True], "width": [2, 3]}
    grid = product(Paged.grid(**axes), seed=range(2))

    def first(*asked):
        sweep = Sweep(question="?", cells=grid, expect=24, claims=asked)
        return axes_in_question(Results(make_plan("asked", sweep, store), store))[0]

    assert first() == "width"  # the only one of numbers
    assert first(claims.Spread(metric="score", axis="split", above=0.1)) == "split"
    sides = {"where": {"helped": True}, "than": {"helped": False}}
    assert first(claims.Higher(metric="score", **sides)) == "helped"


def test_what_has_one_setting_only_has_no_plot_but_its_best(store):
    model = page_model(paged(store))
    assert model["answer"]["plots"] == []
    assert [(one["metric"], one["next"]) for one in model["answer"]["best"]] == [("score", "")]


def test_a_verdict_unfolds_into_the_values_that_it_rests_on(store):
    sides = {"where": {"helped": True, "split": "late"}, "than": {"helped": False, "split": "late"}}
    asked = claims.Higher(metric="score", **sides)
    results = paged(store, asked, split=list(SPLITS), helped=[False, True])
    (verdict,) = page_model(results)["verdicts"]
    assert verdict["heads"] == ["seed", "helped=True", "helped=False", "difference"]
    assert [row[0] for row in verdict["rows"]] == ["0", "1", "2"]
    assert {row[3] for row in verdict["rows"]} == {"+0.400"}
    assert "0.400" in verdict["evidence"]
    assert verdict["rows"][1][1:3] == ["0.711", "0.311"]


def test_matrices_go_along_the_axis_in_question_and_say_what_they_rest_on(store):
    asked = claims.Spread(metric="score", axis="split", above=0.1)
    results = paged(store, asked, split=list(SPLITS), helped=[False, True])
    first, second = page_model(results)["matrices"]
    assert (first["name"], first["axis"]) == ("fits", "split")
    assert [step["value"] for step in first["steps"]] == list(SPLITS)
    assert [one["heading"] for one in first["steps"][0]["matrices"]] == [
        "helped=False",
        "helped=True",
    ]
    (group, *_) = results.groups()
    mean = group.matrix("fits")
    behind = first["steps"][0]["matrices"][0]["behind"]
    assert behind["values"] == [[mean.values[0, 0], None], mean.values[1].tolist()]
    assert behind["texts"][0][0] == str(mean["r0", "r0"])
    assert (behind["count"], behind["chance"]) == (150, 0.1)
    assert behind["n"] == [[3, 0], [3, 3]]
    assert behind["notes"] == {"0,1": "they are <i>not</i> of one size"}
    # Values above 1 have colours of their own, and short texts.
    assert second["high"] == "1.0M"


def test_a_large_matrix_is_shown_in_blocks_whose_values_are_means(store):
    results = results_of(store, product(Paged.grid(width=100), seed=[0]))
    (one,) = page_model(results)["matrices"][0]["steps"][0]["matrices"]
    values = results.groups()[0].matrix("fits").values
    assert len(one["rows"]) == len(one["columns"]) == 34 <= MOST
    assert one["rows"][0] == "r0 … r2"
    assert one["rows"][-1] == "r99"
    assert one["behind"]["values"][1][1] == pytest.approx(values[3:6, 3:6].mean())
    assert one["behind"]["values"][0][-1] == pytest.approx(np.nanmean(values[:3, 99:]))


def test_a_page_has_room_for_so_many_entries(store):
    results = paged(store, width=[39, 40, 41, 42, 43, 44])
    fits, *_ = page_model(results)["matrices"]
    drawn = [one for step in fits["steps"] for one in step["matrices"]]
    assert sum(len(one["rows"]) ** 2 for one in drawn) <= TOTAL
    assert len(drawn) + fits["num_left_out"] == 6


def test_curves_of_trainings_are_means_over_seeds(store):
    results = paged(store, split=["early", "late"])
    (plot,) = page_model(results)["curves"]["plots"]
    assert (plot["title"], plot["names"]) == ("train/loss", ["split early", "split late"])
    means = plot["spec"]["datasets"]["means"]
    assert [row["x"] for row in means[:4]] == [1.0, 2.0, 3.0, 4.0]
    assert means[0]["y"] == pytest.approx(1 - 0.911, abs=1e-5)


class OfTasks(Paged):
    """The split makes a difference with help only."""

    name = "of_tasks"
    uses = frozenset({"tasks", "seed"})
    tasks = roles("task")

    def canonical(self):
        return self if self.helped else self.reset("split")


@pytest.mark.parametrize(
    "task",
    [
        digits.images(limit=50).drawn().named("images"),
        digits.classes(0, 1, 2).images(limit=50).drawn(classes=True).named("classes"),
    ],
    ids=["images", "classes"],
)
def test_curves_on_drawn_images_are_means_over_seeds_and_name_what_matters(store, task):
    grid = OfTasks.grid(split=["early", "late"], helped=[False, True])
    results = results_of(store, product(grid, tasks=(task,), seed=range(3)))
    (plot,) = page_model(results)["curves"]["plots"]
    names = ["helped False", "split early, helped True", "split late, helped True"]
    assert plot["names"] == names
    means = plot["spec"]["datasets"]["means"]
    assert len(means) == 3 * 4
    assert means[0]["y"] == pytest.approx(1 - 0.911, abs=1e-5)


class Particular(Paged):
    """It has no answer to what no sweep asks it."""

    name = "particular"

    def canonical_for(self, trial):
        assert self.split != "late" or self.helped
        return self


def test_a_setting_that_a_method_refuses_elsewhere_is_told(store):
    grid = union(Particular.grid(split="early"), Particular.grid(split="late", helped=[True]))
    (plot,) = page_model(results_of(store, product(grid, seed=[0])))["curves"]["plots"]
    assert plot["names"] == ["split early, helped False", "split late, helped True"]


class Based(Paged):
    """It says which of its settings train what it begins with, if anything does."""

    name = "based"
    base: Paged | None = axis(None)


def test_a_line_names_an_inner_method_and_not_its_settings_where_others_have_none(store):
    results = results_of(store, product(Based.grid(base=[None, Paged()]), seed=[0]))
    (plot,) = page_model(results)["curves"]["plots"]
    assert plot["names"] == ["base none", "base paged"]
    bases = [Paged(width=2), Paged(width=3)]
    results = results_of(store, product(Based.grid(base=[None, *bases]), seed=[0]))
    (plot,) = page_model(results)["curves"]["plots"]
    assert plot["names"] == ["base none", "base paged, width 2", "base paged, width 3"]


def test_what_was_run_names_settings_code_and_definitions(store):
    about = page_model(paged(store, split=list(SPLITS)))["about"]
    assert ("split", "early, middle, late") in about["grid"]
    assert ("seed", "0, 1, 2") in about["grid"]
    (method,) = about["methods"]
    assert (method["name"], method["count"]) == ("paged", 9)
    assert ("width", "2") in method["settings"]
    assert {name for name, _ in about["made_with"]} >= {"python", "torch", "device"}
    score, cost = about["metrics"]
    assert (score["better"], score["chance"]) == ("higher", "0.1")
    assert cost["better"] == "lower"


def test_the_model_is_json_and_the_page_shows_labels_as_text(store):
    results = results_of(
        store, product(union(Paged.grid(split=list(SPLITS)), Count.grid()), seed=[0])
    )
    model = page_model(results)
    assert json.loads(json.dumps(model, allow_nan=False)) is not None
    page = rendered(model)
    assert "Is a &lt; b?" in page
    assert "The share that it &lt;b&gt;got&lt;/b&gt; right." in page
    # In a script, where nothing is escaped, no text of ours begins a tag.
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert "<" not in data
    assert "they are \\u003ci>not" in data


def test_without_javascript_tables_verdicts_and_matrices_are_there(store):
    asked = claims.Spread(metric="score", axis="split", above=0.1)
    page = rendered(page_model(paged(store, asked, split=list(SPLITS))))
    before = page.partition('<script type="application/json"')[0]
    assert before.count('<table class="matrix') == 6
    assert '<summary><span class="badge' in before
    assert "0.911 ±0.027" in before
    assert "http" not in before


def test_the_javascript_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path))
    made = []

    def bundle(snippet):
        made.append(1)
        return 'window.vegaEmbed = 1; "</script>"'

    monkeypatch.setattr("vl_convert.javascript_bundle", bundle)
    assert [vega.javascript() for _ in range(2)] == ['window.vegaEmbed = 1; "<\\/script>"'] * 2
    assert made == [1]


def test_numbers_far_apart_have_a_logarithmic_axis():
    assert vega.along([0.001, 0.01, 0.1])["scale"]["type"] == "log"
    assert "type" not in vega.along([1, 2, 3])["scale"]
    assert "type" not in vega.along([0, 0.001, 1])["scale"]
    assert "type" not in vega.along([math.nan, 1.0])["scale"]


@pytest.mark.slow
@pytest.mark.long
def test_plots_are_such_as_this_version_of_vega_lite_takes(store):
    """By its compiler, which takes seconds to start."""
    import vl_convert

    cells = union(
        product(Paged.grid(split=list(SPLITS), helped=[False, True]), seed=range(3)),
        product(Paged.grid(split="late", width=[1, 2, 1000]), seed=range(3)),
        product(Count.grid(), seed=range(3)),
    )
    model = page_model(results_of(store, cells))
    plots = [*model["answer"]["plots"], *model["curves"]["plots"]]
    assert len(plots) > 5
    for plot in plots:
        compiled = vl_convert.vegalite_to_vega(plot["spec"])
        assert len(compiled["marks"]) >= len(plot["spec"]["layer"])


@pytest.mark.long
def test_the_page_of_300_cells_is_below_3_megabytes(tmp_path):
    file = ROOT / "benchmarks/finished_sweep.py"
    finish = [sys.executable, ROOT / "benchmarks/commands.py", "--finish", file, tmp_path]
    subprocess.run(finish, check=True, capture_output=True)
    name, sweep = load_sweep(str(file))
    finished = Store(tmp_path / "store")
    page = rendered(page_model(Results(make_plan(name, sweep, finished), finished)))
    # Vega is not in the pages of tests.
    assert len(page.encode()) < 3e6 - 0.9e6
