"""What is set aside for trials on several nodes, down to what a worker sees. Ray counts the GPUs
that it is told of; there are none.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

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
        return {f.stem: json.loads(f.read_text()) for f in folder.glob("*.json")}, heard.notes

    return run


def test_workers_see_the_gpu_that_was_set_aside_for_them_and_no_other(raylets, seen):
    """On a node that has answered the handshake, whose process looked at all its GPUs."""
    cluster, _ = raylets(1, num_cpus=3, num_gpus=2, env_vars={"PRETENDED_GPUS": "two"})
    together = {"at_once": 3}
    grids = [({"gpus": 0.5, **together}, range(2)), ({"gpus": 1.0, **together}, range(1))]
    grids.append(({"gpus": 0.0}, range(1)))
    found, _ = seen(grids, slots=3, address=cluster.address)
    assert len(found) == 4
    assert found.pop("0-0") == {"device": "cpu", "visible": ""}
    assert {one["device"] for one in found.values()} == {"cuda"}
    # At one time: what asks for half a GPU shares one, what asks for a whole one has the other.
    shared, whole = found["0.5-0"]["visible"], found["1-0"]["visible"]
    assert found["0.5-1"]["visible"] == shared
    assert {shared, whole} == {"0", "1"}


def test_from_zero_nodes_those_are_started_that_a_trial_needs_and_meanwhile_it_says_so(
    from_zero, seen, monkeypatch, tmp_path
):
    """By Ray's own autoscaler, and with nothing in the site file that says there are GPUs."""
    monkeypatch.setenv("PRETENDED_GPUS", "started")  # of the autoscaler, and so of its nodes
    address, types = from_zero({"small": {"CPU": 1}, "fast": {"CPU": 1, "GPU": 1}})
    # Once this process has started a Ray of its own, Ray asks for the token in the user's home.
    if (token := Path.home() / ".ray/auth_token").is_file():
        (tmp_path / ".ray").mkdir()
        shutil.copy(token, tmp_path / ".ray")
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
