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
from orchestrator.store.store import record_digest

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
    # What to remove, so that a run can go on.
    with pytest.raises(CorruptError, match=f"Remove it and .*results/ab/{KEY}/result.json and run"):
        store.blob(name, of=KEY)


def test_a_failure_is_kept_until_it_is_forgotten(store):
    store.put_failure(KEY, {"reason": "one"})
    store.put_failure(KEY, {"reason": "two"})
    assert store.failure(KEY)["reason"] == "two"
    store.forget_failure(KEY)
    assert store.failure(KEY) is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"file.*cannot be written.*store=\.\.\."):
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


@pytest.mark.parametrize(
    "read", [Store.prepare, lambda s: s.find(KEY), lambda s: [*s.find_all([KEY])]]
)
def test_a_store_of_the_format_before_is_refused_with_what_to_do(store, read):
    store.commit(record())
    (Path(store.address) / "format.json").write_text(json.dumps({"format": 1}))
    message = r"store of format 1 .* works with format 2: name another store \(store=\.\.\.\)"
    with pytest.raises(StoreError, match=message):
        read(Store(store.address))


def test_a_result_takes_the_place_of_the_record_that_it_replaces(store):
    store.commit(record(by="first"))
    old = record_digest(store.find(KEY))
    assert store.commit(record(by="second"), replaces=old)
    assert store.find(KEY)["by"] == "second"
    (aside,) = store.entries("retired")
    assert json.loads((Path(store.address) / aside.path).read_text())["record"]["by"] == "first"


def test_a_result_that_somebody_else_has_replaced_already_stands(store):
    store.commit(record(by="first"))
    old = record_digest(store.find(KEY))
    assert Store(store.address).commit(record(by="second"), replaces=old)
    assert not store.commit(record(by="third"), replaces=old)
    assert store.find(KEY)["by"] == "second"


def test_a_result_to_be_replaced_that_is_gone_is_written_anew(store):
    assert store.commit(record(by="second"), replaces="0" * 64)
    assert store.find(KEY)["by"] == "second"


@pytest.mark.process
def test_there_is_no_moment_without_a_record_while_it_is_replaced(store):
    """Another process replaces the record again and again; this one always finds one."""
    store.commit(record(by=0))
    program = textwrap.dedent(f"""
        import sys
        from orchestrator import Store
        from orchestrator.store.store import record_digest
        store = Store(sys.argv[1])
        for number in range(1, 100):
            old = record_digest(store.find("{KEY}"))
            new = {{"key": "{KEY}", "outcome": "done", "by": number}}
            assert store.commit(new, replaces=old)
    """)
    running = subprocess.Popen([sys.executable, "-c", program, store.address])
    seen = 0
    while running.poll() is None:
        seen = max(seen, store.find(KEY)["by"])
    assert running.returncode == 0
    assert store.find(KEY)["by"] == 99
    assert seen > 0


def test_a_layer_takes_what_is_written_and_leaves_the_store_as_it_is(store):
    store.commit(record(by="below"))
    blob = store.put_blob(b"below")
    old = record_digest(store.find(KEY))
    layer = Store(store.layer("checks/x").address)  # as a worker opens it, by its address
    assert layer.find(KEY)["by"] == "below"
    assert layer.blob(blob) == b"below"
    above = layer.put_blob(b"above")
    assert layer.blob(above) == b"above"
    assert layer.commit(record(by="above"), replaces=old)
    assert layer.find(KEY)["by"] == "below"  # needs are read as the store has them
    assert Store(store.folder("checks/x")).find(KEY)["by"] == "above"
    assert [entry.path.rsplit("/", 1)[-1] for entry in store.entries("blobs")] == [blob]
    assert not list(store.entries("retired"))
    layer.leave_probe("p")
    assert (Store(layer.address).sees_probe("p"), store.sees_probe("p")) == (True, False)
    store.clear("checks/x")
    assert store.find(KEY)["by"] == "below"
    assert not list(store.entries("checks"))


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
