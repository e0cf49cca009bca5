"""What is said where nothing of a run starts."""

from __future__ import annotations

import threading

from orchestrator.executors.waiting import Look, Silence, in_words, telling_what_is_waited_for

STUCK = Look({"1 CPU and 1 GPU": 2}, num_placed=0, free=["a has 0 of 8 CPUs", "b has 4 of 4 CPUs"])


def test_it_is_said_what_is_asked_for_and_what_is_free():
    assert in_words(STUCK, 60.0) == (
        "nothing has started for 1 min 00 s. Waiting: 2 for 1 CPU and 1 GPU. "
        "Free: a has 0 of 8 CPUs; b has 4 of 4 CPUs"
    )


def said_of(looks, every=15.0):
    """When something is said, in seconds, while things look so one after another; a minute of
    nothing is told.
    """
    silence = Silence(60.0, now=0.0)
    times = [every * (place + 1) for place in range(len(looks))]
    told = [silence.what_to_say(*seen) for seen in zip(looks, times, strict=True)]
    return [now for now, words in zip(times, told, strict=True) if words]


def test_where_nothing_starts_it_is_said_after_a_minute_and_again_after_ten():
    assert said_of([STUCK] * 90) == [60.0, 660.0, 1260.0]


def test_where_something_runs_or_ends_nothing_is_said():
    assert said_of([Look(STUCK.waiting, 1, STUCK.free)] * 15) == []
    assert said_of([*[STUCK] * 3, Look({}, 0, ())] * 4) == []
    assert said_of([*[STUCK] * 3, None] * 4) == []
    assert said_of([*[STUCK] * 5, None, *[STUCK] * 5]) == [60.0, 150.0]


def test_a_thread_looks_until_the_block_ends():
    seen, said = threading.Semaphore(0), threading.Event()

    def look():
        seen.release()
        return STUCK

    with telling_what_is_waited_for(look, lambda words: said.set(), 0.02):
        assert said.wait(30)
        assert all(seen.acquire(timeout=30) for _ in range(3))
    while seen.acquire(blocking=False):
        pass
    assert not seen.acquire(timeout=0.1)
