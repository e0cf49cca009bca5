"""For authors of methods: what `methods` shows, `new-method` writes and `check-method` says."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from orchestrator import InputError, Method, Trial, axis
from orchestrator.spec.example import example_sweep
from orchestrator.spec.registry import discover
from orchestrator.testing.notebook_code import method_from_notebook
from orchestrator.testing.rules import canonical_comes_to_rest

METHOD = '''"""A method.

Departs from the paper: nothing known.
"""
from orchestrator import Method, Metric, axis


class {cls}(Method):
    """Counts."""

    name = "{name}"
    uses = frozenset({{"seed"}})
    metrics = (Metric("total", headline=True),)

    number: int = axis(1, over=(1, 2), help="what is counted")

    def train(self, run):
        run.log(total=self.number)
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`package(good=..., bad=...)`: writes a package of these modules that an entry point names."""

    def write(called="counting", **modules):
        folder = tmp_path / called
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
        dist = SimpleNamespace(name="my-counting", version="1.2")
        entries = [SimpleNamespace(value=called, dist=dist)]
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
        monkeypatch.syspath_prepend(tmp_path)
        return folder

    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("counting", "written", "broken"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = (\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        (METHOD.format(cls="Bad", name="Bad Name"), "not a lower-case identifier"),
    ],
)
def test_one_broken_module_is_named_and_takes_no_other_method_away(spolia, package, bad, reason):
    folder = package(good=METHOD.format(cls="Good", name="good"), bad=bad)
    code, out, err = spolia("methods")
    assert "good" in out
    assert code == 1
    assert "the module 'counting.bad' of the entry-point group" in err
    assert reason in err
    if "SystemExit" not in reason and "Name" not in bad:
        assert f"{folder}/bad.py, line 1" in err
    assert spolia("methods", "good")[0] == 0
    code, _, err = spolia("methods", "bad")
    assert (code, "counting.bad" in err) == (2, True)


def test_a_method_is_shown_with_what_it_leaves_and_its_package(spolia, package):
    package(good=METHOD.format(cls="Good", name="good"))
    _, out, _ = spolia("methods", "good")
    assert "counting.good of my-counting 1.2" in out
    shown = " ".join(out.split())
    assert "number 1 1 2 what is counted (int)" in shown
    assert "metric total" in shown
    assert "Good.grid(number=[1, 2])" in out
    assert "expect=6" in out


def test_ours_show_metrics_components_and_matrices_with_labels(spolia):
    shown = " ".join(spolia("methods", "fine_tune")[1].split())
    assert "metric accuracy task Accuracy on the test images of each task." in shown
    assert "component network task" in shown
    assert "of spolia" in shown
    shown = " ".join(spolia("methods", "recombine")[1].split())
    assert "matrix accuracy_by_head extractor x head" in shown
    assert "takes 1 or more tasks: tasks" in shown
    shown = " ".join(spolia("methods", "sequential_fine_tuning")[1].split())
    assert "since it was learned; lower is better" in shown
    assert "takes 2 or more tasks: tasks" in shown


@pytest.mark.parametrize("method", discover().values(), ids=lambda method: method.name)
def test_the_example_of_each_method_is_a_sweep(method):
    names: dict = {"__doc__": "?"}
    exec(example_sweep(method), names)
    assert len(names["sweep"].cells) == names["sweep"].expect


# ---------------------------------------------------------------------- new-method


@pytest.fixture
def written(spolia, tmp_path):
    before, path = set(sys.modules), list(sys.path)
    code, out, err = spolia("new-method", "written", "--to", "mine")
    assert code == 0, err
    assert "pip install --editable mine" in out
    assert "spolia run --smoke mine/written_sweep.py" in out  # two packages, two names
    yield tmp_path / "mine"
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "spolia_written":
            del sys.modules[name]


def test_what_it_writes_plans_and_keeps_the_contract(spolia, written):
    code, out, err = spolia("plan", "mine/written_sweep.py")
    assert code == 0, err
    assert "trials  3  written" in out
    code, out, err = spolia("check-method", "mine")
    assert code == 0, out + err
    assert out.count("  ok      ") == 11


def test_nothing_is_written_over_or_under_a_name_that_is_taken(spolia, written):
    code, _, err = spolia("new-method", "another", "--to", "mine")
    assert (code, "is there already" in err) == (2, True)
    code, _, err = spolia("new-method", "fine_tune")
    assert (code, "methods.fine_tune.FineTune" in err) == (2, True)
    code, _, err = spolia("new-method", "My-Method")
    assert (code, "cannot be the name of a method" in err) == (2, True)


# ---------------------------------------------------------------------- check-method

BROKEN = '''"""A method."""
import random

from orchestrator import Method, Metric, axis


class Broken(Method):
    name = "broken"
    uses = frozenset({"seed"})
    metrics = (Metric("total"), Metric("other"))

    number: int = axis(1, over=(1, 2))
    unused: int = axis(1, over=(2,))

    def train(self, run):
        run.log(total=self.helped(), other=1.0)

    def helped(self):
        value = random.random()
        return value
'''


def test_each_broken_rule_is_explained_by_what_to_change(spolia, package, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    code, out, _ = spolia("check-method", "broken.py")
    assert code == 1
    shown = " ".join(out.split())
    assert "broken (broken:Broken)" in shown
    assert "note what users look for is there settings without help: number, unused" in shown
    assert (
        "broken the same seed gives the same bits run again, it ends otherwise: metric total:"
        in shown
    )
    assert "-> Draw by name: run.network, run.draw" in shown
    assert "broken the module says what departs from the paper" in shown
    assert "killed before line 1" in shown


class Restless(Method):
    name = "restless"
    number: int = axis(1)

    def canonical_for(self, trial):
        return self.replace(number=self.number + 1)

    def train(self, run):
        raise AssertionError


def test_a_canonical_form_that_is_none_is_told():
    reference = SimpleNamespace(trial=Trial(method=Restless()))
    with pytest.raises(AssertionError, match="canonical_for of what it returned returns something"):
        canonical_comes_to_rest(reference, None)


@pytest.mark.parametrize(
    ("text", "problem", "change"),
    [
        ("import no_such_module\n", "broken.py, line 1: ModuleNotFoundError", "no side effects"),
        (METHOD.format(cls="A", name="A B"), "not a lower-case identifier", 'name = "my_method"'),
        (
            METHOD.format(cls="A", name="a").replace(
                "run.log(total=self.number)", "run.infeasibl()"
            ),
            "has no attribute 'infeasibl'",
            "smoke value",
        ),
    ],
)
def test_what_does_not_even_begin_is_explained_too(
    spolia, package, tmp_path, text, problem, change
):
    (tmp_path / "broken.py").write_text(text)
    code, out, _ = spolia("check-method", "broken.py")
    assert code == 1
    assert problem in out
    assert change in out


def test_a_folder_of_modules_is_taken_without_its_tests_and_sweeps(spolia, package, tmp_path):
    folder = tmp_path / "written"
    folder.mkdir()
    (folder / "counting.py").write_text(METHOD.format(cls="Good", name="good"))
    for other in ("test_counting.py", "sweep_large.py"):
        (folder / other).write_text("raise RuntimeError\n")
    code, out, err = spolia("check-method", "written")
    assert code == 0, out + err
    assert "good (counting:Good)" in out


def test_a_path_without_a_method_is_bad_input(spolia, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in ("empty", "nowhere.py"):
        code, _, err = spolia("check-method", path)
        assert (code, "is no module, package or notebook" in err) == (2, True)


# ---------------------------------------------------------------------- from a notebook

CELLS = [
    "%matplotlib inline\nimport math\nfrom orchestrator import Method, Metric, axis, Session",
    "FACTOR = 1\nunrelated = 5",
    "def scaled(number):\n    # by the factor\n    return FACTOR * math.sqrt(number)",
    "FACTOR = 2",
    METHOD.format(cls="Good", name="good").replace(
        "total=self.number", "total=scaled(self.number)"
    ),
    "session = Session(\n",
]


@pytest.fixture
def notebook(tmp_path):
    cells = [
        {"cell_type": "code", "source": [line + "\n" for line in cell.split("\n")]}
        for cell in CELLS
    ]
    path = tmp_path / "mine.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": "# x"}, *cells]}))
    return path


def test_a_class_of_a_notebook_comes_with_what_it_uses_and_nothing_else(notebook):
    text = method_from_notebook(notebook)
    assert "FACTOR = 2" in text
    assert "# by the factor" in text
    assert "import math" in text
    assert not {"FACTOR = 1", "unrelated", "%matplotlib", "session ="} & set(text.splitlines())
    assert text.index("import math") < text.index("def scaled") < text.index("class Good")
    with pytest.raises(InputError, match=r"no method called 'goo'"):
        method_from_notebook(notebook, "goo")


def test_it_is_checked_and_becomes_a_package(spolia, notebook, monkeypatch):
    path = list(sys.path)
    code, out, _ = spolia("check-method", notebook)
    assert code == 0, out
    assert "spolia new-method NAME --from" in out
    code, out, err = spolia("new-method", "good", "--from", notebook)
    assert code == 0, err
    code, out, err = spolia("plan", "spolia-good/good_sweep.py")
    assert code == 0, err
    assert "trials  3  good" in out
    sys.path[:] = path
    sys.modules.pop("spolia_good", None)
    sys.modules.pop("spolia_good.good", None)
