"""The real commands on a cluster: the doctor looks at it, and a driver that is killed leaves nobody
behind who computes on for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.faults]
PATIENCE = 300.0  # seconds


def waited_for(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_so()


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_cluster_is_joined_by_its_address_and_workers_of_a_killed_driver_are_gone(
    raylets, spolia, sweep_file, tmp_path
):
    """Its raylets do not end with the driver. The workers stop behind a checkpoint."""
    cluster, _ = raylets(1, join=False)
    notes, home = tmp_path / "notes", tmp_path / "home"
    code, out, _ = spolia("doctor", "--home", home, "--address", cluster.address)
    assert (code, out.count("sees the store")) == (0, 1), out
    notes.mkdir()
    # Of ten minutes, and without a checkpoint of its own accord
    epochs = f"Epochs.grid(epochs=600, nap=1.0, folder={str(notes)!r})"
    file = sweep_file(f"product({epochs}, seed=0)")
    program = [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--home", str(home)]
    program += ["--tracking", "none", "--address", cluster.address, "--slots", "1"]
    program += ["--checkpoint-every", "3600"]
    with open(tmp_path / "out.txt", "wb") as out:
        driver = subprocess.Popen(program, stdout=out, stderr=out, start_new_session=True)
    try:
        assert waited_for(lambda: list(notes.iterdir())), (tmp_path / "out.txt").read_text()
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    (worker,) = {int(note.name.rpartition("-")[2]) for note in notes.iterdir()}
    assert waited_for(lambda: not lives(worker))
    assert [file for file in (home / "scratch").rglob("*") if file.is_file()]
    assert len(list(notes.iterdir())) < 100
