"""Categories by tasks: one category module for several tasks, an adapter for each pair."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from methods.network_transplanting import NetworkTransplanting
from methods.network_transplanting.category_networks import CategoryNetworks
from methods.network_transplanting.transplanted_tasks import TransplantedTasks
from methods.networks import small_fcn, small_vgg
from orchestrator import Result, Store, Trial, digits, pasted, resolve
from orchestrator.training.execute import execute, run_with_needs

CANVAS = pasted(digits)
BACKGROUND = (5, 6, 7)
METHOD = TransplantedTasks(
    adapters=NetworkTransplanting(steps=2, batch=8),
    networks=CategoryNetworks(columns=2, epochs=1, other_networks=(small_fcn(width=4),)),
)


def small(task, name):
    return task.images(limit=24).validation(0).named(name)


def category(number, name):
    which = CANVAS.classes(number, *BACKGROUND).binary(number, called="category")
    return small(which, f"{name}.which"), small(
        CANVAS.classes(number).foreground(), f"{name}.where"
    )


PRETRAIN = (
    small(CANVAS.classes(*BACKGROUND), "others.which"),
    small(CANVAS.classes(*BACKGROUND).foreground(), "others.where"),
)
HOST, ONE, TWO = (category(number, name) for number, name in enumerate(("zero", "one", "two")))


def trial_of(*rows, method=METHOD, store=None):
    tasks = tuple(task for row in rows for task in row)
    trial = Trial(method=method, network=small_vgg(width=4), tasks=tasks, seed=0)
    return resolve(trial, store) if store else trial


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("pairs") / "store")
    made.prepare()
    return made


@pytest.fixture(scope="module")
def result(store):
    """A network of three categories and two tasks."""
    trial = trial_of(PRETRAIN, HOST, ONE, TWO, store=store)
    assert trial.problems() == []
    run_with_needs(trial, store)
    outcome = execute(trial, store)
    assert outcome.is_result, outcome.traceback
    return Result(store, store.find(trial.key))


def test_a_category_has_one_module_for_all_its_tasks(result, store):
    host = Result(store, store.find(result.record["needs"]["host"]["key"]))
    which, where = (host.module("network", task=f"zero.{t}") for t in ("which", "where"))
    one, other = which.extractor("stage2").state_dict(), where.extractor("stage2").state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    network = result.module("network")
    assert set(network.categories) == {"zero", "one", "two"}
    assert set(network.tasks) == {"which", "where"}
    joined = {frozenset(adapters) for adapters in network.adapters.values()}
    assert joined == {frozenset(network.tasks)}


def test_the_network_computes_each_pair(result, store):
    network, x = result.module("network").eval(), torch.randn(2, 1, 12, 12)
    host = Result(store, store.find(result.record["needs"]["host"]["key"]))
    assert torch.equal(network(x, "zero", "which"), host.module("network", task="zero.which")(x))
    assert network(x, "one", "where").shape == (2, 2, 12, 12)
    path = result.module("transplanted", category="one", kind="where").eval()
    assert torch.equal(network(x, "one", "where"), path(x))


def test_matrices_are_categories_by_tasks(result):
    for name, metric in (
        ("after", "balanced_error"),
        ("before", "bare_error"),
        ("own", "own_error"),
    ):
        matrix = result.matrix(name)
        assert (matrix.rows, matrix.columns) == (("one", "two"), ("which", "where"))
        assert matrix.values[1, 0] == result.metric(metric, category="two", kind="which")
    assert result.metric("gap", category="one", kind="where") == pytest.approx(
        result.metric("balanced_error", category="one", kind="where")
        - result.metric("own_error", category="one", kind="where")
    )


def test_nothing_old_changes(result):
    found = [entry["value"] for entry in result.metrics if entry["name"] == "retention"]
    assert found == [0.0] * 6


def test_orders_share_their_adapters_and_networks(store):
    trials = [trial_of(PRETRAIN, HOST, *order, store=store) for order in permutations([ONE, TWO])]
    assert len({trial.key for trial in trials}) == 2
    assert len({need.key for trial in trials for need in trial.needs.values()}) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((PRETRAIN, HOST), "tasks come in rows of 2"),
        ((PRETRAIN, HOST, ONE[::-1]), "one has the tasks where, which; the first row has which"),
        ((PRETRAIN, HOST, (ONE[0], TWO[1])), "call the tasks of a category 'category.task'"),
    ],
)
def test_what_makes_no_table_is_told_at_planning(store, rows, message):
    assert message in str(trial_of(*rows, store=store).problems())


def test_adapters_that_cannot_be_learned_are_told_at_planning(store):
    for settings, message in (
        ({"labels": "direct"}, "need images, and samples is 0"),
        ({"everything": True}, "task modules are shared, and never change"),
    ):
        method = METHOD.replace(adapters=METHOD.adapters.replace(**settings))
        problems = trial_of(PRETRAIN, HOST, ONE, method=method, store=store).problems()
        assert message in str(problems)


def test_a_wrong_number_of_networks_is_told_at_planning(store):
    method = METHOD.replace(networks=CategoryNetworks(columns=2, other_networks=(small_vgg(),) * 2))
    problems = trial_of(PRETRAIN, HOST, ONE, method=method, store=store).problems()
    assert "other_networks names 2 networks for the 1 tasks" in str(problems)
