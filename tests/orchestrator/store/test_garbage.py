"""What `spolia gc` leaves alone: what results name, and what a living run uses."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Store, Sweep, digits, make_plan, product
from orchestrator.cli.progress import TerminalDisplay
from orchestrator.executors.site import Site
from orchestrator.session.running import run_sweep
from orchestrator.store.garbage import unneeded
from orchestrator.store.heartbeat import alive, living
from orchestrator.store.home import home

KEY = "ab" * 32
DAYS = 10 * 24 * 3600.0


def grown_old(store, path):
    then = time.time() - DAYS
    os.utime(Path(store.address) / path, (then, then))


def would_go(store, older_than=24 * 3600.0):
    return {entry.path for entry in unneeded(store, before=time.time() - older_than)}


def put(store, path, content=b"x"):
    file = Path(store.address) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    grown_old(store, path)
    return path


def test_what_a_living_run_uses_stays_however_old_it_is(store):
    with alive(store) as run:
        probe, node = f"probes/{run}", put(store, f"probes/{run}-node-12")
        grown_old(store, probe)
        used = {probe, node, f"runs/{run}"}
        used |= {put(store, f"{folder}/{run}/deep/file") for folder in ("tune", "checks")}
        used.add(put(store, f"progress/{KEY}.json"))
        of_dead = {put(store, path) for path in ("tune/dead/file", "probes/dead", "checks/dead/f")}
        assert would_go(store) == of_dead
    assert used - {probe, f"runs/{run}"} <= would_go(store)


def test_a_run_whose_heartbeat_has_stopped_protects_nothing(store):
    left = {put(store, path) for path in ("runs/dead", "probes/dead", f"progress/{KEY}.json")}
    assert would_go(store) == left


def test_a_probe_that_somebody_removed_is_left_again_and_all_is_gone_at_the_end(store):
    with alive(store, every=0.05) as run:
        store.take_probe(run)
        grown_old(store, f"runs/{run}")
        limit = time.monotonic() + 30
        while not (store.sees_probe(run) and run in living(store)) and time.monotonic() < limit:
            time.sleep(0.05)
        assert store.sees_probe(run)
        assert living(store) == {run}
    assert not living(store)
    assert not store.sees_probe(run)


def test_copies_of_checkpoints_stay_while_a_run_lives_unless_their_trial_has_a_result(store):
    store.commit({"key": KEY, "outcome": "done", "components": [], "matrices": []})
    of_finished = put(store, f"checkpoints/{KEY}/code/train.pt")
    of_open = put(store, f"checkpoints/{'cd' * 32}/code/train.pt")
    with alive(store):
        assert would_go(store) == {of_finished}
    assert would_go(store) == {of_finished, of_open}


def test_a_heartbeat_that_is_being_written_is_no_second_run(store):
    with alive(store) as run:
        beside = Path(store.address) / "runs" / f".{run}.0123"  # what a step of publishing leaves
        beside.write_bytes(b"")
        assert living(store) == {run}


def test_a_blob_that_is_put_again_is_young_again(store):
    name = store.put_blob(b"weights")
    path = f"blobs/{name[:2]}/{name}"
    grown_old(store, path)
    (listed,) = unneeded(store, before=time.time() - 3600)
    store.put_blob(b"weights")  # a rerun with equal bits, before its result names it
    assert not would_go(store)
    assert not store.discard_unchanged(listed)
    assert store.blob(name) == b"weights"


def test_while_a_run_lives_no_young_blob_goes_however_short_the_time_asked_for(store):
    name = store.put_blob(b"weights")
    with alive(store):
        assert not would_go(store, older_than=-60.0)
    assert would_go(store, older_than=-60.0) == {f"blobs/{name[:2]}/{name}"}


def test_weights_that_a_component_requires_count_as_named(store):
    blobs = [store.put_blob(word) for word in (b"mask", b"base", b"base of the base", b"nobody's")]
    inner = {"component": "x", "blob": blobs[2], "requires": {}}
    pin = {"component": "y", "blob": blobs[1], "requires": inner}
    mask = {"name": "mask", "blob": blobs[0], "requires": pin}
    store.commit({"key": KEY, "outcome": "done", "components": [mask], "matrices": []})
    for name in blobs:
        grown_old(store, f"blobs/{name[:2]}/{name}")
    assert would_go(store) == {f"blobs/{blobs[3][:2]}/{blobs[3]}"}


def test_so_do_those_of_several_that_it_requires_by_name(store):
    blobs = [store.put_blob(word) for word in (b"stitch", b"front", b"back", b"nobody's")]
    pins = {
        name: {"component": name, "blob": blob, "requires": {}}
        for name, blob in zip(("component", "back"), blobs[1:3], strict=True)
    }
    stitch = {"name": "stitch", "blob": blobs[0], "requires": pins}
    store.commit({"key": KEY, "outcome": "done", "components": [stitch], "matrices": []})
    for name in blobs:
        grown_old(store, f"blobs/{name[:2]}/{name}")
    assert would_go(store) == {f"blobs/{blobs[3][:2]}/{blobs[3]}"}


@pytest.mark.process
def test_on_an_object_store_a_blob_that_is_put_again_is_written_again(s3):
    store = Store(s3)
    store.put_blob(b"weights")
    (listed,) = list(store.entries("blobs"))
    time.sleep(1.1)  # the server's times are in seconds
    store.put_blob(b"weights")
    assert not store.discard_unchanged(listed)
    with alive(store) as run:
        assert living(store) == {run}


def test_gc_between_any_two_steps_of_a_real_run_takes_nothing_that_it_needs(
    store, tmp_path, monkeypatch
):
    """Each blob that a run puts is followed by a gc that removes all it may, however young."""
    tasks = tuple(digits.classes(i, i + 1).images(limit=20).named(f"t{i}") for i in range(2))
    cells = product(FineTune.grid(epochs=1), network=resnet8(width=2), tasks=tasks, seed=[0, 1])
    sweep = Sweep(question="?", cells=cells, expect=2)
    put_blob, names = Store.put_blob, []

    def put_and_sweep(self, content):
        names.append(put_blob(self, content))
        for entry in list(unneeded(self, before=time.time() + 3600)):
            self.discard_unchanged(entry)
        return names[-1]

    nobodys = store.put_blob(b"nobody's")
    grown_old(store, f"blobs/{nobodys[:2]}/{nobodys}")
    monkeypatch.setattr(Store, "put_blob", put_and_sweep)
    plan = make_plan("asked", sweep, store)
    display = TerminalDisplay(Console(file=io.StringIO()))
    where = home(tmp_path, store.address, "none")
    site = Site(tmp_path / "scratch")
    summary = run_sweep(plan, sweep, where, site, "inline", display)
    assert (summary.is_complete, summary.problems) == (True, ())
    assert len(names) >= 4  # a network for each trial and each of the first task
    assert all(store.blob(name) for name in names)
    assert not store.has_blob(nobodys)
