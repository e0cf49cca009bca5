"""The page of a sweep: whole in one file, safe for any name, there before anything has run."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest
from sample_methods import Priced

from methods.recombine import Recombine
from orchestrator import Results, load_sweep, make_plan
from orchestrator.analysis.plots import series
from orchestrator.tracking.manifest import cell_entry
from orchestrator.tracking.run_names import RunNames
from orchestrator.training.execute import execute


class Page(HTMLParser):
    """Text of a page; void elements aside, what is opened is closed. It has no pictures."""

    def __init__(self, text):
        super().__init__()
        self.text, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        assert tag != "img"
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_has_question_claims_results_matrices_and_use(spolia, sweep_file, tmp_path):
    file = sweep_file(
        "product(Recombine.grid(of=CompatibleFeatures.grid(ingredients=[(), ('identical',)], "
        "epochs=2), split='pool'), network=resnet8(width=4), "
        "tasks=(digits.classes(0, 1, 2).images(limit=60).named('a'), digits.classes(0, 1, "
        "3).images(limit=60).named('b')), seed=range(2)), "
        "claims=[claims.Higher(metric='compatibility', where={'ingredients': 'identical'}, "
        "than={'ingredients': 'none'}, paper='C7')]",
        4,
        before="from orchestrator import claims",
    )
    assert spolia("run", file, "--executor", "inline", "--tracking", "none")[0] == 0
    code, out, err = spolia("report", file)
    assert (code, out) == (0, "spolia-home/tables/asked/report.html\n"), err
    page = Page((tmp_path / "spolia-home/tables/asked/report.html").read_text())
    text = " ".join(" ".join(page.text).split())
    assert page.open == []
    assert "What is asked?" in text
    assert "C7 compatibility is higher at ingredients=identical than at ingredients=none" in text
    assert "4 of 4 cells done; 8 of 8 trials done." in text
    assert "8 trials took" in text
    for matrix in Recombine.matrices:
        assert matrix.name.replace("_", " ") in page.text
    # Both trainings of a setting, and the seeds behind its claim.
    assert "joint/own/a" in page.text
    assert "ingredients=identical" in page.text


def test_metrics_that_a_method_declares_are_drawn_against_each_other(spolia, sweep_file, tmp_path):
    file = sweep_file(
        "product(union(Priced.grid(size=[1, 2, 3], shape=['round', 'flat']), Count.grid()), "
        "seed=range(2))",
        14,
    )
    assert spolia("run", file, "--executor", "inline", "--tracking", "none")[0] == 0
    assert spolia("report", file, "--out", tmp_path / "page.html")[0] == 0
    page = Page((tmp_path / "page.html").read_text())
    assert "worth against price" in page.text


def test_cells_with_other_axes_stand_in_tables_of_their_own(spolia, sweep_file, tmp_path):
    file = sweep_file(
        "product(union(Priced.grid(size=[1, 2, 3], shape='flat'), Count.grid()), seed=range(2))", 8
    )
    assert spolia("run", file, "--executor", "inline", "--tracking", "none")[0] == 0
    code, out, _ = spolia("results", file)
    lines = [line.strip() for line in out.splitlines()]
    assert code == 0
    assert (
        "priced  shape=flat" in lines
    )  # what all have is said once, and no column is full of dashes
    assert "count" in lines
    table = lines[lines.index("priced  shape=flat") + 1 :]
    assert table[0].split() == ["size", "worth", "n"]
    assert [(row.split()[0], row.split()[-1]) for row in table[1:4]] == [
        ("1", "2"),
        ("2", "2"),
        ("3", "2"),
    ]
    spolia("report", file, "--out", tmp_path / "page.html")
    text = Page((tmp_path / "page.html").read_text()).text
    assert "priced  shape=flat" in text
    assert "-" not in text


def test_lines_of_a_plot_are_what_differs_in_one_setting_only(store, sweep_file):
    file = sweep_file(
        "product(union(Priced.grid(size=[1, 2, 3], shape=['round', 'flat']), Count.grid()), "
        "seed=range(2))",
        14,
    )
    name, sweep = load_sweep(file)
    for trial in make_plan(name, sweep, store).todo:
        execute(trial, store)
    ((plot, found),) = series(Results(make_plan(name, sweep, store), store))
    assert (plot.metric, plot.against) == ("worth", "price")
    assert {line.name: [(x, y) for x, y, _ in line.points] for line in found} == {
        "shape round": [(1.0, 10.5), (2.0, 20.5), (3.0, 30.5)],
        "shape flat": [(1.0, 10.5), (2.0, 20.5), (3.0, 30.5)],
    }


def test_a_plot_averages_over_axes_within_each_seed(store, sweep_file, monkeypatch):
    file = sweep_file(
        "product(Priced.grid(size=[1, 2], shape=['round', 'flat']), seed=range(2))", 8
    )
    name, sweep = load_sweep(file)
    for trial in make_plan(name, sweep, store).todo:
        execute(trial, store)
    monkeypatch.setattr(
        Priced, "plots", tuple(dataclasses.replace(plot, over=("shape",)) for plot in Priced.plots)
    )
    ((_, found),) = series(Results(make_plan(name, sweep, store), store))
    ((line, points),) = [(line.name, line.points) for line in found]
    assert line == "all cells"
    assert [(x, y) for x, y, _ in points] == [(1.0, 10.5), (2.0, 20.5)]
    assert points[0][2] == pytest.approx(
        12.706 * 0.5, rel=1e-3
    )  # two seeds that differ by one, not four results


def test_what_a_question_says_is_text_not_markup(spolia, sweep_file, tmp_path):
    file = sweep_file("product(Count.grid(), seed=0)")
    file.write_text(file.read_text().replace("What is asked?", "Is a < b & c > d?"))
    spolia("run", file, "--executor", "inline", "--tracking", "none")
    spolia("report", file, "--out", tmp_path / "page.html")
    assert "Is a &lt; b &amp; c &gt; d?" in (tmp_path / "page.html").read_text()


def test_a_run_is_called_by_the_axes_that_its_cell_has(store, sweep_file):
    name, sweep = load_sweep(
        sweep_file(
            "product(union(Priced.grid(size=[1, 2]), Count.grid(number=[3])), seed=range(2))", 6
        )
    )
    plan = make_plan(name, sweep, store)
    names = RunNames(plan)
    first, *_, last = (cell_entry(plan, cell, names) for cell in plan.cells)
    assert first["name"] == "priced · size=1 · 0"
    assert "-" not in {*first["params"].values(), *last["params"].values()}
    assert last["name"] == "count · number=3 · 1"
