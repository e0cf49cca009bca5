"""The rules that a method keeps to, each as a function that raises AssertionError where it is
broken: the contract suite runs them as tests, `spolia check-method` tells what to change.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from orchestrator.spec.canonical import coerce
from orchestrator.spec.method import canonical_method
from orchestrator.spec.settings import settings_default, settings_of
from orchestrator.spec.trial import Trial
from orchestrator.testing.killing import Killing, Reference, places_to_kill


@dataclasses.dataclass(frozen=True)
class Rule:
    """What is held, how it is checked in an empty folder, and what to change where it is broken."""

    says: str
    check: Callable[[Reference, Path], None]
    change: str


def leaves_what_it_declares(reference: Reference, folder: Path) -> None:
    """One that is infeasible, or that diverged, leaves what it had come to."""
    method = reference.trial.method
    is_whole = reference.found["outcome"] == "done"
    for part in ("metrics", "components", "matrices"):
        declared = getattr(method, part)
        names = {entry["name"] for entry in reference.found[part]}
        # The fingerprint compares bits, so it has no timings.
        compared = [d for d in declared if not getattr(d, "timing", False)]
        required = {d.name for d in compared if is_whole and not d.optional}
        assert not required - names, f"{part} declared and not left: {_listed(required - names)}"
        others = names - {d.name for d in declared}
        assert not others, f"{part} left and not declared: {_listed(others)}"


def repeats(reference: Reference, folder: Path) -> None:
    """Its needs are methods with a contract of their own, and are not run again."""
    again = Killing(reference, folder)
    assert again.survives()
    assert again.ends_as_if_never_stopped(), (
        f"run again, it ends otherwise:\n{again.what_differs()}"
    )


def uses_the_seed_as_it_says(reference: Reference, folder: Path) -> None:
    trial = reference.trial
    other = trial.replace(seed=(trial.seed or 0) + 5)
    is_used, is_said = other.key != trial.key, "seed" in trial.method.uses
    assert is_used == is_said, f"uses {'names' if is_said else 'does not name'} the seed"


def survives_kills_before_statements(
    reference: Reference, folder: Path, *, one_by_one: bool = False
) -> None:
    """Before the first and the last execution of each: a loop over fits has a middle, too.

    One trial is killed before each in turn. Where that goes wrong, the message names the place.
    """
    places = places_to_kill(reference.passed, every=one_by_one)
    assert places, "train has no statement"
    alone, is_equal = set(places), True
    if not one_by_one:
        killing = Killing(reference, folder / "in-turn")
        alone = killing.before_each(places)
        is_equal = killing.ends_as_if_never_stopped()
    for number, place in enumerate(places):
        if place in alone or not is_equal:
            killing = Killing(reference, folder / f"alone{number}")
            killing.before_each([place])
            assert killing.ends_as_if_never_stopped(), (
                f"killed before {place}\nit ends otherwise:\n{killing.what_differs()}"
            )
    assert is_equal, "killed before each statement in turn, it ends otherwise"


def survives_kills_after_epochs(
    reference: Reference, folder: Path, *, one_by_one: bool = False
) -> None:
    """After each in turn, and after the first alone: then all others run in one process."""
    epochs = reference.epochs
    rows = [epochs[:1], epochs][: len(epochs)]
    if one_by_one:
        rows = [[epoch] for epoch in epochs]
    for number, row in enumerate(rows):
        killing = Killing(reference, folder / f"row{number}")
        killing.after_each(row)
        assert killing.ends_as_if_never_stopped(), (
            f"killed after {row}, stages and epochs, it ends otherwise:\n{killing.what_differs()}"
        )


def axes_change_the_key(reference: Reference, folder: Path) -> None:
    trial, cls = reference.trial, type(reference.trial.method)
    for field in dataclasses.fields(cls):
        for value in field.metadata.get("over", ()):
            wanted = coerce(value, settings_of(cls)[field.name])
            if wanted == getattr(trial.method, field.name):
                continue
            changed = trial.replace(method=trial.method.replace(**{field.name: wanted}))
            reset = getattr(changed.method, field.name) == settings_default(cls, field.name)
            assert changed.key != trial.key or reset, (
                f"{field.name}={value!r} changes nothing and canonical() does not say so"
            )


def canonical_comes_to_rest(reference: Reference, folder: Path) -> None:
    """A copy: what is canonical is noted on the method itself."""
    trial = reference.trial
    again = canonical_method(trial.method.replace())
    for made, by in ((again, "canonical"), (again.canonical_for(trial), "canonical_for")):
        assert made == trial.method, f"{by} of what it returned returns something else"


def needs_are_pure(reference: Reference, folder: Path) -> None:
    trial = reference.trial
    one, other = dict(trial.method.needs(trial)), dict(trial.method.needs(trial))
    assert one == other, f"asked twice, needs returns {one} and {other}"


def reaches_a_worker(reference: Reference, folder: Path) -> None:
    again = Trial.from_json(reference.trial.to_json())
    assert again == reference.trial
    assert again.key == reference.trial.key


def says_what_departs(reference: Reference, folder: Path) -> None:
    module = sys.modules[type(reference.trial.method).__module__]
    assert "Departs from the paper:" in (module.__doc__ or ""), (
        f"the docstring of {module.__name__} does not say it"
    )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


RULES = (
    Rule(
        "what is declared is left, and nothing else",
        leaves_what_it_declares,
        "Log, keep or measure it in train, take it out of the class, or write optional=True for "
        "what only some settings leave.",
    ),
    Rule(
        "the same seed gives the same bits",
        repeats,
        "Draw by name: run.network, run.draw, task.train.drawing(...). Nothing may depend on time, "
        "the order of a set, or what ran before.",
    ),
    Rule(
        "another seed is another trial",
        uses_the_seed_as_it_says,
        'Take "seed" out of the class variable uses where nothing is drawn, or put it there.',
    ),
    Rule(
        "every axis changes the key, or canonical resets it",
        axes_change_the_key,
        "Where a setting makes no difference beside the others, let canonical return "
        "self.reset(its name); where the trial decides that, canonical_for(trial).",
    ),
    Rule(
        "canonical comes to rest",
        canonical_comes_to_rest,
        "canonical and canonical_for must return their argument for what they returned before.",
    ),
    Rule(
        "needs are pure",
        needs_are_pure,
        "Make needs from the trial and the settings alone: no files, clocks or counters.",
    ),
    Rule(
        "a trial reaches a worker",
        reaches_a_worker,
        "Define the class in a module that can be imported, not in a function or a notebook; its "
        "settings may have the documented types only.",
    ),
    Rule(
        "killed before any statement, it ends with the same bits",
        survives_kills_before_statements,
        "train is executed again from the top; what a finished fit or loop left in a variable is "
        "not there then. Hand it on in nets or in the loop's state.",
    ),
    Rule(
        "killed after any epoch, it ends with the same bits",
        survives_kills_after_epochs,
        "All that changes from epoch to epoch belongs to the nets of a fit, or to the state of "
        "run.epochs.",
    ),
    Rule(
        "the module says what departs from the paper",
        says_what_departs,
        'Write "Departs from the paper: ..." into its docstring; it may say "nothing known".',
    ),
)
