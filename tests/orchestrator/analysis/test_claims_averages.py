"""Over what the means of claims are, and that tables and plots say the same."""

from __future__ import annotations

import math

import pytest
from drawn import (
    Drawn,
    DrawnAlike,
    DrawnOfCategories,
    DrawnOfTargets,
    DrawnOnce,
    DrawnOnTasks,
    drawn_results,
    given,
)

from orchestrator import InputError, claims, digits, product, union
from orchestrator.analysis.claims import verdicts

BASE, TARGET, OTHER = (
    digits.classes(*classes).images(limit=20).named(name)
    for name, classes in (("base", (0, 1)), ("target", (2, 3)), ("other", (4, 5)))
)
LOW, HIGH = {"level": 0.0}, {"level": 1.0}
HIGHER = claims.Higher(metric="score", where=HIGH, than=LOW)
NAN = math.nan


def clear(cell):
    """One more at level 1, whatever the seed."""
    return cell.trial.method.level + 10.0 * (cell.trial.seed or 0)


def two_levels(seeds=3, **more):
    return product(Drawn.grid(level=[0.0, 1.0], **more), seed=range(seeds))


def of_tasks(cell):
    """0.9 on the base, and 0.2 on each target; a method that learns the targets only has 0.4."""
    noise = 0.01 * cell.trial.seed
    targets = [task.name for task in cell.trial.tasks[1:]]
    if cell.trial.method.name == "drawn_on_tasks":
        return {name: 0.4 + noise for name in targets}
    return {"base": 0.9} | {name: 0.2 + noise for name in targets}


# ---------------------------------------------------------------------- labels


def test_a_table_and_a_verdict_show_one_number_for_a_metric_of_targets(store):
    cells = product(
        union(DrawnOfTargets.grid(), DrawnOnTasks.grid()), tasks=[(BASE, TARGET)], seed=range(3)
    )
    packed, learned = {"method": "drawn_of_targets"}, {"method": "drawn_on_tasks"}
    asked = [
        claims.Within(metric="score", where=packed, below=0.5),
        claims.Higher(metric="score", where=learned, than=packed, by=0.1),
        claims.Within(metric="score", where=packed | {"task": "base"}, above=0.8),
    ]
    results = drawn_results(store, cells, of_tasks, claims=asked)
    level, higher, of_the_base = verdicts(asked, results)
    (column,) = results.columns("score")
    first, second = (group.value(column) for group in results.groups())
    assert level.evidence == f"mean {first}"
    assert first.mean == pytest.approx(0.21)
    assert (higher.verdict, higher.evidence) == ("reproduced", "difference 0.200 ±0.000")
    assert second.mean - first.mean == pytest.approx(0.2)
    assert of_the_base.evidence == "mean 0.900 ±0.000"  # it is asked for by name


def test_other_tasks_are_compared_at_the_same_places_only(store):
    """PackNet's mean over base and target is not held against what another method learned of
    another target; a target is held against a target.
    """
    cells = product(
        union(DrawnOfTargets.grid(), DrawnOnTasks.grid(), EveryTask.grid()),
        tasks=[(BASE, TARGET), (BASE, OTHER)],
        seed=range(3),
    )
    every, packed, learned = (
        {"method": name, "tasks": tasks}
        for name, tasks in (
            ("every_task", (BASE, TARGET)),
            ("drawn_of_targets", (BASE, TARGET)),
            ("drawn_on_tasks", (BASE, OTHER)),
        )
    )
    uneven, even = given(
        store,
        cells,
        [
            claims.Higher(metric="score", where=every, than=learned),
            claims.Higher(metric="score", where=learned, than=packed),
        ],
        of_tasks,
    )
    assert uneven.verdict == "undecided"
    assert (
        "score is averaged over task=base, task=target against task=other; "
        "name the one that is meant"
    ) in uneven.evidence
    assert (even.verdict, even.evidence) == ("reproduced", "difference 0.200 ±0.000")


class EveryTask(DrawnOnTasks):
    """Does not say that it learns the targets only."""

    name = "every_task"


def test_a_mean_over_one_target_is_not_held_against_one_over_two(store):
    cells = product(DrawnOnTasks.grid(), tasks=[(BASE, TARGET), (BASE, TARGET, OTHER)], seed=[0, 1])
    claim = claims.Higher(
        metric="score", where={"tasks": (BASE, TARGET)}, than={"tasks": (BASE, TARGET, OTHER)}
    )
    (found,) = given(store, cells, [claim], of_tasks)
    assert found.verdict == "undecided"
    assert "averaged over task=target against task=other, task=target" in found.evidence


def test_of_a_mean_over_many_labels_those_that_differ_are_told_first(store):
    tasks = [digits.classes(i, i + 1).images(limit=20).named(f"t{i}") for i in range(8)]
    long, short = tuple(tasks), tuple(tasks[:7])
    cells = product(DrawnOnTasks.grid(), tasks=[long, short], seed=[0, 1])
    claim = claims.Higher(metric="score", where={"tasks": long}, than={"tasks": short})
    (found,) = given(store, cells, [claim], of_tasks)
    told = "over task=t7, task=t1, task=t2, 4 more against task=t1, task=t2, task=t3, 3 more"
    assert told in found.evidence


@pytest.mark.parametrize("named_by", ["where", "than"])
def test_a_label_that_one_side_names_is_not_held_against_a_mean(store, named_by):
    """Nor against the one label that the other side has."""
    one = {"task": "a"}
    claim = claims.Higher(
        metric="score",
        where=HIGH | (one if named_by == "where" else {}),
        than=LOW | (one if named_by == "than" else {}),
    )
    (mean,) = given(store, two_levels(), [claim], lambda c: {"a": clear(c), "b": -clear(c)})
    assert (mean.verdict, "name the one that is meant" in mean.evidence) == ("undecided", True)
    named_level = 1.0 if named_by == "where" else 0.0
    (another,) = given(
        store,
        two_levels(),
        [claim],
        lambda c: {"a" if c.trial.method.level == named_level else "b": clear(c)},
    )
    assert (another.verdict, "name the one that is meant" in another.evidence) == (
        "undecided",
        True,
    )


def test_one_value_by_no_label_stands_for_one_label_but_not_for_two(store):
    claim = claims.AboveAll(metric="score", where={"level": 2.0}, than=(HIGH, LOW))
    cells = product(Drawn.grid(level=[0.0, 1.0, 2.0]), seed=range(3))

    def labelled(*names):
        """The score of each level by one label, or by none."""
        return lambda c: {names[int(c.trial.method.level)]: clear(c)}

    (same,) = given(store, cells, [claim], labelled("", "a", "a"))
    (mixed,) = given(store, cells, [claim], labelled("", "a", "b"))
    assert (same.verdict, mixed.verdict) == ("reproduced", "undecided")


def test_what_is_not_a_number_is_told_and_in_no_mean(store):
    def score(cell):
        is_lost = cell.trial.method.level == 1.0
        return {"a": clear(cell), "b": NAN if is_lost else clear(cell)}

    results = drawn_results(store, two_levels(), score, claims=[HIGHER])
    (found,) = verdicts([HIGHER], results)
    assert (found.verdict, found.n) == ("undecided", 0)
    assert "score for task=b is not a number at level=1 seed=0, level=1 seed=1" in found.evidence
    (alone,) = given(store, two_levels(), [HIGHER], lambda cell: NAN)
    assert "level=1 seed=0 (not a number)" in alone.evidence
    low, high = results.groups()
    (column,) = results.columns("score")
    assert (low.value(column).n, high.value(column).n) == (3, 0)


def test_a_table_has_no_mean_of_a_trial_without_a_label_that_others_have(store):
    def score(cell):
        names = "ab" if cell.trial.seed else "ac"
        return dict.fromkeys(names, clear(cell))

    (group, _) = drawn_results(store, two_levels(), score).groups()
    assert group.metric("score").n == 0


def test_a_label_that_only_some_settings_have_is_missing(store):
    """Averaged over both rates, b would weigh as much as a although it was seen at one of them."""
    cells = product(
        union(Drawn.grid(level=[0.0], rate=[1.0, 2.0]), Drawn.grid(level=[1.0], rate=[1.0, 2.0])),
        seed=range(3),
    )
    claim = claims.Higher(
        metric="score", where=HIGH | {"rate": [1.0, 2.0]}, than=LOW | {"rate": 1.0}
    )

    def score(cell):
        every = {"a": clear(cell), "b": clear(cell)}
        return {"a": clear(cell)} if cell.trial.method.rate == 2.0 else every

    (found,) = given(store, cells, [claim], score)
    assert found.verdict == "undecided"
    assert "score for task=b has no value at seed=0" in found.evidence


def test_a_label_of_a_list_that_no_cell_has_is_told(store):
    claim = claims.Within(metric="score", where={"task": ["a", "z"]}, above=-1.0)
    (found,) = given(store, two_levels(), [claim], lambda c: {"a": clear(c), "b": clear(c)})
    assert found.verdict == "undecided"
    assert "no cell has score for task=z" in found.evidence


def test_a_side_that_stands_alone_has_the_same_labels_in_all_settings(store):
    """A level of base and target here and of the target there is a level of nothing."""
    cells = product(
        union(EveryTask.grid(), DrawnOnTasks.grid()), tasks=[(BASE, TARGET)], seed=range(3)
    )
    level = claims.Within(metric="score", where={}, above=0.0)
    on_target = claims.Within(metric="score", where={"task": "target"}, above=0.0)
    mixed, named = given(store, cells, [level, on_target], of_tasks)
    assert mixed.verdict == "undecided"
    assert (
        "score is averaged over task=base, task=target against task=target, in other settings"
    ) in mixed.evidence
    assert (named.verdict, named.evidence[:10]) == ("reproduced", "mean 0.310")


@pytest.mark.parametrize("method", [DrawnOnTasks, DrawnOfCategories])
def test_a_level_over_several_tasks_is_one_whatever_the_label_is_called(store, method):
    """The target of one trial is what the target of another is: their mean is a mean over tasks."""
    tasks = [(BASE, TARGET), (BASE, OTHER)]
    cells = product(method.grid(), tasks=tasks, seed=range(3))
    level = claims.Within(metric="score", where={}, above=0.0)
    (found,) = given(
        store, cells, [level], lambda cell: {cell.trial.tasks[1].name: 0.2 + 0.01 * cell.trial.seed}
    )
    assert (found.verdict, found.evidence[:10]) == ("reproduced", "mean 0.210")
    # The base is another place than the target.
    other = {"target": "target", "other": "base"}
    (found,) = given(store, cells, [level], lambda cell: {other[cell.trial.tasks[1].name]: 0.2})
    assert "in other settings; name the one that is meant" in found.evidence


def test_a_task_is_a_label_as_it_is(store):
    claim = claims.Within(metric="score", where={"task": TARGET}, above=0.0)
    (found,) = given(store, two_levels(), [claim], lambda c: {"target": 1.0, "base": -1.0})
    assert (found.verdict, found.evidence[:10]) == ("reproduced", "mean 1.000")


# ---------------------------------------------------------------------- what is averaged, in words


@pytest.mark.parametrize(
    ("where", "than", "over"),
    [
        ({"level": [1.0, 2.0]}, LOW, "rate (2), level (2) on side 1"),
        ({"level": [1.0, 2.0], "rate": 1.0}, LOW | {"rate": 1.0}, "level (2) on side 1"),
        (HIGH | {"rate": 1.0}, LOW, "rate (2) on side 2"),
        ({"level": [1.0, 2.0]}, {"level": [0.0, 3.0]}, "level (2), rate (2)"),
        (HIGH | {"task": ["a", "b"]}, LOW | {"task": "a"}, "rate (2), task (2) on side 1"),
    ],
)
def test_a_verdict_says_over_what_each_side_is_averaged(store, where, than, over):
    cells = product(Drawn.grid(level=[0.0, 1.0, 2.0, 3.0], rate=[1.0, 2.0]), seed=range(3))
    claim = claims.Higher(metric="score", where={"task": "a"} | where, than={"task": "a"} | than)
    (found,) = given(store, cells, [claim], lambda c: {"a": clear(c), "b": clear(c)})
    _, _, words = found.evidence.partition("; averaged over ")
    assert sorted(words.split(", ")) == sorted(over.split(", "))


# ---------------------------------------------------------------------- seeds


def test_a_trial_without_a_seed_beside_others_is_no_seed(store):
    """Each side has a method that draws from the seed and one that does not: three seeds, not
    four, and both methods in each.
    """
    cells = product(
        union(Drawn.grid(level=[0.0, 1.0]), DrawnOnce.grid(level=[0.0, 1.0])), seed=range(3)
    )
    results = drawn_results(store, cells, clear, claims=[HIGHER])
    (found,) = verdicts([HIGHER], results)
    assert (found.n, found.evidence) == (3, "difference 1.000 ±0.000; averaged over method (2)")
    level = claims.Within(metric="score", where=HIGH, above=0.0)
    (found,) = given(store, cells, [level], clear)
    assert found.evidence.startswith("mean 6.000 ±")  # of (1 + 1) / 2, (11 + 1) / 2, (21 + 1) / 2


def test_seeds_that_cover_other_settings_are_not_one_sample(store):
    """Rate 2 was tried with two of three seeds, on both sides alike."""
    cells = union(
        two_levels(rate=[1.0]),
        two_levels(seeds=2, rate=[2.0]),
    )
    at_one = claims.Higher(metric="score", where=HIGH | {"rate": 1.0}, than=LOW | {"rate": 1.0})
    mixed, alone = given(store, cells, [HIGHER, at_one], clear)
    assert mixed.verdict == "undecided"
    assert "seeds cover other settings: rate=2 is at seed=0, not at seed=2" in mixed.evidence
    assert (alone.verdict, alone.n) == ("reproduced", 3)


def test_seeds_are_not_what_is_compared(store):
    claim = claims.Higher(metric="score", where={"seed": 1}, than={"seed": 0})
    (found,) = given(store, two_levels(), [claim], clear)
    assert (found.verdict, found.n) == ("undecided", 0)
    assert "seeds are what the sides are paired by" in found.evidence


def test_a_seed_that_one_side_has_in_part_is_in_no_mean(store):
    """Level 0 lacks rate 2 of seed 2."""
    cells = union(
        two_levels(seeds=2, rate=[1.0, 2.0]),
        product(
            union(Drawn.grid(level=[0.0], rate=[1.0]), Drawn.grid(level=[1.0], rate=[1.0, 2.0])),
            seed=[2],
        ),
    )
    (found,) = given(store, cells, [HIGHER], clear)
    assert (found.verdict, found.n) == ("undecided", 2)
    assert "side 1 covers settings that another side does not: rate=2 seed=2" in found.evidence


def test_two_metrics_are_related_over_the_seeds_that_have_both(store):
    """Seed 2 has no quality, and a score that would turn the order of the levels around."""
    levels = [0.0, 1.0, 2.0, 3.0, 4.0]
    cells = union(
        product(Drawn.grid(level=levels), seed=range(3)),
        product(DrawnOnce.grid(level=levels), seed=range(1)),
        product(Drawn.grid(level=levels, rate=[1.0]), seed=range(2)),
    )

    def related(**at):
        return claims.Related(
            metric="score",
            axis="level",
            where={"method": "drawn", "rate": "-"},
            how="with",
            other="quality",
            at=at,
        )

    fewer, seedless = given(
        store,
        cells,
        [related(method="drawn", rate=1.0), related(method="drawn_once")],
        lambda c: c.trial.method.level * (-9.0 if c.trial.seed == 2 else 1.0),
        quality=lambda c: c.trial.method.level,
    )
    assert fewer.verdict == "undecided"
    assert "rho 1.00 over 5 values; 0 0.000/0.000, 1 1.000/1.000" in fewer.evidence
    assert "seed 2 is there for one of the two metrics only" in fewer.evidence
    assert (seedless.verdict, seedless.evidence[:9]) == ("not reproduced", "rho -1.00")


# ---------------------------------------------------------------------- trials that are one


def test_a_trial_that_a_union_holds_twice_counts_once(store):
    """Rate 1 stands in both grids; it would weigh two thirds."""
    cells = union(two_levels(rate=[1.0]), two_levels(rate=[1.0, 2.0]))

    def score(cell):
        return clear(cell) * (cell.trial.method.rate == 1.0)

    level = claims.Within(metric="score", where={"seed": 0} | HIGH, above=0.0)
    listed = claims.Higher(
        metric="score", where=HIGH | {"rate": [1.0, 2.0]}, than=LOW | {"rate": 2.0}
    )
    higher, single, own = given(store, cells, [HIGHER, level, listed], score)
    assert (higher.n, higher.evidence[:16]) == (3, "difference 0.500")
    assert single.evidence.startswith("mean 0.500")
    assert own.evidence.startswith("difference 5.500 ±")  # of 0.5, 5.5 and 10.5


def test_settings_without_effect_are_one_trial_in_a_mean(store):
    cells = product(union(DrawnAlike.grid(rate=[1.0, 2.0]), Drawn.grid(rate=[3.0])), seed=range(3))
    claim = claims.Within(metric="score", where={}, above=0.0)
    (found,) = given(store, cells, [claim], lambda c: float(c.trial.method.name == "drawn"))
    assert found.evidence.startswith("mean 0.500 ±0.000")


def test_two_sides_of_the_same_trials_decide_nothing(store):
    cells = product(DrawnAlike.grid(rate=[1.0, 2.0]), seed=range(3))
    claim = claims.Equal(metric="score", where={"rate": 1.0}, than={"rate": 2.0}, within=0.1)
    (found,) = given(store, cells, [claim], clear)
    assert found.verdict == "undecided"
    assert "sides 1 and 2 are the same trials" in found.evidence


# ---------------------------------------------------------------------- choices


def test_a_choice_is_over_the_axes_that_it_names_and_one_for_each_value_of_the_others(store):
    """Of the easy task every rate is better than any of the hard one. Each task has its best rate:
    1 of the easy one, 2 of the hard one.
    """
    cells = product(
        DrawnOnTasks.grid(level=[0.0, 1.0], rate=[1.0, 2.0, 4.0]),
        tasks=[(TARGET,), (OTHER,)],
        seed=range(3),
    )
    best = {"target": 1.0, "other": 2.0}

    def quality(cell):
        (task,) = cell.trial.tasks
        return 100.0 * (task.name == "target") - abs(cell.trial.method.rate - best[task.name])

    def score(cell):
        is_best = cell.trial.method.rate == best[cell.trial.tasks[0].name]
        easy = 50.0 * (cell.trial.tasks[0].name == "target")
        return clear(cell) + easy + 7.0 * is_best * cell.trial.method.level

    claim = claims.Higher(metric="score", where=HIGH, than=LOW, choose="quality", over=["rate"])
    (found,) = given(store, cells, [claim], score, quality=quality)
    assert (found.verdict, found.n) == ("reproduced", 3)
    at = "rate=1, at the edge of what was tried of rate at tasks=target; rate=2 at tasks=other"
    chosen = f"({at} against {at})"
    assert found.evidence == f"difference 8.000 ±0.000 {chosen}; averaged over tasks (2)"


def test_a_choice_names_its_axes(store):
    for wrong, told in (
        ({"choose": "quality"}, "over: choose= needs the axes to choose over"),
        ({"choose": "score", "over": ["rate"]}, "choose: the best by score has too good a score"),
        ({"over": ["rate"]}, "choose: over= needs the metric to choose by"),
        ({"choose": "quality", "over": "rate"}, "over: expected a tuple of str, got 'rate'"),
    ):
        with pytest.raises(InputError, match=told):
            claims.Higher(metric="score", where=HIGH, than=LOW, **wrong)


def test_candidates_with_other_seeds_are_not_chosen_among(store):
    """One more seed, a lucky one, would make rate 2 the best."""
    cells = union(two_levels(seeds=2, rate=[1.0, 2.0]), two_levels(seeds=4, rate=[2.0]))
    claim = claims.Higher(metric="score", where=HIGH, than=LOW, choose="quality", over=["rate"])
    (found,) = given(store, cells, [claim], clear, quality=lambda c: float(c.trial.seed))
    assert found.verdict == "undecided"
    assert "seed is not the same on all sides: 0 or 1 against 0 or 1 or 2 or 3" in found.evidence
