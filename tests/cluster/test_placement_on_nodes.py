"""What is set aside for trials on several nodes, down to what a worker sees. Ray counts the GPUs
that it is told of; there are none.
"""

from __future__ import annotations

import json
from itertools import combinations

import pytest
from listeners import Heard
from pretended_gpus import SeesGpus

from orchestrator import Sweep, make_plan, product, union
from orchestrator.executors.by_name import executor
from orchestrator.executors.ray.driver import RayTune
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue

pytestmark = [pytest.mark.ray, pytest.mark.cluster]


@pytest.fixture
def seen(store, tmp_path):
    """`seen(grids, **said)`: what each trial saw, by its share and its seed, and what was noted."""
    folder = tmp_path / "seen"
    folder.mkdir()

    def run(grids, **said):
        cells = union(*(product(SeesGpus.grid(folder=str(folder), **g), seed=s) for g, s in grids))
        sweep = Sweep(question="?", cells=cells, expect=len(cells))
        queue, heard = Queue(make_plan("asked", sweep, store)), Heard()
        executor("ray").run(queue, store, Site(tmp_path / "scratch", **said), heard)
        assert {outcome.kind for outcome in heard.ends} == {"done"}
        return {f.stem: json.loads(f.read_text()) for f in folder.iterdir()}, heard.notes

    return run


def test_workers_see_the_gpu_that_was_set_aside_for_them_and_no_other(raylets, seen):
    cluster, _ = raylets(1)  # a head without GPUs
    for name, num_gpus in (("a", 1), ("b", 2)):
        cluster.add_node(num_cpus=2, num_gpus=num_gpus, env_vars={"PRETENDED_GPUS": name})
    grids = [({"gpus": 0.5}, range(3)), ({"gpus": 1.0}, range(1)), ({"gpus": 0.0}, range(1))]
    found, _ = seen(grids, slots=5)
    assert len(found) == 5
    on_cpu = found.pop("0-0")
    assert (on_cpu["device"], on_cpu["visible"]) == ("cpu", "")
    gpus = {"a": {"0"}, "b": {"0", "1"}}
    for one in found.values():
        assert one["device"] == "cuda"
        assert one["visible"] in gpus[one["node"]]
    # What shares a GPU at one time asks for no more than one.
    for (name, one), (other_name, other) in combinations(found.items(), 2):
        is_same = (one["node"], one["visible"]) == (other["node"], other["visible"])
        if is_same and one["began"] < other["ended"] and other["began"] < one["ended"]:
            assert {name[:3], other_name[:3]} == {"0.5"}


def test_from_zero_nodes_those_are_started_that_a_trial_needs_and_meanwhile_it_says_so(
    from_zero, seen, monkeypatch, tmp_path
):
    """By Ray's own autoscaler, and with nothing in the site file that says there are GPUs."""
    monkeypatch.setenv("PRETENDED_GPUS", "started")  # of the autoscaler, and so of its nodes
    address, types = from_zero({"small": {"CPU": 1}, "fast": {"CPU": 1, "GPU": 1}})
    # Where `ray up` leaves it on a head.
    monkeypatch.setenv("HOME", str(tmp_path))
    types.rename(tmp_path / "ray_bootstrap_config.yaml")
    monkeypatch.setattr(RayTune, "say_after", 0.2)
    found, (note, *_) = seen([({"gpus": 1.0}, range(1))], slots=1, address=address)
    assert (found["1-0"]["device"], found["1-0"]["visible"]) == ("cuda", "0")
    assert note.startswith("nothing has started for ")
    assert note.endswith(
        "Waiting: 1 for 1 CPU and 1 GPU. Free: nothing, since no node is there that could run a "
        "trial"
    )
