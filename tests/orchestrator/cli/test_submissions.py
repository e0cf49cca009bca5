"""`spolia submit` as one types it: what it hands on, what it says, how it ends."""

from __future__ import annotations

import sys

import pytest

from orchestrator.submission import following
from orchestrator.submission import head as heads
from orchestrator.submission.head import Job

ADDRESS = ("--address", "http://head:8265")


class Pretended:
    """A head where a job ends as it was told, and which remembers what was handed in."""

    handed_in: list
    end: tuple

    def __init__(self, address):
        self.address = address

    def jobs(self):
        return []

    def hand_in(self, job, command, package, about, variables):
        self.handed_in.append((command, variables))

    def job(self, job):
        return Job(job, *self.end, "", 0.0, {})

    def log(self, job):
        return "what it prints\n"


@pytest.fixture
def head(monkeypatch):
    """`head(status, exit_code)`: where commands hand in; returns what was handed in."""
    monkeypatch.setattr(heads, "Head", Pretended)

    def ends(status="SUCCEEDED", exit_code=0):
        Pretended.handed_in, Pretended.end = [], (status, exit_code)
        return Pretended.handed_in

    return ends


def test_a_sweep_is_handed_in_with_the_options_of_a_run(spolia, sweep_file, head):
    handed_in = head()
    sweep_file("product(Count.grid(), seed=range(2))", 2)
    options = ("--only", "seed=0", "--limit", "1", "--stale", "keep", "--retry", "diverged")
    more = ("--retry", "infeasible", "--slots", "2", "--checkpoint-every", "5")
    code, out, err = spolia(
        "submit", "asked.py", *ADDRESS, "--store", "/nowhere/s", *options, *more
    )
    assert (code, out) == (0, "what it prints\n"), err
    note, _, told = err.partition("\n")
    assert note.startswith("/nowhere/s is a folder that this machine does not have")
    assert told.startswith("asked-")
    where = " is handed in at http://head:8265: asked.py, sample_methods.py (2 files, "
    assert where in told
    ((command, variables),) = handed_in
    assert command.startswith(
        "spolia run sweep-file/asked.py --only seed=0 --limit 1 --stale keep "
        "--retry diverged --retry infeasible --slots 2 --checkpoint-every 5.0 --address auto "
        "--store /nowhere/s --home"
    )
    assert variables["COLUMNS"] == "80"


def test_a_smoke_run_is_handed_in_as_run_takes_it(spolia, sweep_file, head):
    """`spolia run` refuses an address beside --smoke, and what chooses among results."""
    handed_in = head()
    sweep_file("product(Count.grid(), seed=range(2))", 2)
    where = (*ADDRESS, "--store", "/nowhere/s", "--smoke")
    code, _, err = spolia("submit", "asked.py", *where, "--limit", "1")
    assert (code, handed_in) == (2, [])
    assert "--smoke goes without --limit: a smoke run is of every setting" in " ".join(err.split())
    code, _, err = spolia("submit", "asked.py", *where)
    assert code == 0, err
    ((command, _),) = handed_in
    assert command.startswith("spolia run sweep-file/asked.py --smoke --store /nowhere/s --home")


def test_who_interrupts_is_told_how_to_follow_again_and_how_to_stop(spolia, head, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    head()
    monkeypatch.setattr(following, "follow", interrupted)
    code, _, err = spolia("submit", "--follow", "asked-1", *ADDRESS)
    assert code == 130
    command = "spolia submit --address http://head:8265"
    assert err == (
        f"\nasked-1 goes on without you. Follow it again: {command} --follow asked-1. "
        f"Stop it: {command} --stop asked-1.\n"
    )


@pytest.mark.parametrize(
    ("ended", "status", "words"),
    [
        (("SUCCEEDED", 0), 0, ""),
        (("FAILED", 1), 1, ""),
        (("FAILED", 2), 2, ""),
        (("FAILED", 3), 3, ""),
        (("FAILED", 130), 130, ""),
        (("STOPPED", None), 130, "asked-1 was stopped"),
        (("FAILED", 127), 1, "the head knows no program `spolia`"),
        (("FAILED", -9), 1, "was killed there (signal 9)"),
        (("FAILED", None), 1, "did not run"),
    ],
)
def test_the_jobs_end_is_the_commands(spolia, head, ended, status, words):
    head(*ended)
    code, out, err = spolia("submit", "--follow", "asked-1", *ADDRESS)
    assert (code, out) == (status, "what it prints\n")
    assert words in err
    assert bool(err) == bool(words)


def test_a_job_that_has_ended_is_not_stopped(spolia, head):
    head("FAILED", 1)
    code, out, err = spolia("submit", "--stop", "asked-1", *ADDRESS)
    assert (code, out, err) == (0, "", "asked-1 had ended already (failed).\n")


@pytest.mark.parametrize(
    "words", [(), ("asked.py", "--stop", "a"), ("--follow", "a", "--stop", "a")]
)
def test_it_takes_one_of_three(spolia, words):
    code, _, err = spolia("submit", *words)
    assert code == 2
    assert err == (
        "error: spolia submit takes one of three: a sweep file, --follow ID or --stop ID\n"
    )


def test_without_rays_job_interface_it_says_what_to_install(spolia, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    code, _, err = spolia("submit", "asked.py", *ADDRESS)
    assert code == 2
    assert err == (
        "error: spolia submit needs Ray's job interface, which is not installed: "
        "pip install 'spolia[submit]'\n"
    )


def test_a_folder_of_this_machine_is_no_store_for_the_head(spolia, sweep_file, head):
    handed_in = head()
    sweep_file("product(Count.grid(), seed=range(2))", 2)
    code, _, err = spolia("submit", "asked.py", *ADDRESS)
    assert (code, handed_in) == (2, [])
    assert err == (
        "error: the head cannot use these places:\n"
        "  - the store: it would be a folder on this machine, which the head does not see. "
        'Name one that both see, store = "s3://BUCKET/spolia" in spolia.toml (or --store), or '
        "the path from the root of a shared folder\n"
    )
