"""A private Ray that dies takes no run with it."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from orchestrator import Store

pytestmark = [pytest.mark.ray, pytest.mark.faults]


@pytest.mark.parametrize(
    ("victim", "what"),
    [
        ("raylet/raylet", "its raylet died"),
        pytest.param("gcs_server", "its head service died", marks=pytest.mark.long),
    ],
)
def test_it_is_started_again_and_the_run_goes_on(sweep_file, tmp_path, victim, what):
    file = sweep_file("product(Count.grid(nap=1.0), seed=range(5))", 5)
    home = tmp_path / "home"
    program = [sys.executable, "-m", "orchestrator.cli", "run", str(file), "--home", str(home)]
    program += ["--tracking", "none", "--slots", "1"]
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    store = Store(home / "store")
    deadline = time.monotonic() + 400
    while not list(store.finished()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    (one,) = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if victim in " ".join(child.cmdline()[:1])
    ]
    one.kill()
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out
    said = f"Ray is gone ({what}) and is started again. What Ray says of it is in {home}/ray.log"
    assert (out.count("Ray is gone"), said in out) == (1, True), out
    assert "5 of 5 done" in out
    # Its own words, tracebacks and dumps of its state are there and nowhere else.
    assert what in (home / "ray.log").read_text()
    assert not [word for word in ("Traceback", "(raylet)", "[state-dump]") if word in out], out
