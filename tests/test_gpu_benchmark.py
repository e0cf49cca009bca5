"""`benchmarks/gpu.py` is written for a machine that is not there: here it runs small, on a CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import gpu  # noqa: E402


def figure(value, least=None, most=None):
    return {"name": "it", "value": value, "least": least, "most": most}


@pytest.mark.parametrize(
    ("line", "failed", "status", "told"),
    [
        (figure(1.0, least=0.95), [], 0, "it: 1 (bar 0.95)"),
        (figure(0.9, least=0.95), [], 1, "it: 0.9 (bar 0.95)   falls short"),
        (figure(float("nan"), least=0.95), [], 1, "it: nan (bar 0.95)   falls short"),
        (figure(float("inf"), least=0.95), [], 1, "it: inf (bar 0.95)   falls short"),
        (figure(1e-8, most=0), [], 1, "it: 1e-08 (bar at most 0)   falls short"),
        (figure(0, most=0), [], 0, "it: 0 (bar at most 0)"),
        (figure(12345.6), [], 0, "it: 1.235e+04 (no bar)"),
        (figure(1.0, least=0.95), ["many"], 1, "did not come to their end: many"),
    ],
)
def test_a_figure_below_its_bar_or_a_part_without_an_end_fails(line, failed, status, told, capsys):
    assert gpu.told([line], failed) == status
    assert told in capsys.readouterr().out.splitlines()


def test_a_part_that_is_not_there_is_an_error_with_those_that_are(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--parts", "sped"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "no part sped; there are networks, resume, speed" in capsys.readouterr().err


@pytest.mark.process
def test_a_part_that_fails_or_takes_too_long_costs_no_other(monkeypatch, tmp_path, capfd):
    """A shell stands for Python: one part ends badly, one not at all, and has a child."""
    shell = tmp_path / "python"
    shell.write_text(
        "#!/bin/sh\n"
        'case "$3" in\n'
        "  resume) exit 3;;\n"
        '  speed) sleep 60 & echo $! > "$0.child"; wait;;\n'
        "  *) echo $3 has run;;\n"
        "esac\n"
    )
    shell.chmod(0o755)
    monkeypatch.setattr(gpu, "sys", SimpleNamespace(executable=str(shell)))
    parts = ["resume", "speed", "memory", "many"]
    assert gpu.run_all(parts, 3, "cpu", tmp_path / "figures") == ["resume", "speed"]
    printed = capfd.readouterr().out
    assert "!! resume ended with 3" in printed
    assert "!! speed took too long" in printed
    assert "memory has run" in printed
    assert "many has run" in printed
    child = Path(f"{shell}.child").read_text().strip()
    assert not is_running(int(child))


def is_running(number: int) -> bool:
    try:
        status = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.long
@pytest.mark.process
def test_all_of_it_runs_on_a_cpu():
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "falls short" not in done.stdout
    for part in gpu.PARTS:
        assert f"-- {part}: " in done.stdout
