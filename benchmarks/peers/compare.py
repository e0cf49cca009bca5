"""One job with three tools, run for real: 12 settings x 3 seeds on digits, whose driver is killed
(SIGKILL) when a third of it is done; the same command again; a seed added; the best setting.

* tune: plain Ray Tune, `Tuner.restore`, MLflow's callback on SQLite.
* optuna: Optuna's grid sampler on SQLite with heartbeats, two processes. Both are killed.
* spolia: a sweep file and a method.

Each has two slots. The trainings are the same small ones (`science.py`), and write down when they
begin and end. What is counted: lines of code; trainings that were done before the kill and ran
again, that the kill cut short, that ran in all; cells without a result after the second command,
and with several; how the rows of the tool's own records stand; processes that the kill left running
20 seconds later.

    python -m pip install -r benchmarks/peers/requirements.txt
    python benchmarks/peers/compare.py
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
SETTINGS, SEEDS = 12, (0, 1, 2)
LEFT_OVER = 20.0  # seconds after which a process still lives that belonged to a killed driver
LIMIT = 900.0  # seconds for one step
OWN_PART = "# The rest is what the peers need"


@dataclass
class Peer:
    """A tool, how it is started for some seeds, and in which files its lines are."""

    name: str
    num_drivers: int
    files: tuple[str, ...]
    folder: Path = field(default_factory=Path)

    def command(self, seeds: tuple[int, ...]) -> list[str]:
        if self.name == "spolia":
            home = ["--home", str(self.folder), "--slots", "2"]
            sweep = str(HERE / "with_spolia.py")
            return [sys.executable, "-m", "orchestrator.cli", "run", sweep, *home]
        program = str(HERE / f"with_{self.name}.py")
        return [sys.executable, program, str(self.folder), *map(str, seeds)]

    @property
    def trace(self) -> Path:
        return self.folder / "trace.txt"

    def start(self, seeds: tuple[int, ...]) -> list[subprocess.Popen[str]]:
        environment = {
            **os.environ,
            "PEERS_TRACE": str(self.trace),
            "PEERS_SEEDS": " ".join(map(str, seeds)),
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]),
            "SPOLIA_PACKAGES": "pairs",
            "COLUMNS": "100",
            "OMP_NUM_THREADS": "1",
        }
        return [
            subprocess.Popen(
                self.command(seeds),
                cwd=HERE,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            for _ in range(self.num_drivers)
        ]

    def lines(self) -> list[list[str]]:
        text = self.trace.read_text() if self.trace.exists() else ""
        return [line.split() for line in text.splitlines()]


PEERS = (
    Peer("tune", 1, ("with_tune.py",)),
    Peer("optuna", 2, ("with_optuna.py",)),
    Peer("spolia", 1, ("with_spolia.py",)),
)


def code_lines(text: str) -> int:
    """Lines with code: no blanks, comments and docstrings."""
    found: set[int] = set()
    before = tokenize.NEWLINE
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_docstring = token.type == tokenize.STRING and before in skipped
        if token.type not in skipped and token.type != tokenize.ENDMARKER and not is_docstring:
            found |= set(range(token.start[0], token.end[0] + 1))
        if token.type != tokenize.NL:
            before = token.type
    return len(found)


def to_the_end(peer: Peer, seeds: tuple[int, ...]) -> tuple[float, str]:
    """Seconds of a command, and what it printed last."""
    began = time.monotonic()
    texts = [driver.communicate(timeout=LIMIT)[0] for driver in peer.start(seeds)]
    return time.monotonic() - began, texts[-1]


def killed(peer: Peer, after: int) -> tuple[float, int]:
    """Start the job and kill its drivers when so many trainings have ended; when that was, and how
    many processes were left.
    """
    drivers = peer.start(SEEDS)
    deadline = time.monotonic() + LIMIT
    while sum(line[0] == "end" for line in peer.lines()) < after:
        if time.monotonic() > deadline or any(driver.poll() is not None for driver in drivers):
            raise SystemExit(f"{peer.name} did not get so far: {drivers[0].communicate()[0]}")
        time.sleep(0.05)
    below = [one for d in drivers for one in psutil.Process(d.pid).children(recursive=True)]
    moment = time.time()
    for driver in drivers:
        os.kill(driver.pid, signal.SIGKILL)
    for driver in drivers:
        driver.wait()
    _, left = psutil.wait_procs(below, LEFT_OVER)
    for one in left:  # ours, each by its own id
        one.kill()
    psutil.wait_procs(left, 10)
    return moment, len(left)


def cells(peer: Peer) -> Counter[tuple[str, ...]]:
    """How many results the tool's own records have of each cell."""
    if peer.name == "spolia":
        from orchestrator import Session

        trials = Session(HERE / "with_spolia.py", home=peer.folder).trials({"role": "cell"})
        return Counter((row.key,) for row in trials if row.state == "done")
    if peer.name == "tune":
        database = "mlflow.db"
        query = (
            "select run_uuid, key, value from params join runs using (run_uuid) "
            "where status = 'FINISHED' and key in ('recipe', 'split', 'seed') order by key"
        )
    else:
        database = "optuna.db"
        query = (
            "select trial_id, param_name, param_value from trial_params join trials "
            "using (trial_id) where state = 'COMPLETE' order by param_name"
        )
    by_trial: dict[object, list[str]] = {}
    for trial, _, value in sqlite3.connect(peer.folder / database).execute(query):
        by_trial.setdefault(trial, []).append(str(value))
    return Counter(tuple(values) for values in by_trial.values())


def states(peer: Peer) -> str:
    """How the rows of the tool's own records say that they stand."""
    database, table, column = ("mlflow.db", "runs", "status")
    if peer.name == "optuna":
        database, table, column = ("optuna.db", "trials", "state")
    query = f"select {column}, count(*) from {table} group by {column} order by 2 desc"
    rows = sqlite3.connect(peer.folder / database).execute(query).fetchall()
    return ", ".join(f"{count} {state}" for state, count in rows)


def best(peer: Peer, printed: str) -> str:
    """The best setting, as the tool's own last lines say it."""
    if peer.name == "spolia":
        starred = [line for line in printed.splitlines() if "*" in line and "±" in line]
        return starred[0].strip() if starred else "?"
    lines = printed.splitlines()
    head = max(i for i, line in enumerate(lines) if "split" in line and "recipe" in line)
    return " ".join(lines[head + 1].split())


def report(peer: Peer, folder: Path) -> dict[str, str]:
    peer.folder = folder / peer.name
    peer.folder.mkdir()
    moment, num_left = killed(peer, after=6 if peer.name == "spolia" else 12)
    before = peer.lines()
    ended = {tuple(line[1:4]) for line in before if line[0] == "end" and float(line[4]) <= moment}
    begun = [tuple(line[1:4]) for line in before if line[0] == "begin"]
    second, _ = to_the_end(peer, SEEDS)
    lines, found, stood = peer.lines(), cells(peer), states(peer)
    again = [tuple(line[1:4]) for line in lines if line[0] == "begin" and float(line[4]) > moment]
    seeds = (3,) if peer.name != "spolia" else (*SEEDS, 3)
    third, printed = to_the_end(peer, seeds)
    added = [line for line in peer.lines()[len(lines) :] if line[0] == "begin"]
    num_begun = sum(line[0] == "begin" for line in lines)
    return {
        "lines that run the job": str(sum(code_lines((HERE / f).read_text()) for f in peer.files)),
        "trainings done before the kill": str(len(ended)),
        "of these trained again": str(len(ended & set(again))),
        "trainings that the kill cut short": str(len(set(begun) - ended)),
        "trainings begun for 36 cells, in all": str(num_begun),
        "cells without a result afterwards": str(SETTINGS * len(SEEDS) - len(found)),
        "cells with more than one result": str(sum(count > 1 for count in found.values())),
        "the tool's own records": stood,
        "processes left by the kill": str(num_left),
        "the same command again": f"{second:.0f} s",
        "a seed added": f"{len(added)} trainings, {third:.0f} s",
        "best": best(peer, printed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", default="tune,optuna,spolia")
    chosen = parser.parse_args().peers.split(",")
    science = (HERE / "science.py").read_text().partition(OWN_PART)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(f"The experiment itself: {code_lines(science[2])} lines for the peers,", end=" ")
    print(f"{code_lines((HERE / 'pairs.py').read_text())} as a method of Spolia.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for peer in PEERS:
            if peer.name in chosen:
                print(f"\n{peer.name}")
                for what, value in report(peer, Path(folder)).items():
                    print(f"  {what:40} {value}", flush=True)


if __name__ == "__main__":
    main()
