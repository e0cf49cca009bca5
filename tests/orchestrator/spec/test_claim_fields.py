"""Wrong claims are told when they are written or with their sweep, by their name and line, and
never by another error than Spolia's.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing

import pytest
from drawn import Drawn, DrawnOnce, DrawnOnTasks
from sample_methods import Count, Tabled

from orchestrator import InputError, Sweep, SweepError, claims, digits, product, union
from orchestrator.analysis import claims as kinds
from orchestrator.spec.claim import Claim

LOW, HIGH, TOP = ({"level": level} for level in (0.0, 1.0, 2.0))
SCORE = {"metric": "score"}
RIGHT = {
    "AboveAll": {"where": TOP, "than": (LOW, HIGH)},
    "DependsOn": {"axis": "level"},
    "Equal": {"where": HIGH, "than": LOW, "within": 0.1},
    "GainHigher": {"gain": HIGH, "without": LOW, "where": {"rate": 0.0}, "than": {"rate": 1.0}},
    "Higher": {"where": HIGH, "than": LOW},
    "Keeps": {"where": HIGH, "of": LOW, "share": 0.5},
    "NoWorse": {"where": HIGH, "than": LOW, "by": 0.1, "never": 0.2},
    "Ranked": {"axis": "level", "how": "rises"},
    "Recovered": {"where": HIGH, "floor": LOW, "ceiling": TOP, "above": 0.5},
    "Related": {"axis": "rate", "where": HIGH, "how": "with", "other": "score", "at": LOW},
    "Spread": {"axis": "level", "above": 0.1},
    "Unchanged": {"axis": "level"},
    "Varies": {"axis": "level"},
    "Within": {"where": HIGH, "above": 0.1},
}
"""A claim of each kind that can be decided."""

NAN, INFINITE = float("nan"), float("inf")
WRONG = {
    "number": [NAN, INFINITE, "0.1", True, [0.1], {}, 1j],
    "name": [3, 0.5, True, ["a"], {"a": 1}, object(), "unheard of"],
    "labels": [
        "level=1",
        3,
        [HIGH],
        {3: 1},
        {"": 1},
        {"level": []},
        {"level": object()},
        {"level": NAN},
        {"level": "unheard of"},
        {"level": 7.5},
        {"level": [1.0, 7.5]},
        {"level": [[1.0]]},
        {"levle": 1.0},
        {"level": {"a": 1}},
        {"level": range(2)},
        {"level": "-"},
    ],
    "several": [(), [], {}, HIGH, "level", 3, (3,), ({"levle": 1.0},), (HIGH, "level")],
    "axes": ["rate", 3, (3,), {"rate": 1}, ({"rate": 1},), ("unheard of",)],
    "choice": ["", "rise", 3, None, ["rises"]],
}


def made(kind, **fields):
    """A sweep of nothing but one claim."""
    claim = getattr(claims, kind)(**{**SCORE, **RIGHT[kind], **fields})
    rates = [0.0, 1.0, 2.0, 3.0, 4.0]
    cells = product(Drawn.grid(level=[0.0, 1.0, 2.0], rate=rates), seed=range(2))
    return Sweep(question="?", cells=cells, expect=len(cells), claims=[claim])


def all_kinds():
    found = {name: value for name, value in vars(kinds).items() if inspect.isclass(value)}
    return [n for n, v in found.items() if issubclass(v, Claim) and v is not Claim]


def values_of(name, hint):
    if typing.get_origin(hint) is typing.Literal:
        return WRONG["choice"]
    if hint == tuple[str, ...]:
        return WRONG["axes"]
    if typing.get_origin(hint) is tuple:
        return WRONG["several"]
    if typing.get_origin(hint) is not None and "Mapping" in str(hint):
        return WRONG["labels"]
    if hint is float or hint == float | None:
        return WRONG["number"]
    return [one for one in WRONG["name"] if name != "paper" or not isinstance(one, str)]


def test_every_kind_of_claim_is_tried():
    assert sorted(all_kinds()) == sorted(RIGHT)


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_claim_is_taken_and_a_wrong_value_of_any_field_is_told(kind):
    assert made(kind).claims
    cls = getattr(claims, kind)
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        wrong = [*values_of(field.name, hints[field.name])]
        if hints[field.name] != float | None:
            wrong.append(None)
        for value in wrong:
            with pytest.raises(InputError) as caught:
                made(kind, **{field.name: value})
            text = str(caught.value)
            assert f"{kind}" in text, (field.name, value)
            assert "line" in text, (field.name, value)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("Within", {"above": None}, "it needs a bar"),
        ("Within", {"above": 0.3, "below": 0.2}, "below has to be more than above=0.3, got 0.2"),
        ("Within", {"above": 0.3, "below": 0.3}, "below has to be more than above=0.3, got 0.3"),
        ("NoWorse", {"by": 0.3, "never": 0.2}, "never has to be more than by=0.3, got 0.2"),
        ("NoWorse", {"by": -0.1}, "by: expected a number at least 0, got -0.1"),
        ("NoWorse", {"by": -0.2, "never": -0.1}, "never: expected a number above 0, got -0.1"),
        ("Equal", {"within": 0}, "within: expected a number above 0, got 0.0"),
        ("Keeps", {"share": -0.5}, "share: expected a number above 0, got -0.5"),
        ("Recovered", {"above": -1}, "above: expected a number at least 0, got -1.0"),
        ("Spread", {"above": -0.1}, "above: expected a number at least 0, got -0.1"),
        ("Varies", {"above": -0.1}, "above: expected a number at least 0, got -0.1"),
        ("Ranked", {"rho": -0.8}, "rho: expected a number at least 0 and below 1, got -0.8"),
        ("Ranked", {"rho": 1}, "rho: expected a number at least 0 and below 1, got 1.0"),
        ("Ranked", {"how": "rise"}, "how: it cannot be 'rise'. Did you mean 'rises'?"),
        ("Related", {"rho": 1.5}, "rho: expected a number at least 0 and below 1, got 1.5"),
        ("Higher", {"than": HIGH}, "level=1.0 and level=1.0 are the same cells"),
        ("Higher", {"than": {"level": "1"}}, "level=1.0 and level='1' are the same cells"),
        ("Higher", {"where": {}, "than": {"level": [0, 1, 2]}}, "all cells and level="),
        ("AboveAll", {"than": (LOW, TOP)}, "are the same cells: a side against itself"),
        ("AboveAll", {"than": (LOW, LOW)}, "are the same cells: a side against itself"),
        ("Recovered", {"ceiling": LOW}, "are the same cells: a side against itself"),
        ("GainHigher", {"without": HIGH}, "are the same cells: a side against itself"),
        ("GainHigher", {"where": LOW, "than": HIGH}, "gain and where both name 'level'"),
        ("Recovered", {"at": {"level": 0.0}}, "at and where both name 'level'"),
        ("Related", {"at": HIGH}, "are the same cells: a side against itself"),
        (
            "Spread",
            {"axis": "task"},
            "the sweep has no axis 'task'. Valid: 'level', 'rate', 'seed'.",
        ),
        ("Spread", {"axis": "levle"}, "the sweep has no axis 'levle'. Did you mean 'level'?"),
        ("DependsOn", {"axis": "seed"}, "it cannot be about the axis 'seed'"),
        ("Higher", {"by": NAN}, "by: expected a finite float, got nan"),
        ("Higher", {"bye": 0.1}, "it has no 'bye'. Did you mean 'by'?"),
        ("Higher", {"metric": ""}, "metric: expected a name, got ''"),
        (
            "Higher",
            {"choose": "scor", "over": ("rate",)},
            "no method here has a metric 'scor'. Did you mean 'score'?",
        ),
    ],
)
def test_a_claim_that_cannot_be_meant_is_told(kind, fields, told):
    with pytest.raises(InputError) as caught:
        made(kind, **fields)
    assert told in str(caught.value)


def test_all_that_is_wrong_with_a_claim_is_told_at_once():
    with pytest.raises(InputError) as caught:
        claims.NoWorse(metric=3, where="level", by=-1, nevr=0.2, paper="C1")
    assert caught.value.problems == (
        "metric: expected a name or entry(...), got 3",
        """where: expected values by axis such as {"split": "pool"}, got 'level'""",
        "by: expected a number at least 0, got -1.0",
        "it has no 'nevr'. Did you mean 'never'? "
        "Valid: 'metric', 'paper', 'where', 'than', 'by', 'never'.",
        "than: it has to be given",
        "never: it has to be given",
    )
    assert caught.value.summary.startswith("claim C1 (NoWorse, line ")


def test_a_claim_that_a_helper_makes_names_the_line_of_the_sweep(tmp_path, monkeypatch):
    (tmp_path / "wrong_helper.py").write_text(
        "from orchestrator import claims\n\n\n\n\n\n"
        "def higher():\n    return claims.Higher(metric='score', wher={})\n"
    )
    (tmp_path / "asked.py").write_text(
        "import wrong_helper\n\nfound = [\n    wrong_helper.higher(),\n]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="claim Higher in line 4 cannot be used"):
        importlib.import_module("asked")


def test_what_is_wrong_with_all_claims_of_a_sweep_is_told_at_once():
    wrong = [
        claims.Higher(metric="scor", where={"level": 7.0}, than={"levle": 0.0}),
        claims.Spread(metric="score", axis="task", above=0.1, paper="C2"),
        "C3",
        claims.Higher,
    ]
    cells = product(Drawn.grid(level=[0.0, 1.0]), seed=range(2))
    with pytest.raises(SweepError) as caught:
        Sweep(question="?", cells=cells, expect=4, claims=wrong)
    told = [problem.split(": ", 1) for problem in caught.value.problems]
    first = next(line for name, line in told if name.startswith("claim Higher in line"))
    assert first.startswith("no method here has a metric 'scor'. Did you mean 'score'?")
    assert len(told) == 6
    assert told[3][0].startswith("claim C2 (Spread, line ")
    assert "claims[2]: expected a claim such as claims.Higher(...), got 'C3'" in str(caught.value)
    for no_list in (wrong[0], None, "C3"):
        with pytest.raises(SweepError, match="claims: expected a list such as"):
            Sweep(question="?", cells=cells, expect=4, claims=no_list)


def told_of(cells, kind="Within", **fields):
    """What a sweep of these cells says of one claim."""
    bar = {"above": 0.0} if kind == "Within" else {}
    claim = getattr(claims, kind)(**{**SCORE, **bar, **fields})
    try:
        Sweep(question="?", cells=cells, expect=len(cells), claims=[claim])
    except SweepError as error:
        return [problem.split(": ", 1)[1] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("kind", "fields", "levels", "problem"),
    [
        ("Unchanged", {}, 1, "level has 1 value here, and it takes at least 2"),
        ("DependsOn", {}, 2, "level has 2 values here, and it takes at least 3"),
        ("Ranked", {"how": "rises"}, 2, "level has 2 values here, and it takes at least 3"),
        (
            "Related",
            {"how": "with", "other": "quality", "at": {}},
            4,
            "level has 4 values here, and it takes at least 5",
        ),
        (
            "Ranked",
            {"how": "rises", "rho": 0.5},
            13,
            "rho: a bar other than 0 is tested on at most 12 values, and level has 13",
        ),
    ],
)
def test_an_axis_with_too_few_or_too_many_values_to_decide_a_claim_is_told(
    kind, fields, levels, problem
):
    where = {"where": {"level": [float(level) for level in range(levels)]}}
    cells = product(Drawn.grid(level=[float(level) for level in range(20)]), seed=range(2))
    assert told_of(cells, kind, axis="level", **where, **fields) == [problem]
    enough = {"where": {"level": [float(level) for level in range(5)]}}
    assert told_of(cells, kind, axis="level", **enough, **fields) == []


@pytest.mark.parametrize(
    ("kind", "fields", "sides"),
    [
        ("Higher", {"where": {"level": 1}, "than": {"level": 0}}, ("level=1", "level=0")),
        ("Keeps", {"where": {"level": 1}, "of": {"level": 0}, "share": 1}, ("level=1", "level=0")),
        ("Unchanged", {"axis": "level"}, ("level=0", "level=1")),
    ],
)
def test_sides_with_other_values_of_an_axis_that_they_do_not_name_are_told(kind, fields, sides):
    """The claim would stay undecided when all has been run."""
    cells = union(
        product(Drawn.grid(level=[0.0], rate=[1.0]), seed=range(3)),
        product(Drawn.grid(level=[1.0], rate=[1.0, 2.0]), seed=range(2)),
    )
    rates = {"level=0": "1", "level=1": "1 or 2"}
    seeds = {"level=0": "0 or 1 or 2", "level=1": "0 or 1"}
    first, second = sides
    assert told_of(cells, kind, **fields) == [
        f"{axis} is {values[first]} at {first} and {values[second]} at {second}; "
        "name it if that is meant"
        for axis, values in (("rate", rates), ("seed", seeds))
    ]
    alike = product(Drawn.grid(level=[0.0, 1.0], rate=[1.0, 2.0]), seed=range(2))
    assert told_of(alike, kind, **fields) == []


def test_a_side_that_draws_nothing_from_the_seed_may_have_one_cell():
    cells = union(product(Drawn.grid(level=1.0), seed=range(3)), product(DrawnOnce.grid(), seed=0))
    sides = {"where": {"method": "drawn"}, "than": {"method": "drawn_once"}}
    assert told_of(cells, "Higher", **sides) == []


def test_a_task_that_is_drawn_by_the_seed_may_be_named():
    task = digits.classes(0, 1).images(limit=20).drawn().named("ones")
    cells = product(DrawnOnTasks.grid(), tasks=task, seed=range(2))
    assert told_of(cells, where={"task": task}) == []


def test_a_ranking_is_along_numbers_alone():
    """What is left out silently would be missed where the claim is read."""
    cells = product(Drawn.grid(relative=[None, True], level=[0.0, 1.0, 2.0]), seed=range(2))
    assert told_of(cells, "Ranked", axis="relative", how="rises")[0] == (
        "relative is not always a number: none, True; where= may leave that out"
    )


def test_tasks_and_metrics_that_the_cells_of_a_side_lack_are_told():
    task = digits.classes(0, 1).named("ones")
    cells = product(union(DrawnOnTasks.grid(), Count.grid()), tasks=task, seed=range(2))

    def told(**fields):
        (problem,) = told_of(cells, **fields)
        return problem

    drawn = {"method": "drawn_on_tasks"}
    assert told(where={**drawn, "task": "one"}) == (
        "no task of score is called 'one'. Did you mean 'ones'? Valid: 'ones'."
    )
    assert told(where={**drawn, "task": ["ones", 3]}).startswith("no task of score is called '3'")
    assert not told_of(cells, where={**drawn, "task": task})
    assert told(where={**drawn, "task": digits.classes(2, 3).named("ones")}) == (
        "the task that is called 'ones' in these cells is another one"
    )
    assert told(where={"method": "count"}) == (
        "count has no score, which it is about at method='count'"
    )
    assert told(where={}) == "count has no score, which it is about at all cells"
    assert told(where={"method": "-"}).startswith("no cell of the sweep is so")


def test_a_side_is_told_by_the_names_of_its_tasks():
    ones, others = digits.classes(0, 1).named("ones"), digits.classes(2, 3).named("others")
    both = [(ones,), (others,)]
    cells = product(union(DrawnOnTasks.grid(), Count.grid()), tasks=both, seed=range(2))
    assert told_of(cells, where={"method": "count", "tasks": (ones,)}) == [
        "count has no score, which it is about at method='count', tasks=ones"
    ]
    assert told_of(cells, where={"tasks": digits.classes(4, 5).named("otters")}) == [
        "tasks is never otters. Did you mean 'others'? Valid: 'ones', 'others'."
    ]
    # Called alike and made of other images: what differs is told.
    assert told_of(cells, where={"tasks": ones.validation(0.3)}) == [
        "tasks is never this ones: held_out of ones is 0.3, in the sweep 0.1"
    ]


@pytest.mark.parametrize("wrong", [{"row": ""}, {"column": 3}, {"matrix": None}])
def test_an_entry_of_a_matrix_has_names(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}: expected a name"):
        claims.entry(**{"matrix": "table", "row": "a", "column": "b", **wrong})


def test_a_matrix_that_no_method_has_is_told():
    cells = product(Tabled.grid(), seed=range(2))
    claim = claims.Within(metric=claims.entry("tabel", row="a", column="b"), where={}, above=0)
    with pytest.raises(SweepError, match="no method here has a matrix 'tabel'"):
        Sweep(question="?", cells=cells, expect=2, claims=[claim])


def test_a_claim_of_ones_own_is_checked_as_far_as_its_types_are_known():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(Claim):
        names: list[str]
        most: float = 1.0

        @property
        def named(self):
            return ()

        def decide(self, results):
            raise AssertionError("it is not decided here")

    assert Own(metric="score", names=["a"], most=2).most == 2.0
    with pytest.raises(InputError, match="most: expected float, got 'x'"):
        Own(metric="score", names=["a"], most="x")
