"""Which cells of a claim stand against each other. Where some are missing or the sides do not
match, nothing is decided and the evidence says why.
"""

from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn import Drawn, DrawnOnce, DrawnOnTasks, Peaked, drawn_results, executed, given
from sample_methods import After, Count, Faulty, Tabled

from methods.networks import resnet8
from orchestrator import (
    InputError,
    MatrixSpec,
    Method,
    Results,
    Run,
    Sweep,
    SweepError,
    claims,
    digits,
    make_plan,
    product,
    union,
)
from orchestrator.planning.choose import only
from orchestrator.spec.claim import Verdict, after_holm
from orchestrator.training.execute import execute

NAN = float("nan")
LOW, HIGH = {"level": 0.0}, {"level": 1.0}
HIGHER = claims.Higher(metric="score", where=HIGH, than=LOW)


def clear(cell):
    """One more at level 1, whatever the seed."""
    return cell.trial.method.level + 10.0 * (cell.trial.seed or 0)


def two_levels(seeds=4, **more):
    return product(Drawn.grid(level=[0.0, 1.0], **more), seed=range(seeds))


@pytest.mark.parametrize("ending", ["open", "diverged", "infeasible"])
def test_half_a_side_decides_nothing_and_says_which_cells_are_missing(store, ending):
    def is_lost(cell):
        return cell.trial.method.level == 1.0 and cell.trial.seed >= 2

    (found,) = given(
        store,
        two_levels(),
        [HIGHER],
        lambda cell: None if ending == "open" and is_lost(cell) else clear(cell),
        lambda cell: ending if is_lost(cell) else "done",
    )
    assert (found.verdict, found.n, found.p) == ("undecided", 2, None)
    assert found.evidence == (
        "difference 1.000 ±0.000; 2 of 4 cells have no score: "
        f"level=1 seed=2 ({ending}), level=1 seed=3 ({ending})"
    )
    (whole,) = given(store, two_levels(), [HIGHER], clear)
    assert (whole.verdict, whole.n) == ("reproduced", 4)


def test_a_cell_that_failed_is_named_as_failed_and_one_whose_need_diverged_names_the_need(store):
    task = digits.classes(0, 1).images(limit=40).named("t")
    grid = product(
        union(Faulty.grid(how=["raise", "infeasible"]), After.grid(how=["nan"])),
        network=resnet8(width=4),
        tasks=task,
        seed=range(2),
    )
    failed, infeasible, blocked = executed(
        store,
        grid,
        *(
            claims.Within(metric="total", where=where, above=0.0)
            for where in (
                {"method": "faulty", "how": "raise"},
                {"method": "faulty", "how": "infeasible"},
                {"method": "after"},
            )
        ),
    )
    assert "how=raise seed=0 (failed)" in failed.evidence
    assert "(infeasible)" in infeasible.evidence
    assert "(its need before, faulty" in blocked.evidence
    assert ": diverged)" in blocked.evidence
    assert {v.verdict for v in (failed, infeasible, blocked)} == {"undecided"}


def test_sides_that_cover_other_settings_are_not_compared(store):
    """Level 1 was tried at two rates, level 0 at one of them."""
    cells = product(
        union(Drawn.grid(level=[0.0], rate=[1.0]), Drawn.grid(level=[1.0], rate=[1.0, 2.0])),
        seed=range(3),
    )
    fixed = claims.Higher(metric="score", where=HIGH | {"rate": 1.0}, than=LOW | {"rate": 1.0})
    results = drawn_results(store, cells, clear)
    unfixed, at_one_rate = HIGHER.decide(results), fixed.decide(results)
    assert (unfixed.verdict, at_one_rate.verdict) == ("undecided", "reproduced")
    assert "rate is not the same on all sides: 1 or 2 against 1" in unfixed.evidence


def test_of_many_values_those_that_differ_are_told_first(store):
    rates = [float(i) for i in range(9)]
    cells = product(
        union(
            Drawn.grid(level=[0.0], rate=rates[:8]), Drawn.grid(level=[1.0], rate=[*rates[:7], 8.0])
        ),
        seed=range(3),
    )
    told = (
        "rate is 8 or 0 or 1 or 5 more at level=1.0 and 7 or 0 or 1 or 5 more at level=0.0; "
        "name it if that is meant"
    )
    with pytest.raises(SweepError, match=told.replace(".", r"\.")):
        given(store, cells, [HIGHER], clear)


def test_a_side_that_is_averaged_over_other_settings_at_another_place_is_uneven(store):
    cells = product(
        union(Drawn.grid(level=[0.0, 1.0], rate=[1.0, 2.0]), Drawn.grid(level=[2.0], rate=[1.0])),
        seed=range(3),
    )
    claim = claims.Higher(metric="score", where={"level": [1.0, 2.0]}, than=LOW)
    (found,) = given(store, cells, [claim], clear)
    assert found.verdict == "undecided"
    assert "side 1 is uneven: level=2 is at rate=1 seed=0, not at rate=2 seed=0" in found.evidence


def test_a_metric_that_two_sides_log_by_other_labels_is_not_compared(store):
    """As PackNet's mean over base and target against fine-tuning's accuracy on the target."""

    def score(cell):
        if cell.trial.method.level:
            return {"base": 0.9 + cell.trial.seed, "target": 0.2 + cell.trial.seed}
        return {"target": 0.4 + cell.trial.seed}

    on_target = {"task": "target"}
    named = claims.Higher(metric="score", where=HIGH | on_target, than=LOW | on_target)
    blind, on_the_target = given(store, two_levels(), [HIGHER, named], score)
    assert blind.verdict == "undecided"
    assert (
        "score is averaged over task=base, task=target against task=target; "
        "name the one that is meant"
    ) in blind.evidence
    assert on_the_target.verdict == "not reproduced"


def test_one_label_against_another_has_to_be_named(store):
    def score(cell):
        return {"a" if cell.trial.method.level else "b": clear(cell)}

    named = claims.Higher(metric="score", where=HIGH | {"task": "a"}, than=LOW | {"task": "b"})
    blind, meant = given(store, two_levels(), [HIGHER, named], score)
    assert (blind.verdict, meant.verdict) == ("undecided", "reproduced")


def test_a_label_that_one_seed_lacks_is_missing(store):
    def score(cell):
        every = {"a": clear(cell), "b": clear(cell)}
        return {"a": clear(cell)} if cell.trial.seed == 1 else every

    (found,) = given(store, two_levels(), [HIGHER], score)
    assert found.verdict == "undecided"
    assert "score for task=b has no value at seed=1" in found.evidence


def test_a_label_that_is_never_logged_says_which_are(store):
    claim = claims.Within(metric="score", where={"task": "c"}, above=0.0)
    (found,) = given(store, two_levels(2), [claim], lambda cell: {"a": 1.0, "b": 1.0})
    assert (found.verdict, found.n) == ("undecided", 0)
    assert "(its task is a, b)" in found.evidence


def test_a_side_that_draws_nothing_from_the_seed_stands_for_every_seed(store):
    cells = product(union(DrawnOnce.grid(level=[0.0]), Drawn.grid(level=[1.0])), seed=range(4))
    named = claims.Higher(
        metric="score", where={"method": "drawn"} | HIGH, than={"method": "drawn_once"} | LOW
    )
    (found,) = given(
        store, cells, [named], lambda cell: cell.trial.method.level + 0.01 * (cell.trial.seed or 0)
    )
    assert (found.verdict, found.n) == ("reproduced", 4)


def test_two_tuples_of_tasks_with_equal_names_are_two_groups(store):
    first = digits.classes(0, 1).images(limit=40).named("t")
    second = digits.classes(2, 3).images(limit=40).named("t")
    cells = product(DrawnOnTasks.grid(), tasks=[(first,), (second,)], seed=range(3))
    higher = claims.Higher(metric="score", where={"tasks": second}, than={"tasks": (first,)})

    def score(cell):
        return 1.0 * (cell.labels["tasks"] == (second,)) + cell.trial.seed

    ambiguous = claims.Within(metric="score", where={"tasks": "t"}, above=0.0)
    with pytest.raises(SweepError, match=r"'t' may be 2 values of tasks: t=\S+, t=\S+"):
        given(store, cells, [ambiguous], score)
    (found,) = given(store, cells, [higher], score)
    assert (found.verdict, found.n) == ("reproduced", 3)
    sweep = Sweep(question="?", cells=cells, expect=6)
    texts = [v.text for v in make_plan("asked", sweep, store).values.values("tasks")]
    assert len(set(texts)) == 2


def test_numbers_that_are_equal_to_six_digits_stay_apart(store):
    close = [1.0, 1.0000001]
    cells = product(Drawn.grid(level=close), seed=range(3))
    claim = claims.Higher(metric="score", where={"level": close[1]}, than={"level": close[0]})
    (found,) = given(store, cells, [claim], lambda c: 1e7 * c.trial.method.level + c.trial.seed)
    assert (found.verdict, found.n) == ("reproduced", 3)
    assert found.evidence == "difference 1.000 ±0.000"


def test_a_ranking_knows_numbers_of_any_size(store):
    cells = product(Drawn.grid(level=[5e5, 1e6, 2e6, 3e7]), seed=range(3))
    claim = claims.Ranked(metric="score", axis="level", how="rises", rho=0.5)
    (found,) = given(store, cells, [claim], clear)
    assert found.verdict == "reproduced"
    assert found.evidence.startswith("rho 1.000 ±0.000; 500000 ")


def test_values_are_named_as_they_are_or_as_tables_show_them(store):
    bases = [Count(depth=0), Count(depth=1)]
    cells = product(Drawn.grid(base=bases, rate=[10.0, 0.5]), seed=range(3))
    ways = [
        {"base": Count(depth=1), "rate": 10},
        {"base": Count(depth=1), "rate": 10.0},
        {"base": "count(depth=1)", "rate": "10"},
        {"base": [Count(depth=1)], "rate": [10]},
    ]
    within = [claims.Within(metric="score", where=way, above=0.5) for way in ways]
    found = given(
        store,
        cells,
        within,
        lambda c: 1.0 if (c.trial.method.base.depth, c.trial.method.rate) == (1, 10.0) else 0.0,
    )
    assert [(v.verdict, v.n) for v in found] == [("reproduced", 3)] * 4


def test_true_and_none_and_one_are_three_values(store):
    cells = product(Drawn.grid(relative=[True, False, None]), seed=range(3))
    within = [
        claims.Within(metric="score", where={"relative": value}, above=bar)
        for value, bar in ((True, 1.5), (False, 0.5), (None, -0.5))
    ]
    values = {True: 2.0, False: 1.0, None: 0.0}
    found = given(store, cells, within, lambda c: values[c.trial.method.relative])
    assert [v.evidence for v in found] == [
        "mean 2.000 ±0.000",
        "mean 1.000 ±0.000",
        "mean 0.000 ±0.000",
    ]
    with pytest.raises(SweepError, match="relative is never 1"):
        given(store, cells, [claims.Within(metric="score", where={"relative": 1}, above=0)], clear)


def test_a_claim_may_be_about_one_entry_of_a_matrix(store):
    def at(row, column, **bars):
        return claims.Within(metric=claims.entry("table", row=row, column=column), where={}, **bars)

    found, constant, wrong = executed(
        store,
        product(Tabled.grid(), seed=range(1, 4)),
        at("r0", "c1", above=0.0),
        at("r1", "c0", above=0.4),
        at("r9", "c0", above=0.4),
    )
    assert found.claim == "table[r0, c1] is more than 0"
    assert found.evidence.startswith("mean 0.500 ±0.6")
    assert constant.verdict == "reproduced"
    assert wrong.verdict == "undecided"
    assert "(its rows are r0, r1)" in wrong.evidence
    with pytest.raises(SweepError, match=r"a matrix 'tabel'\. Did you mean 'table'\?"):
        executed(
            store,
            product(Tabled.grid(), seed=range(2)),
            claims.Within(metric=claims.entry("tabel", row="r0", column="c0"), where={}, above=0.0),
        )


class Unmeasured(Method):
    """A matrix whose only entry was not measured."""

    name = "unmeasured"
    uses = frozenset({"seed"})
    matrices = (MatrixSpec("table", "row", "column"),)

    def train(self, run: Run) -> None:
        notes = {(0, 0): "the two do not fit"}
        run.matrix("table", rows=["r"], columns=["c"], values=[[NAN]], notes=notes)


def test_an_entry_that_was_not_measured_says_why(store):
    claim = claims.Within(metric=claims.entry("table", row="r", column="c"), where={}, above=0.0)
    (found,) = executed(store, product(Unmeasured.grid(), seed=range(2)), claim)
    assert "seed=0 (the two do not fit)" in found.evidence


@pytest.mark.parametrize(("best", "is_at_the_edge"), [(1.0, True), (2.0, False), (4.0, True)])
def test_the_best_setting_at_the_edge_of_what_was_tried_is_said_to_be_there(
    store, best, is_at_the_edge
):
    (found,) = executed(
        store,
        product(
            Peaked.grid(best=best, kind=["floor", "ceiling"], rate=[1.0, 2.0, 4.0]), seed=range(2)
        ),
        claims.Higher(
            metric="score",
            where={"kind": "ceiling"},
            than={"kind": "floor"},
            choose="quality",
            over=("rate",),
        ),
    )
    assert f"rate={best:g}" in found.evidence
    assert ("at the edge of what was tried of rate" in found.evidence) == is_at_the_edge


def test_a_choice_among_settings_of_which_one_is_open_is_none(store):
    cells = product(Peaked.grid(kind=["floor", "ceiling"], rate=[1.0, 2.0]), seed=range(2))
    claim = claims.Higher(
        metric="score",
        where={"kind": "ceiling", "part": "a"},
        than={"kind": "floor", "part": "a"},
        choose="quality",
        over=["rate"],
    )
    (found,) = executed(
        store, cells, claim, where=lambda t: (t.method.kind, t.method.rate) != ("floor", 1.0)
    )
    assert found.verdict == "undecided"
    assert "cells have no quality: kind=floor rate=1 seed=0 (open)" in found.evidence


def test_only_takes_several_values_of_several_axes(store):
    sweep = Sweep(
        question="?", cells=product(Drawn.grid(level=[0.0, 1.0, 2.0]), seed=range(4)), expect=12
    )
    part = only(sweep, "seed=0,1 level=1,2")
    chosen = [(c.trial.method.level, c.trial.seed) for c in part.trials()]
    assert sorted(chosen) == [(1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1)]
    with pytest.raises(InputError, match=r"seed is never '9'"):
        only(sweep, "seed=0,9")


def test_numbers_are_columns_of_numbers_in_parquet(store, tmp_path):
    cells = product(
        Peaked.grid(
            kind=["floor", "middle"],
            order=[0, 10, 100, 30],
            rate=[1.0, 2.5],
            shuffled=[True, False],
        ),
        seed=range(2),
    )
    sweep = Sweep(question="?", cells=cells, expect=len(cells))
    for trial in make_plan("asked", sweep, store).todo[:8]:
        execute(trial, store)
    Results(make_plan("asked", sweep, store), store).write(tmp_path)
    table = pq.read_table(tmp_path / "metrics.parquet")
    kinds = {name: table.schema.field(name).type for name in ("order", "rate", "shuffled", "seed")}
    assert kinds == {
        "order": pa.int64(),
        "rate": pa.float64(),
        "shuffled": pa.bool_(),
        "seed": pa.int64(),
    }
    assert table.schema.field("kind").type == pa.string()
    orders = table.column("order").unique().to_pylist()
    assert sorted(orders) == orders


def test_wrong_types_of_a_claim_name_themselves_and_their_line():
    with pytest.raises(InputError) as caught:
        claims.Higher(metric=3, where="split=pool", than={}, paper="C4")
    line = test_wrong_types_of_a_claim_name_themselves_and_their_line.__code__.co_firstlineno + 2
    text = str(caught.value)
    assert f"claim C4 (Higher, line {line}) cannot be used as written" in text
    assert "metric: expected a name or entry(...), got 3" in text
    assert "where: expected values by axis such as" in text
    assert "got 'split=pool'" in text


def test_after_holm_the_clearest_claim_is_held_against_the_strictest_bar(store):
    """p of 0.001, 0.01 and 0.02 of three claims: 0.025/3 keeps the first, 0.025/2 the second, 0.025
    the third; with a fourth claim of no effect only the first is kept.
    """

    def tested(p):
        return Verdict("", "?", "reproduced" if p < 0.025 else "undecided", "", 3, p)

    three = after_holm([tested(p) for p in (0.02, 0.001, 0.01)])
    assert [v.after_holm for v in three] == ["reproduced"] * 3
    four = after_holm([tested(p) for p in (0.02, 0.001, 0.01, 0.5)])
    assert [v.after_holm for v in four] == ["undecided", "reproduced", "undecided", "undecided"]
    assert {v.num_tested for v in four} == {4}
    untested = Verdict("", "?", "reproduced", "all equal", 3)
    assert after_holm([tested(0.5), untested])[1].after_holm == "reproduced"


ALONG = (
    claims.DependsOn(metric="score", axis="level"),
    claims.Spread(metric="score", axis="level", above=0.0),
    claims.Varies(metric="score", axis="level"),
    claims.Ranked(metric="score", axis="level", how="rises", rho=0.5),
    claims.Unchanged(metric="score", axis="level"),
)


def found_along(store, value_of):
    """In how many of twenty sweeps each kind of claim along an axis is reproduced; `value_of(cell,
    noise)` is a cell's value, `noise` of mean 0 and deviation 1.
    """
    found = Counter()
    for sweep in range(20):
        drawn = random.Random(sweep)
        decided = given(
            store,
            product(Drawn.grid(level=[0.0, 1.0, 2.0, 3.0]), seed=range(5)),
            ALONG,
            lambda cell, drawn=drawn: value_of(cell, drawn.gauss(0.0, 1.0)),
        )
        for claim, verdict in zip(ALONG, decided, strict=True):
            found[type(claim).__name__] += verdict.verdict == "reproduced"
    return found


def test_noise_shows_nothing_along_an_axis(store):
    """Of twenty sweeps of noise with five seeds, a claim finds something in at most three (0.025
    each).
    """
    found = found_along(store, lambda cell, noise: noise + 10.0 * cell.trial.seed)
    assert max(found.values()) <= 3, found


def test_an_effect_along_an_axis_is_found(store):
    """Of twenty sweeps in which a level is worth three times what noise is, each claim finds it in
    all but one at most; nothing is called unchanged.
    """
    found = found_along(store, lambda cell, noise: 3.0 * cell.trial.method.level + noise)
    assert found.pop("Unchanged") == 0
    assert min(found.values()) >= 19, found


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (claims.DependsOn(metric="score", axis="level"), "undecided"),
        (claims.Spread(metric="score", axis="level", above=0.0), "undecided"),
        (claims.Spread(metric="score", axis="level", above=0.1), "not reproduced"),
        (claims.Varies(metric="score", axis="level"), "not reproduced"),
        (claims.Ranked(metric="score", axis="level", how="rises", rho=0.5), "undecided"),
        (claims.Unchanged(metric="score", axis="level"), "reproduced"),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_what_is_constant_along_an_axis(store, claim, verdict):
    (found,) = given(
        store,
        product(Drawn.grid(level=[0.0, 1.0, 2.0, 3.0]), seed=range(5)),
        [claim],
        lambda cell: 10.0 * cell.trial.seed,
    )
    assert found.verdict == verdict
    assert "nan" not in found.evidence
