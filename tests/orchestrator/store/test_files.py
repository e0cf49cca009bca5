"""Stores elsewhere: on S3 (a real HTTP server on this machine), and with two drivers at once."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path

import pytest
import torch
from listeners import Heard
from sample_methods import Count

from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import (
    CorruptError,
    Result,
    Store,
    StoreError,
    Sweep,
    Trial,
    digits,
    make_plan,
    product,
    resolve,
)
from orchestrator.executors.by_name import executor
from orchestrator.executors.site import Site
from orchestrator.planning.queue import Queue
from orchestrator.store import files
from orchestrator.store.files import appears_whole, files_at
from orchestrator.store.garbage import unneeded
from orchestrator.store.store import record_digest
from orchestrator.training.execute import execute, run_with_needs

KEY = "ab" * 32


@pytest.fixture
def bucket(s3, monkeypatch, tmp_path):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    return Store(s3)


def test_a_file_that_is_written_anew_appears_whole_or_stays_as_it_was(tmp_path):
    page = tmp_path / "page.html"
    with appears_whole(page) as temporary:
        temporary.write_text("first")
        assert not page.exists()
    with pytest.raises(TypeError), appears_whole(page) as temporary:
        temporary.write_text("half of the second") + None
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_mount_without_hard_links_holds_a_store(tmp_path, monkeypatch, number):
    def no_links(*paths):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_links)
    folder = files_at(tmp_path)
    assert folder.publish("a/b", b"first")
    assert not folder.publish("a/b", b"second")
    assert folder.read("a/b") == b"first"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_result_on_s3_is_found_as_it_was_committed(bucket):
    bucket.prepare()
    bucket.prepare()
    assert bucket.find(KEY) is None
    assert bucket.commit({"key": KEY, "outcome": "done"})
    assert not bucket.commit({"key": KEY, "outcome": "other"})
    assert bucket.find(KEY)["outcome"] == "done"
    assert list(bucket.finished()) == [KEY]
    assert bucket.resolve_key("ab") == KEY


def test_blobs_on_s3_are_read_once_and_then_from_the_local_copy(bucket, tmp_path):
    name = bucket.put_blob(b"weights")
    assert bucket.blob(name) == b"weights"
    Store(bucket.address).discard(f"blobs/{name[:2]}/{name}")  # gone from the bucket, still here
    assert bucket.blob(name) == b"weights"
    (copy,) = (tmp_path / "cache" / "stores").rglob(name)
    copy.write_bytes(b"altered")
    with pytest.raises(CorruptError, match="missing"):
        bucket.blob(name)  # an altered copy does not count


def test_very_many_results_are_listed_side_by_side_and_all_of_them(bucket, monkeypatch):
    keys = {f"{shard}{number:062x}" for shard in ("00", "77", "ff") for number in range(2)}
    for key in keys:
        bucket.commit({"key": key, "outcome": "done"})
    one_by_one = list(bucket.entries("results"))
    monkeypatch.setattr(files, "MANY", 2)
    monkeypatch.setattr(files, "SHARDS", files.SHARDS[::17])  # 16 of 256 answers of a server
    listed = []
    monkeypatch.setattr(
        files.Bucket,
        "_listed",
        lambda self, folder, listing=files.Bucket._listed: (
            listed.append(folder) or listing(self, folder)
        ),
    )
    assert list(bucket.entries("results")) == one_by_one
    assert set(bucket.finished()) == keys
    assert "results" not in listed


def test_a_result_that_was_replaced_is_read_again(bucket):
    bucket.commit({"key": KEY, "outcome": "done"})
    assert [r["outcome"] for r in bucket.find_all([KEY] * 9)] == ["done"] * 9
    other = Store(bucket.address)
    first = record_digest(bucket.find(KEY))
    assert other.commit({"key": KEY, "outcome": "infeasible"}, replaces=first)
    assert bucket.find(KEY)["outcome"] == "infeasible"
    assert [r["outcome"] for r in bucket.find_all([KEY] * 9)] == ["infeasible"] * 9


def test_a_layer_over_a_store_on_s3_is_read_and_written_by_its_address(bucket):
    bucket.commit({"key": KEY, "outcome": "done"})
    old = record_digest(bucket.find(KEY))
    layer = Store(bucket.layer("checks/x").address)
    assert layer.commit({"key": KEY, "outcome": "diverged"}, replaces=old)
    assert (layer.find(KEY)["outcome"], bucket.find(KEY)["outcome"]) == ("done", "done")
    assert Store(bucket.folder("checks/x")).find(KEY)["outcome"] == "diverged"
    bucket.clear("checks/x")
    assert not list(bucket.entries("checks"))


def test_a_part_trained_on_the_first_of_two_results_outlives_the_second(bucket):
    """An object store lets a second driver's record replace the first one's. The part is a
    classifier on its base, kept with `requires=` as masks are.
    """
    base_task = digits.classes(0, 1, 2).images(limit=30).named("base")
    target = digits.classes(3, 4).images(limit=30).named("a")
    method = FeatureExtraction(epochs=1, base=FineTune(epochs=1))
    trial = resolve(
        Trial(method=method, network=resnet8(width=4), tasks=(base_task, target), seed=0), bucket
    )
    run_with_needs(trial, bucket)
    assert execute(trial, bucket).kind == "done"
    part = Result(bucket, bucket.find(trial.key)).component("part", task="a")
    images = torch.zeros(1, 1, 8, 8)
    before = part.ready()(images)
    base = bucket.find(trial.needs["base"].key)
    (network,) = base["components"]
    other = {**base, "components": [{**network, "blob": bucket.put_blob(b"others")}]}
    assert bucket.commit(other, replaces=record_digest(base))
    assert torch.equal(part.ready()(images), before)
    assert part.required().record.blob == network["blob"]


def test_everything_else_a_store_does_works_on_s3(bucket):
    bucket.put_failure(KEY, {"reason": "x"})
    assert bucket.failures() == {KEY}
    bucket.forget_failure(KEY)
    assert bucket.failure(KEY) is None
    bucket.put_progress(KEY, {"epoch": 3})
    assert bucket.progress(KEY) == {"epoch": 3}
    assert bucket.under_way() == {KEY}
    bucket.put_progress(KEY, None)
    assert bucket.progress(KEY) is None
    bucket.put_log(KEY, "printed")
    assert bucket.log(KEY) == "printed"
    bucket.put_blob(b"nobody names me")
    assert [e.size for e in unneeded(bucket, before=4e9)] == [15]


@pytest.mark.ray
def test_a_sweep_runs_with_its_store_on_s3(local_ray, bucket, tmp_path):
    bucket.prepare()
    cells = product(Count.grid(depth=1, fan=2), seed=range(2))
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=2), bucket)
    executor("ray").run(Queue(plan), bucket, Site(tmp_path / "scratch", 1), Heard())
    again = make_plan("asked", Sweep(question="?", cells=cells, expect=2), bucket)
    assert again.is_complete
    assert len(again.outcomes) == 6


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ftp://somewhere/store", "the store's address 'ftp://somewhere/store' cannot be used"),
        (
            "s3://bucket/x?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1&access_key=a",
            "cannot be used",
        ),
    ],
)
def test_an_address_that_cannot_be_used_is_named(address, message):
    with pytest.raises(StoreError, match=message.replace("?", r"\?")):
        files_at(address)


@pytest.mark.slow
def test_an_object_store_that_does_not_answer_is_named_without_its_keys(s3):
    away = s3.partition("?")[0] + "?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
    away = away.replace("s3://", "s3://identity:secret@")
    with pytest.raises(StoreError) as caught:
        Store(away).prepare()
    assert "secret" not in str(caught.value)
    assert "store=..." in str(caught.value)


def planned_chains(store):
    cells = product(Count.grid(depth=1, fan=2, nap=0.02), seed=range(6))
    return make_plan("asked", Sweep(question="?", cells=cells, expect=6), store)


def drive(folder, number):
    """One of several drivers, in a process of its own."""
    store = Store(folder)
    scratch = Path(folder).parent / f"scratch{number}"
    executor("inline").run(Queue(planned_chains(store)), store, Site(scratch), Heard())


@pytest.mark.process
def test_two_drivers_on_one_shared_folder_end_with_one_true_result_a_trial(store):
    store.prepare()
    both = [
        multiprocessing.get_context("spawn").Process(target=drive, args=(store.address, i))
        for i in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [p.exitcode for p in both] == [0, 0]
    plan = planned_chains(store)
    assert plan.is_complete
    assert not plan.stale
    assert len(list(store.finished())) == len(plan.trials) == 18


def test_a_trial_that_somebody_else_finished_meanwhile_is_not_run_again(store):
    plan = make_plan(
        "asked", Sweep(question="?", cells=product(Count.grid(), seed=0), expect=1), store
    )
    (trial,) = plan.todo
    execute(trial, store)
    assert execute(trial, store).seconds == store.find(trial.key)["timings"]["seconds"] > 0


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path, monkeypatch):
    files = files_at(tmp_path)
    files.publish("results/a.json", b"1")

    def refuses(path):
        raise PermissionError(13, "Permission denied", str(path))

    assert list(files.entries("nowhere")) == []
    monkeypatch.setattr("os.scandir", refuses)
    with pytest.raises(StoreError, match=r"results cannot be read: .*Permission denied"):
        list(files.entries("results"))
