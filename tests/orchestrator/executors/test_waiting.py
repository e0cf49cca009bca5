"""What is said where nothing of a run starts."""

from __future__ import annotations

import threading

from orchestrator.executors.waiting import Look, in_words, telling_what_is_waited_for

STUCK = Look({"1 CPU and 1 GPU": 2}, num_placed=0, free=["a has 0 of 8 CPUs", "b has 4 of 4 CPUs"])


def test_it_is_said_what_is_asked_for_and_what_is_free():
    assert in_words(STUCK, 60.0) == (
        "nothing has started for 1 min 00 s. Waiting: 2 for 1 CPU and 1 GPU. "
        "Free: a has 0 of 8 CPUs; b has 4 of 4 CPUs"
    )


def said_of(looks):
    """What is said while things look so, one after another; the last look ends it."""
    said, seen, at_the_end = [], iter(looks), threading.Event()

    def look():
        now = next(seen, None)
        if now is None:
            at_the_end.set()
        return now

    with telling_what_is_waited_for(look, said.append, 0.02):
        assert at_the_end.wait(30)
    return said


def test_where_nothing_starts_it_is_said_once_for_a_while():
    assert len(said_of([STUCK] * 15)) == 1


def test_where_something_runs_nothing_is_said():
    assert said_of([Look(STUCK.waiting, 1, STUCK.free)] * 15) == []
    assert said_of([STUCK, Look({}, 0, ()), STUCK, Look({}, 0, ())] * 4) == []
