"""Following a job from afar: what it prints, from its beginning or from where we were, until it has
ended. A connection that is lost is looked for again; the job does not need it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import tenacity

from orchestrator.errors import UnreachableError
from orchestrator.submission.head import Job

OFTEN, SELDOM = 1.0, 5.0  # seconds between two looks: while it prints, and while it is silent
LONGEST = 60.0  # seconds between two attempts to reach the head
PATIENCE = 12 * 3600.0  # seconds without a connection until we give up: a night
BYTES_A_SECOND = 100_000  # the log comes whole, so a long one is looked at less often

Write = Callable[[str], None]
Answer = TypeVar("Answer")


class Followed(Protocol):
    """What is asked of a head."""

    def job(self, job: str) -> Job: ...

    def log(self, job: str) -> str: ...


def follow(head: Followed, job: str, write: Write, say: Write) -> Job:
    """Write what a job prints until it has ended, and say when the connection is lost and found.

    Raises InputError where the head has no such job, UnreachableError where it did not answer for a
    night.
    """
    written = 0
    pause = OFTEN
    while True:
        # In this order: what is printed before it ends is in the log by then.
        now, log = _patiently(lambda: (head.job(job), head.log(job)), say)
        if len(log) > written:
            write(log[written:])
            written, pause = len(log), OFTEN
        else:
            pause = min(pause * 1.5, SELDOM)
        if now.has_ended:
            return now
        time.sleep(max(pause, len(log) / BYTES_A_SECOND))


def _patiently(ask: Callable[[], Answer], say: Write) -> Answer:
    """An answer of the head, asked for again with growing pauses while nobody answers."""

    def lost(state: tenacity.RetryCallState) -> None:
        # Once: whether it was a tunnel or the lid of a laptop, it may take hours.
        if state.attempt_number == 1 and state.outcome is not None:
            say(
                f"The connection is lost: {state.outcome.exception()}. The job goes on; trying "
                "again and again, at most a minute apart. Ctrl-C ends following."
            )

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(UnreachableError),
        wait=tenacity.wait_exponential(multiplier=OFTEN, max=LONGEST),
        stop=tenacity.stop_after_delay(PATIENCE),
        before_sleep=lost,
        reraise=True,
    )
    answer = attempts(ask)
    if attempts.statistics.get("attempt_number", 1) > 1:
        say("Connected again.")
    return answer
