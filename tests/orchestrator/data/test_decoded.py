"""The cache of decoded images: one builder at a time, whatever happened to the one before."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading

import pytest

from orchestrator.data import decoded


@pytest.mark.parametrize("fails", [False, True])
def test_a_lock_is_held_by_one_at_a_time_while_others_wait_and_come(tmp_path, monkeypatch, fails):
    """The first leaves while the second waits; then a third comes."""
    path = tmp_path / "set.lock"
    second_waits, second_is_in, third_is_in, may_leave = (threading.Event() for _ in range(4))

    flock = fcntl.flock

    def locking(file, operation):
        if threading.current_thread().name == "second":
            second_waits.set()
        flock(file, operation)

    monkeypatch.setattr(decoded.fcntl, "flock", locking)

    def build(is_in):
        with decoded._locked(path):
            is_in.set()
            assert may_leave.wait(60)

    second = threading.Thread(target=build, args=(second_is_in,), name="second")
    third = threading.Thread(target=build, args=(third_is_in,), name="third")
    with contextlib.suppress(ZeroDivisionError), decoded._locked(path):
        second.start()
        assert second_waits.wait(60)
        if fails:
            raise ZeroDivisionError
    assert second_is_in.wait(60)
    third.start()
    try:
        assert not third_is_in.wait(0.3)
    finally:
        may_leave.set()
        second.join()
        third.join()
    assert third_is_in.is_set()
    assert not path.exists()


def test_generations_that_nobody_uses_go_where_the_cache_is_full(monkeypatch, tmp_path):
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path))
    monkeypatch.setenv("SPOLIA_CACHE_GB", "0.000003")

    def build(folder):
        (folder / "train.npy").write_bytes(bytes(1000))
        return {}

    folders = [decoded.decoded(["set", number], build)[0] for number in range(2)]
    for folder, used in zip(folders, (2e9, 1e9), strict=True):
        os.utime(folder / decoded.ABOUT, (used, used))
    # Nobody uses the first; the second was used before, but is held by this process.
    os.close(decoded._held.pop(folders[0]))
    folders += [decoded.decoded(["set", number], build)[0] for number in range(2, 4)]
    assert [folder.exists() for folder in folders] == [False, True, True, True]
