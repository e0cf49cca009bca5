"""Trials and keys."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import key_methods
import pytest
from key_methods import ALL, NETWORK, TASKS, Inner, Outer, trial
from sample_methods import Circular, Count, Endless

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.networks import resnet8, small_vgg
from methods.recombine import Recombine
from orchestrator import InputError, Method, MethodError, NetworkSpec, PlanError, Task, Trial, axis
from orchestrator.spec.trial import COPY_OFFSET

GOLDEN = (
    "9e0112446af2e3437ed3fbcaef6d67458e5a3a586ba2b8c319ef7dccf0ed2f01",
    "66bb9dcdcb1344e7e5709071b89eafda9928e13147ce743735c3f4b30a1e1edd",
)


def test_keys_are_what_they_always_were():
    """A key that moves loses every stored result. Change a line here only together with a method's
    revision or the key's format number.
    """
    assert (trial().key, trial(**ALL).key) == GOLDEN
    built_in = {
        "fine_tune": Trial(method=FineTune(), network=resnet8(), tasks=TASKS[:1], seed=0),
        "compatible_features": Trial(
            method=CompatibleFeatures(ingredients=("rotation", "common")),
            network=small_vgg(width=8),
            tasks=TASKS,
            seed=1,
        ),
        "recombine": Trial(
            method=Recombine(of=(CompatibleFeatures(),)), network=resnet8(), tasks=TASKS, seed=0
        ),
    }
    assert {name: t.key[:16] for name, t in built_in.items()} == BUILT_IN


BUILT_IN = {
    "fine_tune": "3f0a7369213be4f6",
    "compatible_features": "6bee5faa0058b9e0",
    "recombine": "c21a4234abac57a8",
}


def interpreter(version):
    """A Python of this version on this machine: by name, or among those that pyenv keeps."""
    root = (
        subprocess.run(
            ["pyenv", "root"], check=False, capture_output=True, text=True
        ).stdout.strip()
        if shutil.which("pyenv")
        else ""
    )
    kept = sorted(Path(root).glob(f"versions/{version}*/bin/python")) if root else []
    for found in filter(None, [*map(str, kept), shutil.which(f"python{version}")]):
        if subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0:
            return found
    return None


@pytest.mark.process
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_keys_are_equal_on_every_python_and_whatever_the_hash_seed(version):
    found = interpreter(version)
    if found is None:
        pytest.skip(f"compares with a second Python, and no python{version} is installed here")
    root = Path(key_methods.__file__).parents[2]
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        ran = subprocess.run(
            [found, key_methods.__file__],
            env=env,
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
        )
        assert tuple(ran.stdout.split()) == GOLDEN


def test_values_that_are_equal_give_one_key():
    assert trial(rate=1).key == trial(rate=1.0).key
    assert trial(names=("x", "y")).key == trial(names=["y", "x", "x"]).key


@pytest.mark.parametrize("name", ALL)
def test_every_setting_is_in_the_key(name):
    assert trial(**{name: ALL[name]}).key != trial().key


@pytest.mark.parametrize(
    ("default", "written"), [(True, 1), (0, False), ([True, 2], [1, 2]), ({"a": 1}, {"a": True})]
)
def test_a_number_of_a_network_is_no_truth_value(default, written):
    """Python has them equal, and a network may tell `norm=True` from `norm=1`."""
    defaults = (("norm", default),)
    networks = [
        NetworkSpec(name="x", path="m:X", settings=(("norm", value),), defaults=defaults)
        for value in (default, written)
    ]
    assert [network.identity()["settings"] for network in networks] == [{}, {"norm": written}]
    assert networks[0].label != networks[1].label


class Truths(Method):
    """Tells truth values from numbers."""

    name = "truths"
    uses = frozenset({"seed"})

    norm: bool | int = axis(True)
    several: tuple[bool | int, ...] = axis((True, 0))
    inner: Method | None = axis(None)

    def train(self, run):
        pass


def test_nor_is_one_of_a_method():
    written = ({"norm": 1}, {"several": (1, 0)}, {"several": (True, False)})
    methods = [Truths(), *(Truths(**settings) for settings in written)]
    assert len({Trial(method=method, seed=0).key for method in methods}) == 4
    around = [Truths(inner=method) for method in methods]
    assert len({Trial(method=method, seed=0).key for method in around}) == 4
    assert Truths(norm=1).label == "truths(norm=1)"


def test_a_whole_number_of_a_network_is_one_number_however_it_is_written():
    specs = [
        NetworkSpec(name="x", path="m:X", settings=(("a", value),), defaults=(("a", 4),))
        for value in (4, 4.0)
    ]
    assert specs[0].identity() == specs[1].identity()


def test_the_path_of_a_network_and_its_defaults_are_not_in_the_key():
    moved = replace(
        NETWORK,
        path="elsewhere:Net",
        settings=(*NETWORK.settings, ("new", 0)),
        defaults=(*NETWORK.defaults, ("new", 0)),
    )
    assert trial().replace(network=moved).key == trial().key
    assert trial().replace(network=replace(NETWORK, revision=2)).key != trial().key


def test_the_key_of_a_need_is_in_the_key():
    assert trial(inner=Inner(rate=0.5)).key != trial().key


def test_what_a_method_does_not_use_is_blank():
    one = Trial(method=Count(), network=NETWORK, tasks=TASKS, seed=0)
    assert (one.network, one.tasks) == (None, ())
    assert one.key == Trial(method=Count(), seed=0).key


def test_settings_without_effect_do_not_split_trials():
    tasks = TASKS
    none = [
        Trial(
            method=CompatibleFeatures(split=s, common_weight=w),
            network=resnet8(),
            tasks=tasks,
            seed=0,
        ).key
        for s in ("stem", "pool")
        for w in (1, 3)
    ]
    assert len(set(none)) == 1
    by_split = [
        Trial(
            method=CompatibleFeatures(ingredients=("rotation",), split=s),
            network=resnet8(),
            tasks=tasks,
            seed=0,
        ).key
        for s in ("stem", "pool")
    ]
    assert len(set(by_split)) == 2


def test_recombine_takes_the_split_of_what_it_measures_before_that_is_forgotten():
    made = [
        Trial(
            method=Recombine(of=(CompatibleFeatures(split=s),)),
            network=resnet8(),
            tasks=TASKS,
            seed=0,
        )
        for s in ("stem", "pool")
    ]
    assert [t.method.split for t in made] == ["stem", "pool"]
    assert made[0].needs["0/0"] == made[1].needs["0/0"]


def test_a_trial_survives_json():
    again = Trial.from_json(trial(**ALL).to_json())
    assert again == trial(**ALL)
    assert again.key == trial(**ALL).key


def test_an_unresolved_task_has_no_key():
    unresolved = Trial(method=Outer(), network=NETWORK, tasks=(Task(data="pets"),) * 2, seed=0)
    with pytest.raises(InputError, match="once a plan has resolved it"):
        unresolved.key  # noqa: B018


def test_problems_name_roles_network_seed_and_names():
    assert Trial(method=Outer(), network=NETWORK, tasks=TASKS[:1], seed=0).problems() == [
        "outer takes 2 tasks (source, target), got 1"
    ]
    missing = Trial(method=FineTune(), tasks=TASKS[:1]).problems()
    assert [m.split(":")[0] for m in missing] == [
        "fine_tune needs a network",
        "fine_tune needs a seed",
    ]
    twins = Trial(
        method=FineTune(), network=resnet8(), tasks=(TASKS[0], TASKS[0]), seed=0
    ).problems()
    assert twins == [f"two tasks are called {TASKS[0].name!r}; tell them apart with .named('...')"]


def test_needs_that_are_no_trials_are_refused():
    class Odd(Inner):
        name = "odd"

        def needs(self, trial):
            return [trial]

    with pytest.raises(MethodError, match="mapping of names to trials"):
        Trial(method=Odd(), network=NETWORK, tasks=TASKS, seed=0).key  # noqa: B018


@pytest.mark.process
def test_this_interpreter_gives_the_same_keys_in_another_process():
    root = Path(key_methods.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, key_methods.__file__], env=env, capture_output=True, text=True, check=True
    )
    assert tuple(ran.stdout.split()) == GOLDEN


def test_copies_are_the_trial_itself_and_others_that_differ_in_seed_alone():
    whole = trial()
    copies = whole.copies(3)
    assert copies[0] is whole
    assert [copy.seed for copy in copies] == [4, 4 + COPY_OFFSET, 4 + 2 * COPY_OFFSET]
    assert [copy.replace(seed=4) for copy in copies] == [whole] * 3
    assert whole.copies(2) == copies[:2]


def test_copies_of_nothing_or_without_a_seed_are_refused():
    with pytest.raises(MethodError, match="at least one copy"):
        trial().copies(0)
    with pytest.raises(MethodError, match="outer uses no seed"):
        trial().replace(seed=None).copies(2)


def test_equal_needs_are_one_object_but_values_that_only_compare_equal_are_not():
    one, other = trial(), trial()
    assert one is not other
    assert one.needs["base"] is other.needs["base"]

    class Either(Method):
        name = "either"
        uses = frozenset()
        value: bool | int = axis(0)

        def train(self, run):
            raise AssertionError

    class Needing(Either):
        name = "needing"

        def needs(self, trial):
            return {name: Trial(method=Either(value=v)) for name, v in (("a", True), ("b", 1))}

    needs = Trial(method=Needing()).needs
    assert needs["a"].key != needs["b"].key


class Chained(Method):
    """Trial number n needs the one before it, and by another name its grandfather."""

    name = "chained"
    uses = frozenset({"seed"})
    number: int = axis(0)

    def needs(self, trial):
        before = {"before": self.number - 1, "long before": self.number - 2}
        numbers = {name: number for name, number in before.items() if number >= 0}
        return {
            name: trial.replace(method=self.replace(number=number))
            for name, number in numbers.items()
        }

    def train(self, run):
        raise AssertionError


def test_a_long_chain_of_needs_has_a_key(monkeypatch):
    """Deeper than Python's stack, on a worker too, where nobody has planned it; each need once."""
    calls = []
    needs = Chained.needs
    monkeypatch.setattr(Chained, "needs", lambda self, t: calls.append(t) or needs(self, t))
    whole = Trial(method=Chained(number=2000), seed=0)
    assert len(Trial.from_json(whole.to_json()).key) == 64
    assert len(calls) == 2001
    short = Trial(method=Chained(number=2), seed=0)
    assert short.key == "35ae0686c40fed361ccfd7b32beab8facfcd15d2a6bad887c54da0977e2a81cd"


def test_needs_that_come_to_no_end_have_no_key():
    with pytest.raises(PlanError, match=r"endless needs a chain of more than 5,000 trials"):
        Trial(method=Endless(), seed=0).key  # noqa: B018
    with pytest.raises(PlanError, match="needs itself: circular -> circular -> circular"):
        Trial(method=Circular(), seed=0).key  # noqa: B018


def test_a_network_is_written_in_json():
    with pytest.raises(InputError) as caught:
        NetworkSpec(name="x", path="nowhere", settings=(("a", {1}), ("b", float("nan")), ("c", 1)))
    path, a, b = caught.value.problems
    assert path == "path 'nowhere' is not of the form 'package.module:Class'"
    assert a.startswith("a = {1} is no JSON value: ")
    assert b.startswith("b = nan is no JSON value: ")


class Penalised(Method):
    """What it is penalised by matters where there is something to forget."""

    name = "penalised"
    strength: float = axis(1.0)

    def canonical_for(self, trial):
        return self.reset("strength") if len(trial.tasks) < 2 else self

    def needs(self, trial):
        return {"before": trial.replace(tasks=trial.tasks[:-1])} if len(trial.tasks) > 1 else {}

    def train(self, run):
        raise AssertionError


def test_a_setting_may_make_a_difference_in_some_trials_only():
    def made(strength, number):
        method = Penalised(strength=strength)
        return Trial(method=method, network=NETWORK, tasks=TASKS[:number], seed=0)

    assert made(5.0, 1) == made(9.0, 1)
    assert made(5.0, 1).method == Penalised()
    assert made(5.0, 2).key != made(9.0, 2).key
    # The need is one trial for all strengths, with no word of it in `needs`.
    assert made(5.0, 2).needs["before"] is made(9.0, 2).needs["before"]
    assert made(5.0, 2).replace(tasks=TASKS[:1]).key == made(1.0, 1).key
    assert Trial.from_json(made(5.0, 1).to_json()) == made(5.0, 1)
