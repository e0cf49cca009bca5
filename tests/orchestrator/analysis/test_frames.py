"""Results in a notebook: data frames, the best setting, a metric along an axis, verdicts; and what
is told where a name, a value or a choice is missing.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from drawn import Drawn, DrawnOfTargets, drawn_results
from sample_methods import Count, Ending, Noisy, Tabled

from orchestrator import (
    InputError,
    MatrixSpec,
    Metric,
    Results,
    Sweep,
    claims,
    digits,
    make_plan,
    product,
    union,
)
from orchestrator.analysis.estimates import estimate
from orchestrator.store.records import Records
from orchestrator.training.execute import execute

BASE, TARGET = (digits.classes(*pair).named(name) for name, pair in (("a", (0, 1)), ("b", (2, 3))))


def levels(*values, seeds=3, **more):
    return product(Drawn.grid(level=list(values), **more), seed=range(seeds))


def by_level(cell):
    """Level 2 above level 1 by far more than the seeds differ."""
    return cell.trial.method.level + 0.01 * cell.trial.seed


def executed(store, cells):
    sweep = Sweep(question="?", cells=cells, expect=len(cells))
    for trial in make_plan("asked", sweep, store).todo:
        execute(trial, store)
    return Results(make_plan("asked", sweep, store), store)


# ---------------------------------------------------------------------- frames


def test_a_frame_has_every_cell_with_typed_axes_and_a_column_for_each_metric(store):
    found = drawn_results(
        store, levels(1.0, 2.0), lambda c: None if c.index == 5 else by_level(c), quality=by_level
    ).frame()
    assert list(found) == ["cell", "key", "outcome", "level", "seed", "score", "quality"]
    assert (str(found["level"].dtype), str(found["seed"].dtype)) == ("float64", "int64")
    assert found["outcome"].tolist() == ["done"] * 5 + ["open"]
    assert found["score"].tolist()[:5] == [1.0, 1.01, 1.02, 2.0, 2.01]
    assert math.isnan(found["score"][5])


def test_numbers_and_truth_values_stay_what_they_are_where_some_cells_have_none(store):
    cells = union(levels(1.0, relative=[True, False]), product(Count.grid(depth=1), seed=[0]))
    frame = drawn_results(store, cells, lambda cell: None).frame()
    assert str(frame["relative"].dtype) == "boolean"
    assert frame["relative"].tolist()[:4] == [True, True, True, False]
    assert frame["relative"].isna().tolist() == [False] * 6 + [True]
    assert str(frame["depth"].dtype) == "Int64"


def test_what_is_logged_by_a_label_has_a_column_for_each_or_rows_of_a_long_frame(store):
    results = drawn_results(store, levels(1.0, seeds=1), lambda cell: {"a": 0.5, "b": 0.7})
    wide = results.frame()
    assert (wide["score[task=a]"][0], wide["score[task=b]"][0]) == (0.5, 0.7)
    long = results.frame(long=True)
    assert long[["metric", "label", "value"]].to_numpy().tolist() == [
        ["score", "task=a", 0.5],
        ["score", "task=b", 0.7],
    ]


def test_a_metric_that_is_called_what_an_axis_is_does_not_take_its_place(store):
    results = drawn_results(store, levels(1.0, 2.0, seeds=1), lambda cell: 0.5)
    results.by_key[results.plan.cells[0].trial.key].record["metrics"][0]["name"] = "level"
    frame = results.frame()
    assert frame["level"].tolist() == [1.0, 2.0]
    assert frame["level[]"][0] == 0.5


def test_means_have_a_row_a_setting_with_half_width_n_and_what_is_missing(store):
    results = executed(
        store, product(Ending.grid(ways=[("done", "done", "diverged")]), seed=[0, 1, 2])
    )
    frame = results.means()
    assert len(frame) == 1
    row = frame.iloc[0]
    expected = estimate([0.0, 1.0])
    assert (row["score"], row["score_half"], row["score_n"]) == (0.5, expected.half, 2)
    assert (row["n"], row["planned"], row["missing"]) == (2, 3, "1 diverged")


def test_no_mean_of_a_frame_goes_over_labels_that_settings_do_not_share(store):
    def score(cell):
        return {"a": 0.5, "b": 0.7} if cell.trial.method.level == 1 else {"a": 0.6}

    frame = drawn_results(store, levels(1.0, 2.0), score).means()
    assert "score" not in frame
    assert frame["score[task=a]"].tolist() == pytest.approx([0.5, 0.6])
    assert frame["score[task=b]_n"].tolist() == [3, 0]


def test_curves_are_a_long_frame_by_stage_name_and_epoch(store):
    results = drawn_results(store, levels(1.0, seeds=2), by_level)
    for result in results.by_key.values():
        points = [["warm/up/loss", 1, 0.5, 11.5], ["warm/up/loss", 2, None, 12.0]]
        result.record["curves"] = [*points, ["train/acc", 1, 0.9, 13.0]]
        result.record["timings"] = {"began": 10.0}
    curves = results.curves()
    assert list(curves)[3:] == ["seed", "stage", "name", "epoch", "value", "seconds"]
    assert curves["stage"].tolist()[:3] == ["warm/up", "warm/up", "train"]
    one = results.curves("loss", where={"seed": 1})
    assert results.curves({"seed": 1}).equals(results.curves(where={"seed": 1}))
    assert one[["seed", "epoch", "seconds"]].to_numpy().tolist() == [[1, 1, 1.5], [1, 2, 2.0]]
    assert (one["value"][0], one["value"].isna().tolist()) == (0.5, [False, True])
    assert len(results.curves("train/acc")) == 2
    with pytest.raises(InputError, match=r"there is no curve 'los'. Valid: 'warm/up/loss'"):
        results.curves("los")


def test_curves_of_several_tasks_are_had_by_the_name_that_they_share(store):
    results = drawn_results(store, levels(1.0, seeds=1), by_level)
    (result,) = results.by_key.values()
    names = ["warm/up/val_accuracy/a", "warm/up/val_accuracy/b", "warm/up/val"]
    result.record["curves"] = [[name, 1, 0.5, 11.0] for name in names]
    result.record["timings"] = {"began": 10.0, "fits": {"warm": 1.0, "warm/up": 2.0}}
    curves = results.curves("val_accuracy")
    assert curves["stage"].tolist() == ["warm/up"] * 2
    assert curves["name"].tolist() == ["val_accuracy/a", "val_accuracy/b"]
    assert len(results.curves("val_accuracy/b")) == len(results.curves(names[1])) == 1


def test_curves_of_needs_are_there_once_however_many_cells_need_them(store):
    results = executed(store, product(Count.grid(depth=1, fan=2), seed=range(2)))
    key = next(iter(results.plan.cells[0].trial.needs.values())).key
    need = results.plan.records[key].without_curves(lambda: [["train/loss", 1, 0.5, 0.0]])
    results.plan = replace(results.plan, records=Records([need]))
    frame = results.curves(needs=True)
    assert frame[["key", "method", "stage", "name", "value"]].to_numpy().tolist() == [
        [key, "count", "train", "loss", 0.5]
    ]


# ---------------------------------------------------------------------- choosing


def test_where_takes_values_and_lists_of_them(store):
    results = drawn_results(store, levels(1.0, 2.0, 3.0), by_level)
    assert results.frame({"level": 2})["level"].tolist() == [2.0] * 3
    assert results.means(where={"level": [1.0, 3.0], "seed": 0})["score"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"levle": 1.0}, "there is no axis 'levle'. Did you mean 'level'"),
        ({"level": 7.0}, "level is never 7.0. Valid: '1', '2'"),
        ({"level": 1.0, "seed": 9}, "seed is never 9"),
    ],
)
def test_an_axis_or_a_value_that_is_none_is_told_with_the_valid_ones(store, where, message):
    results = drawn_results(store, levels(1.0, 2.0), by_level)
    for ask in (results.frame, results.means, results.curves, results.groups):
        with pytest.raises(InputError, match=message):
            ask(where=where)


@pytest.mark.parametrize("ask", ["frame", "means", "best", "curves", "groups", "matrix"])
def test_where_that_is_no_mapping_is_told(store, ask):
    results = drawn_results(store, levels(1.0, 2.0), by_level)
    more = {"metric": "score"} if ask == "best" else {}
    with pytest.raises(InputError, match=r"where='level=1': write axes with their values"):
        getattr(results, ask)(where="level=1", **more)


@pytest.mark.parametrize("metrics", [5, [5], ["score", {}]])
def test_what_is_no_name_of_a_metric_is_told(store, metrics):
    with pytest.raises(InputError, match="the sweep has no metric"):
        drawn_results(store, levels(1.0), by_level).means(metrics)


def test_the_cells_asked_for_say_which_matrix_and_which_end_is_meant(store, monkeypatch):
    """Other methods of the sweep have a headline matrix and a direction of their own."""
    cells = product(union(Noisy.grid(level=[1.0, 2.0]), Tabled.grid()), seed=[0])
    results = executed(store, cells)
    monkeypatch.setattr(Noisy, "metrics", (Metric("score", higher_is_better=False),))
    monkeypatch.setattr(Noisy, "matrices", (MatrixSpec("other", "r", "c", headline=True),))
    assert results.matrix({"method": "tabled"}).name == "table"
    assert results.best("score", {"method": "noisy"}).where["level"] == 1.0
    with pytest.raises(InputError, match="disagree whether a higher score is better"):
        results.best("score")


def test_cells_may_stand_first_where_a_name_may_be_left_out(store):
    results = drawn_results(store, levels(1.0, 2.0), by_level)
    assert results.means({"level": 2.0}).equals(results.means(where={"level": 2.0}))
    assert results.means("score").equals(results.means(["score"]))
    with pytest.raises(InputError, match=r"named twice: {'level': 2.0} and where={'seed': 0}"):
        results.means({"level": 2.0}, {"seed": 0})


class TestLabelsThatMetricsAreLoggedBy:
    @pytest.fixture
    def results(self, store):
        return drawn_results(store, levels(1.0, 2.0), lambda cell: {"a": 0.5, "b": 0.9})

    def test_a_frame_has_the_values_of_these_labels(self, results):
        assert [name for name in results.frame({"task": "a"}) if "[" in name] == ["score[task=a]"]
        long = results.frame({"task": ["a"], "level": 2.0}, long=True)
        assert (len(long), set(long["label"])) == (3, {"task=a"})

    @pytest.mark.parametrize("long", [False, True])
    def test_one_that_nothing_is_logged_by_is_told_with_the_nearest(self, results, long):
        with pytest.raises(
            InputError, match=r"nothing is logged by task='A'. Did you mean 'a'\? Valid: 'a', 'b'"
        ):
            results.frame({"task": "A"}, long=long)

    @pytest.mark.parametrize("ask", ["groups", "curves", "matrix"])
    def test_what_has_no_such_labels_refuses_them(self, results, ask):
        with pytest.raises(InputError, match=f"names 'task', which metrics .* and a {ask[:5]}"):
            getattr(results, ask)(where={"task": "a"})


def test_all_that_is_wrong_with_where_is_told_at_once(store):
    results = drawn_results(store, levels(1.0, 2.0), by_level)
    with pytest.raises(InputError) as caught:
        results.frame({"levle": 1.0, "level": 7.0})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("ask", ["best", "plot", "means"])
def test_a_metric_that_is_none_is_told_with_the_nearest(store, ask):
    results = drawn_results(store, levels(1.0, 2.0), by_level)
    arguments = {"best": ("scor",), "plot": ("scor",), "means": (["scor"],)}[ask]
    more = {"along": "level"} if ask == "plot" else {}
    with pytest.raises(InputError, match=r"no metric 'scor'. Did you mean 'score'"):
        getattr(results, ask)(*arguments, **more)


# ---------------------------------------------------------------------- the best


def test_the_best_setting_comes_with_its_interval_and_whether_the_next_overlaps(store):
    best = drawn_results(store, levels(1.0, 2.0, 3.0), by_level).best("score")
    assert (best.where, best.next) == ({"level": 3.0}, {"level": 2.0})
    assert (best.value.n, best.overlaps) == (3, False)
    assert best.value.mean == pytest.approx(3.01)
    assert repr(best).startswith("<BestSetting score 3.010 ±0.025 (n=3): level=3>")
    assert "the intervals do not overlap" in repr(best)
    assert "<td>level=3</td>" in best._repr_html_()


def test_intervals_that_overlap_are_told_and_so_is_that_there_are_none(store):
    noisy = drawn_results(
        store, levels(1.0, 2.0), lambda cell: by_level(cell) + 3 * cell.trial.seed
    )
    assert noisy.best("score").overlaps is True
    assert noisy.best("score", {"seed": 0}).overlaps is None


def test_the_best_over_some_seeds_is_that_of_these_seeds(store):
    results = drawn_results(store, levels(1.0, 2.0, 3.0), by_level)
    best = results.best("score", {"seed": [0, 1]})
    assert best.where == {"level": 3.0, "seed": [0, 1]}
    assert best.next == {"level": 2.0, "seed": [0, 1]}


def test_the_best_is_the_lowest_where_the_method_or_the_caller_says_so(store, monkeypatch):
    results = drawn_results(store, levels(1.0, 2.0), by_level)
    assert results.best("score", highest=False).where == {"level": 1.0}
    monkeypatch.setattr(Drawn, "metrics", (Metric("score", higher_is_better=False),))
    assert results.best("score").where == {"level": 1.0}


def test_where_of_the_best_is_a_where(store):
    results = drawn_results(
        store, levels(1.0, 2.0, base=[Count(depth=0), Count(depth=1)]), by_level
    )
    (group,) = results.groups(results.best("score").where)
    assert group.labels["level"] == "2"


def test_labels_that_settings_do_not_share_have_to_be_chosen(store):
    def score(cell):
        return {"a": 0.5, "b": 0.9} if cell.trial.method.level == 1 else {"a": 0.6}

    results = drawn_results(store, levels(1.0, 2.0), score)
    with pytest.raises(InputError, match=r"task=a, task=b.*Choose one, as in where={'task': 'a'}"):
        results.best("score")
    assert results.best("score", {"task": "a"}).where == {"level": 2.0}
    with pytest.raises(InputError, match=r"nothing is logged by task='c'. Valid: 'a', 'b'"):
        results.best("score", {"task": "c"})
    with pytest.raises(InputError, match="score is not logged by task=b; it is by: task=a"):
        results.best("score", {"task": "b", "level": 2.0})


def test_the_first_task_of_a_metric_of_targets_counts_where_it_is_named(store):
    cells = product(DrawnOfTargets.grid(level=[1.0, 2.0]), tasks=[(BASE, TARGET)], seed=range(2))
    results = drawn_results(store, cells, lambda c: {"a": -c.trial.method.level, "b": 0.5})
    assert results.best("score", {"task": "a"}).value.mean == -1.0
    assert results.best("score", {"task": BASE}).value.mean == -1.0
    assert results.best("score").value.mean == 0.5


# ---------------------------------------------------------------------- along an axis


def drawn_lines(figure):
    """Points of each solid line, by the name of the line, and the names of level ones."""
    plot = figure.axes[0]
    solid = {
        line.get_label(): line.get_xydata().tolist()
        for line in plot.lines
        if len(line.get_xdata()) > 2
    }
    level = [line.get_label() for line in plot.lines if len(line.get_xdata()) == 2]
    return solid, level


def test_a_plot_has_a_line_for_each_other_setting_with_a_band(store):
    cells = levels(1.0, 2.0, 4.0, rate=[0.1, 0.2])
    figure = drawn_results(store, cells, by_level).plot("score", along="level", chance=0.5)
    solid, level = drawn_lines(figure)
    assert set(solid) == {"rate 0.1", "rate 0.2"}
    assert solid["rate 0.1"] == [[x, pytest.approx(x + 0.01)] for x in (1.0, 2.0, 4.0)]
    assert level == ["chance 0.5"]
    assert len(figure.axes[0].collections) == 2  # bands
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_values_that_are_no_numbers_stand_in_the_order_of_the_sweep(store):
    cells = levels(1.0, base=[Count(depth=2), Count(depth=0), Count(depth=1)])
    figure = drawn_results(store, cells, by_level).plot("score", along="base")
    (points,) = drawn_lines(figure)[0].values()
    assert [x for x, _ in points] == [0.0, 1.0, 2.0]
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ["depth=2" in tick for tick in ticks] == [True, False, False]


def test_settings_without_the_axis_are_level(store):
    cells = union(levels(1.0, 2.0, 3.0), product(Ending.grid(ways=("done",)), seed=range(3)))
    figure = drawn_results(store, cells, lambda cell: 1.0 + cell.trial.seed).plot(
        "score", along="level"
    )
    solid, level = drawn_lines(figure)
    assert (list(solid), level) == (["drawn"], ["ending, ways done"])


def test_the_seed_is_no_axis_to_plot_along(store):
    results = drawn_results(store, levels(1.0, 2.0), by_level)
    with pytest.raises(
        InputError, match=r"along='seed': a line is of means over seeds; .* Valid: 'level'"
    ):
        results.plot("score", along="seed")


def test_a_declared_chance_is_drawn(store, monkeypatch):
    monkeypatch.setattr(Drawn, "metrics", (Metric("score", chance=0.0),))
    figure = drawn_results(store, levels(1.0, 2.0, 3.0), by_level).plot("score", along="level")
    assert drawn_lines(figure)[1] == ["chance 0"]


# ---------------------------------------------------------------------- verdicts


def test_verdicts_are_a_list_that_shows_itself(store):
    claim = claims.Higher(metric="score", where={"level": 2.0}, than={"level": 1.0}, paper="<C1>")
    found = drawn_results(store, levels(1.0, 2.0), by_level, claims=[claim]).verdicts()
    assert [one.verdict for one in found] == ["reproduced"]
    assert found.frame()["verdict"].tolist() == ["reproduced"]
    assert repr(found).splitlines()[0] == "<Verdicts 1 claim: 1 reproduced>"
    assert "&lt;C1&gt;" in found._repr_html_()
    assert "&lt;C1&gt;" in found[0]._repr_html_()
    assert repr(found[0]).startswith("<Verdict <C1>: ")
    assert len(repr(found[0]).splitlines()) == 1


def test_a_sweep_without_claims_says_so(store):
    assert repr(drawn_results(store, levels(1.0), by_level).verdicts()) == (
        "<Verdicts the sweep has no claims>"
    )
