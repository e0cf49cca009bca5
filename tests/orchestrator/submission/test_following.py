"""Following a job over a connection that comes and goes."""

from __future__ import annotations

import itertools
import time

import pytest

from orchestrator.errors import InputError, UnreachableError
from orchestrator.submission import following
from orchestrator.submission.following import follow
from orchestrator.submission.head import Job
from orchestrator.submission.submit import how_it_failed

LOST = UnreachableError("Connection refused")


class Pretended:
    """A head that answers in turn: how a job stands and what it has printed, or an error."""

    def __init__(self, *answers):
        self._answers = iter(answers)

    def job(self, job):
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        self._log = answer[1]
        return a_job(answer[0])

    def log(self, job):
        return self._log


def a_job(status, exit_code=None, message=""):
    return Job("asked-1", status, exit_code, message, 0.0, {})


@pytest.fixture
def followed(monkeypatch):
    """`followed(*answers)`: how it ended, what was written, what was said, how long the pauses."""

    def call(*answers):
        written, said, pauses = [], [], []
        monkeypatch.setattr(time, "sleep", pauses.append)
        ended = follow(Pretended(*answers), "asked-1", written.append, said.append)
        return ended, written, said, pauses

    return call


def test_what_is_printed_is_written_once_and_to_the_end(followed):
    ended, written, said, _ = followed(
        ("PENDING", ""), ("RUNNING", "one\n"), ("RUNNING", "one\n"), ("SUCCEEDED", "one\ntwo\n")
    )
    assert (ended.status, written, said) == ("SUCCEEDED", ["one\n", "two\n"], [])


def test_a_lost_connection_is_looked_for_with_growing_pauses_and_told_once(followed):
    _, written, said, pauses = followed(
        ("RUNNING", "one\n"), *[LOST] * 8, ("RUNNING", "one\ntwo\n"), LOST, ("FAILED", "one\ntwo\n")
    )
    assert written == ["one\n", "two\n"]
    lost, found, *again = said
    assert lost.startswith("The connection is lost: Connection refused. The job goes on; ")
    assert found == "Connected again."
    assert again == [lost, found]
    assert pauses == [1, 1, 2, 4, 8, 16, 32, 60, 60, 1, 1]


def test_after_a_night_without_a_connection_it_is_given_up(monkeypatch, followed):
    clock = itertools.count(0.0, 3600.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with pytest.raises(UnreachableError, match="Connection refused"):
        followed(*[LOST] * 50)


def test_a_job_that_the_head_does_not_know_is_not_waited_for(followed):
    with pytest.raises(InputError, match="no job"):
        followed(("RUNNING", "one\n"), InputError("no job 'asked-1'"))


def test_a_silent_job_and_one_with_a_long_log_are_looked_at_less_often(followed, monkeypatch):
    *_, silent = followed(*[("RUNNING", "")] * 6, ("SUCCEEDED", ""))
    assert silent == [1.5, 2.25, 3.375, 5.0, 5.0, 5.0]
    monkeypatch.setattr(following, "BYTES_A_SECOND", 10)
    *_, long = followed(("RUNNING", "x" * 200), ("SUCCEEDED", "x" * 200))
    assert long == [20.0]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (a_job("SUCCEEDED", 0), ""),
        (a_job("FAILED", 2, "error: ..."), ""),
        (a_job("STOPPED"), "asked-1 was stopped. What is done is kept; the same command goes on"),
        (a_job("FAILED", 127), "asked-1: the head knows no program `spolia`."),
        (a_job("FAILED", -9), "asked-1 was killed there (signal 9)."),
        (a_job("FAILED", None, "runtime_env setup failed: no space"), "asked-1 did not run: runt"),
        (a_job("FAILED"), "asked-1 did not run: Ray does not say why"),
    ],
)
def test_a_job_that_ended_otherwise_than_spolia_does_says_how(job, words):
    told = how_it_failed(job)
    assert told.startswith(words)
    assert bool(told) == bool(words)
