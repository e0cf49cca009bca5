"""What is set aside for a trial, and on which device it computes: decided in the driver."""

from __future__ import annotations

import pytest
from listeners import Heard
from sample_methods import Count, Greedy

from orchestrator import ExecutorError, Sweep, Trial, make_plan, product
from orchestrator.executors.inline import Inline
from orchestrator.executors.placement import (
    Node,
    Nodes,
    Placement,
    at_once,
    cpus_for_slots,
    place,
    place_all,
)
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue

COUNT, GREEDY = Trial(method=Count(), seed=0), Trial(method=Greedy(), seed=0)
HERE = Nodes((Node("here", 8, 2),))
TWO_KINDS = Nodes((Node("many", 16, 0), Node("fast", 4, 2)))
NO_GPU = Nodes((Node("many", 16, 0),))
UNKNOWN = Nodes((Node("head", 0, 0),), may_grow=True)


@pytest.mark.parametrize(
    ("trial", "said", "nodes", "expected"),
    [
        (COUNT, {"gpus": {"default": 0.5, "count": 0.25}}, HERE, Placement(1, 0.25)),
        (GREEDY, {"gpus": {"default": 0.5}, "cpus": {"greedy": 3}}, HERE, Placement(3, 0.5)),
        (GREEDY, {}, HERE, Placement(8, 2)),
        (GREEDY, {}, TWO_KINDS, Placement(4, 2)),
        (GREEDY, {"device": "cpu"}, TWO_KINDS, Placement(16, 0)),
        (GREEDY, {}, NO_GPU, Placement(16, 0)),
        (COUNT, {"gpus": {"count": 0}}, HERE, Placement(1, 0)),
        (GREEDY, {"device": "gpu"}, UNKNOWN, Placement(64, 8)),
        (COUNT, {}, UNKNOWN, Placement(1, 0)),
    ],
    ids=[
        "the site's share for the method",
        "the site's default",
        "a hint is limited to the largest node",
        "to one node that has both",
        "no GPU where the site says cpu",
        "none where there is none",
        "none where the site gives none",
        "all that is wanted where nothing is known",
        "but no GPU unless the site says so",
    ],
)
def test_a_trial_gets(tmp_path, trial, said, nodes, expected):
    assert place(trial, Site(tmp_path, **said), nodes) == expected


def test_the_device_is_the_one_that_was_set_aside():
    assert [Placement(4, share).device for share in (0, 0.25, 1)] == ["cpu", "cuda", "cuda"]


@pytest.mark.parametrize(
    ("said", "nodes", "message"),
    [
        (
            {"cpus": {"default": 32}, "device": "cpu"},
            TWO_KINDS,
            "[cpus] default = 32, for count: no node that could run it has as many; "
            "the largest is many (16 CPUs)",
        ),
        (
            {"cpus": {"count": 8}},
            TWO_KINDS,
            "[cpus] count = 8: no node that could run it has as many; "
            "the largest is fast (4 CPUs and 2 GPUs)",
        ),
        (
            {},
            Nodes((Node("head", 0, 0), Node("gpu, a node type", 0, 1, up=0))),
            "no machine has a CPU, and none that the cluster starts: each trial sets one aside",
        ),
        (
            {"gpus": {"default": 4}},
            TWO_KINDS,
            "[gpus] default = 4, for count: no node that could run it has as many; "
            "the largest is fast (4 CPUs and 2 GPUs)",
        ),
        ({"device": "gpu"}, NO_GPU, 'the site says device = "gpu" and no machine has one'),
    ],
    ids=["CPUs", "CPUs beside a GPU", "no CPU at all", "GPUs", "no GPU at all"],
)
def test_what_no_node_can_hold_is_an_error(tmp_path, said, nodes, message):
    with pytest.raises(ExecutorError) as caught:
        place(COUNT, Site(tmp_path, **said), nodes)
    assert str(caught.value).startswith(message)


def test_all_that_no_node_can_hold_is_told_at_once_and_each_thing_once(tmp_path):
    trials = [COUNT, GREEDY, Trial(method=Count(), seed=1)]
    with pytest.raises(ExecutorError) as caught:
        place_all(trials, Site(tmp_path, cpus={"default": 9}), HERE)
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "[cpus] default = 9, for count",
        "[cpus] default = 9, for greedy",
    ]


def test_slots_are_slots_whatever_a_trial_sets_aside():
    assert cpus_for_slots([Placement(1, 0), Placement(2, 0)], 3) == 6


@pytest.mark.parametrize(
    ("placements", "nodes", "slots", "expected"),
    [
        ([Placement(1, 0.25)] * 5, HERE, 32, 8),
        ([Placement(1, 0.1)] * 5, Nodes((Node("one", 32, 1),)), 32, 10),
        ([Placement(1, 0)] * 5, TWO_KINDS, 32, 20),
        ([Placement(1, 0)] * 5, TWO_KINDS, 6, 6),
        # One of each kind: 1/8 and 1/2 of the time
        ([Placement(1, 0), Placement(1, 1)], HERE, 32, pytest.approx(2 / (1 / 8 + 1 / 2))),
        ([Placement(1, 1)] * 5, UNKNOWN, 16, 16),
    ],
)
def test_how_many_run_at_once_is_what_the_nodes_have_room_for(placements, nodes, slots, expected):
    assert at_once(placements, nodes, slots) == expected


def test_inline_has_all_cpus_and_no_gpu_that_is_not_there(store, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    plan = make_plan(
        "asked", Sweep(question="?", cells=product(Count.grid(), seed=0), expect=1), store
    )

    def run(**said):
        Inline().run(Queue(plan), store, Site(tmp_path / "scratch", 1, **said), Heard())

    with pytest.raises(ExecutorError, match='device = "gpu" and no machine has one'):
        run(device="gpu")
    assert not list(store.finished())
    run(cpus={"default": 10**6})
    assert len(list(store.finished())) == 1


@pytest.mark.parametrize(("share", "device"), [(0, "cpu"), (0.5, "cuda")])
def test_inline_computes_where_the_site_says(store, tmp_path, monkeypatch, share, device):
    asked = []

    def executed(trial, *arguments, device, **kwargs):
        asked.append(device)
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("orchestrator.executors.inline.execute", executed)
    plan = make_plan(
        "asked", Sweep(question="?", cells=product(Count.grid(), seed=0), expect=1), store
    )
    site = Site(tmp_path / "scratch", 1, gpus={"count": share})
    with pytest.raises(KeyboardInterrupt):
        Inline().run(Queue(plan), store, site, Heard())
    assert asked == [device]
