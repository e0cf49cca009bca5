"""Says what a run waits for, where nothing of it has started for a while: a cluster that starts no
node, a share that nobody has free.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.spec.wording import duration

LOOKS = 4  # while nothing starts, before something is said
AGAIN = 10.0  # times as long until it is said again


@dataclass(frozen=True)
class Look:
    """How things stand: how many trials or lots wait for what, by what that is in words; how many
    have got what they asked for; what each node has free, in words.
    """

    waiting: Mapping[str, int]
    num_placed: int
    free: Sequence[str]

    @property
    def is_stuck(self) -> bool:
        """Whether something waits and nothing runs whose end could help."""
        return bool(self.waiting) and not self.num_placed


@contextlib.contextmanager
def telling_what_is_waited_for(
    look: Callable[[], Look | None], say: Callable[[str], None], after: float
) -> Iterator[None]:
    """While it lasts, look how things stand and `say` so when nothing has started for `after`
    seconds, and again much later. A look that is None tells nothing.
    """
    has_ended = threading.Event()
    # In a thread: whoever drives the executor waits, too, and is not asked meanwhile.
    thread = threading.Thread(target=_watch, args=(look, say, after, has_ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def _watch(
    look: Callable[[], Look | None],
    say: Callable[[str], None],
    after: float,
    has_ended: threading.Event,
) -> None:
    silence = Silence(after, time.monotonic())
    while not has_ended.wait(after / LOOKS):
        told = silence.what_to_say(look(), time.monotonic())
        if told:
            say(told)


class Silence:
    """How long nothing has started: `after` seconds of it are told, and again after `AGAIN` times
    as many. `now` is in seconds of any one clock.
    """

    def __init__(self, after: float, now: float) -> None:
        self._after = after
        self._stuck_since, self._said_last = now, -math.inf

    def what_to_say(self, seen: Look | None, now: float) -> str | None:
        """What is to be said of how things stand now, if anything."""
        if seen is None or not seen.is_stuck:
            self._stuck_since, self._said_last = now, -math.inf
            return None
        has_lasted = now - self._stuck_since >= self._after
        if not has_lasted or now - self._said_last < AGAIN * self._after:
            return None
        self._said_last = now
        return in_words(seen, now - self._stuck_since)


def in_words(look: Look, seconds: float) -> str:
    """What nothing has started for."""
    asked = ", ".join(f"{count} for {what}" for what, count in look.waiting.items())
    free = "; ".join(look.free) or "nothing, since no node is there that could run a trial"
    return f"nothing has started for {duration(seconds)}. Waiting: {asked}. Free: {free}"
