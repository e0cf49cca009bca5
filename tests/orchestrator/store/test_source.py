"""What is read off one source file, and the cache that keeps it by the hash of its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store import source
from orchestrator.store.source import From, Import, keep_read, parsed, read_source

TEXT = b"import a.b as nets\nfrom .c import d as e\nx = nets.vgg\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache; what this process knows of it is forgotten at each `forget()`."""
    monkeypatch.setenv("SPOLIA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def forget():
    source._cache.cache_clear()


def stored(cache: Path) -> Path:
    (file,) = (cache / "code").iterdir()
    return file


@pytest.fixture
def never_parsed(monkeypatch):
    """From when it is called, reading a syntax tree is an error."""

    def refuse(content):
        raise AssertionError("parsed again")

    return lambda: monkeypatch.setattr(source, "parsed", refuse)


def test_imports_and_what_is_taken_from_them():
    read = parsed(TEXT)
    assert read.imports == (Import("a.b", "nets"),)
    assert read.taken == {"nets": ("vgg",)}
    assert read.froms == (From(1, "c", (("d", "e"),), True),)
    assert read.froms[0].origin("top.inner") == "top.inner.c"
    assert not read.acts
    assert parsed(TEXT + b"nets.setup()\n").acts


def test_a_file_for_another_python_counts_as_it_is():
    assert parsed(b"print 1").imports == ()
    assert parsed(b"print 1").digest != parsed(b"print 2").digest


def test_what_one_process_read_another_one_need_not(cache, never_parsed):
    first = read_source(TEXT)
    keep_read()
    forget()
    never_parsed()
    assert read_source(TEXT) == first


def test_other_bytes_are_another_file(cache, never_parsed):
    read_source(TEXT)
    keep_read()
    never_parsed()
    with pytest.raises(AssertionError, match="parsed again"):
        read_source(TEXT + b"\n")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b.replace(b"vgg", b"vgh"), lambda b: b"", lambda b: b"x"]
)
def test_a_cache_that_is_torn_or_altered_counts_as_none(cache, damage):
    first = read_source(TEXT)
    keep_read()
    stored(cache).write_bytes(damage(stored(cache).read_bytes()))
    forget()
    assert read_source(TEXT) == first
    keep_read()  # and is whole again
    forget()
    assert len(source._cache(cache).sources) == 1


def test_what_two_processes_add_is_there(cache):
    read_source(TEXT)
    mine = source._cache(cache)
    forget()
    read_source(b"x = 1\n")
    keep_read()
    mine.write()
    forget()
    assert len(source._cache(cache).sources) == 2


def test_the_oldest_go_when_there_are_many(cache, monkeypatch):
    monkeypatch.setattr(source, "MOST_KEPT", 2)
    for text in (b"a = 1", b"a = 2", b"a = 3"):
        read_source(text)
    keep_read()
    forget()
    assert len(source._cache(cache).sources) == 2


def test_a_cache_that_cannot_be_written_only_costs_time(cache, monkeypatch):
    cache.write_text("in the way")
    assert read_source(TEXT) == parsed(TEXT)
    keep_read()
    monkeypatch.delenv("SPOLIA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert read_source(TEXT) == parsed(TEXT)
    keep_read()


def no_home():
    raise RuntimeError("Could not determine home directory.")
