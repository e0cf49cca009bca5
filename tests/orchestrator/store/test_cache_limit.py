"""Caches on disk keep to a limit: what was not used for longest goes."""

from __future__ import annotations

import os
import time

import pytest

from orchestrator.errors import InputError
from orchestrator.store.cache_limit import BLOCK, VARIABLE, Kept, limit, note_use, thin_out
from orchestrator.store.files import Cached, Folder


def test_what_was_not_used_for_longest_goes_until_the_rest_fits():
    gone = []

    def kept(name, used, is_removable=True):
        return Kept(used, 10, lambda: is_removable and not gone.append(name))

    thin_out([kept("c", 3), kept("held", 0, is_removable=False), kept("a", 1), kept("b", 2)], 20)
    assert gone == ["a", "b"]


def test_the_limit_is_a_number_of_gigabytes_or_a_share_of_the_disk(monkeypatch, tmp_path):
    assert limit(tmp_path) > 0
    monkeypatch.setenv(VARIABLE, "0.5")
    assert limit(tmp_path) == 5e8
    monkeypatch.setenv(VARIABLE, "50 GB")
    with pytest.raises(InputError, match="SPOLIA_CACHE_GB='50 GB' is no number"):
        limit(tmp_path)


def test_copies_of_a_stores_files_keep_to_the_limit(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(10 * BLOCK / 1e9))
    store = Cached(Folder(tmp_path / "store"), tmp_path / "cache")
    kept = f"results/{'ab' * 32}"
    for number in range(40):
        store.publish(f"results/{number}", b"content")
        list(store.entries("results"))
        assert store.read(f"results/{number}", as_listed=True) == b"content"
        if number == 0:
            store.publish(kept, b"used")
        list(store.entries("results"))
        assert store.read(kept, as_listed=True) == b"used"
        for copy in (tmp_path / "cache").rglob("*"):
            if copy.is_file() and "abab" not in copy.name:
                long_ago = time.time() - 1e6 + number
                os.utime(copy, (long_ago, long_ago))
    copies = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(copies) <= 10
    assert any("abab" in copy.name for copy in copies)


def test_a_use_is_noted_where_the_last_one_is_long_ago(tmp_path):
    path = tmp_path / "copy"
    path.touch()
    os.utime(path, (1e9, 1e9))
    note_use(path)
    assert path.stat().st_mtime > 1e9
    note_use(tmp_path / "gone")
