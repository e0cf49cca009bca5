"""The store: first wins, verified reads, nothing ever half there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import CorruptError, Store, StoreError
from orchestrator.data import sources
from orchestrator.store.files import file_name, files_at

KEY = "ab" * 32


def record(**more):
    return {"key": KEY, "outcome": "done", **more}


def path(store):
    return Path(store.address) / f"results/ab/{KEY}/result.json"


def test_a_result_is_found_as_it_was_committed(store):
    assert store.find(KEY) is None
    assert store.commit(record(metrics=[1.5]))
    assert store.find(KEY) == record(metrics=[1.5])
    assert list(store.finished()) == [KEY]


def test_the_first_result_wins(store):
    assert store.commit(record(by="first"))
    assert not store.commit(record(by="second"))
    assert store.find(KEY)["by"] == "first"


@pytest.mark.process
def test_of_many_processes_one_wins_and_the_result_is_whole(store):
    program = textwrap.dedent(f"""
        import sys
        from orchestrator import Store
        record = {{"key": "{KEY}", "outcome": "done", "by": sys.argv[2] * 100000}}
        print(Store(sys.argv[1]).commit(record))
    """)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, store.address, str(i)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    was_first = [process.communicate()[0].strip() for process in running]
    assert sorted(was_first) == ["False", "False", "False", "True"]
    assert len(set(store.find(KEY)["by"])) == 1
    assert [f.name for f in path(store).parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    "damage",
    [lambda t: t[: len(t) // 2], lambda t: t.replace("done", "gone"), lambda t: "", lambda t: "[]"],
)
def test_a_record_that_is_torn_or_altered_is_told_not_trusted(store, damage):
    store.commit(record())
    path(store).write_text(damage(path(store).read_text()))
    with pytest.raises(CorruptError, match=r"result.json.*Remove"):
        store.find(KEY)


def test_a_record_under_another_key_is_told(store):
    store.commit(record())
    other = Path(store.address) / f"results/cd/{'cd' * 32}/result.json"
    other.parent.mkdir(parents=True)
    other.write_text(path(store).read_text())
    with pytest.raises(CorruptError):
        store.find("cd" * 32)


def test_blobs_are_named_by_content_and_verified(store):
    name = store.put_blob(b"weights")
    assert store.put_blob(b"weights") == name
    assert store.blob(name) == b"weights"
    (Path(store.address) / f"blobs/{name[:2]}/{name}").write_bytes(b"weighty")
    with pytest.raises(CorruptError, match="altered"):
        store.blob(name)
    with pytest.raises(CorruptError, match="missing"):
        store.blob("0" * 64)


def test_a_failure_is_kept_until_it_is_forgotten(store):
    store.put_failure(KEY, {"reason": "one"})
    store.put_failure(KEY, {"reason": "two"})
    assert store.failure(KEY)["reason"] == "two"
    store.forget_failure(KEY)
    assert store.failure(KEY) is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"file.*cannot be written.*--store"):
        Store(tmp_path / "file").prepare()
    with pytest.raises(StoreError, match="cannot be written"):
        Store("/proc/spolia").prepare()


def test_a_folder_without_permission_is_named():
    """Root may write everywhere, so as root the attempt is made as nobody."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(StoreError, match=r"cannot be written.*Permission denied"):
                Store(f"{folder}/store").prepare()
        finally:
            os.seteuid(user)
            os.chmod(folder, 0o755)


def test_another_format_is_refused(store):
    (Path(store.address) / "format.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(StoreError, match="another format"):
        store.prepare()


def test_a_write_that_fails_leaves_nothing(store, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        store.commit(record())
    monkeypatch.undo()
    assert store.find(KEY) is None
    assert not list(path(store).parent.iterdir())


OUTSIDE = ["../x", "a/../../x", "/etc/hostname", "blobs/../../x"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_name_leads_out_of_a_store(store, path, tmp_path):
    (tmp_path / "x").write_text("not the store's")
    files = files_at(tmp_path / "store")
    for call in (
        lambda: files.read(path),
        lambda: files.publish(path, b"", replace=True),
        lambda: files.remove(path),
        lambda: list(files.entries(path)),
        lambda: store.blob(f"../{path}"),
        lambda: store.log(f"../{path}"),
        lambda: store.put_failure(f"../{path}", {}),
    ):
        with pytest.raises(StoreError, match="leads out"):
            call()
    assert (tmp_path / "x").read_text() == "not the store's"


def test_data_sets_of_long_names_have_a_record_each(store):
    record = sources.load("digits").record
    names = ["parquet/" + "x" * 300 + end for end in "ab"]
    for name in names:
        store.put_data(replace(record, name=name))
    assert [store.data(name).name for name in names] == names
    assert [record.name for record in store.data_records()] == names


def test_names_of_files_are_different_for_different_texts():
    texts = ["a b", "a_b", "a%20b", "a/b", "", ".", "..", ".a", "x" * 300, "x" * 301, "joint-1"]
    names = [file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert not any("/" in name or name.startswith(".") or len(name) > 200 for name in names)
    assert file_name("joint-1.b_c") == "joint-1.b_c"
