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
    stuck_since, said_last = time.monotonic(), -math.inf
    while not has_ended.wait(after / LOOKS):
        seen, now = look(), time.monotonic()
        if seen is None or not seen.is_stuck:
            stuck_since, said_last = now, -math.inf
        elif now - stuck_since >= after and now - said_last >= AGAIN * after:
            said_last = now
            say(in_words(seen, now - stuck_since))


def in_words(look: Look, seconds: float) -> str:
    """What nothing has started for."""
    asked = ", ".join(f"{count} for {what}" for what, count in look.waiting.items())
    free = "; ".join(look.free) or "nothing, since no node is there that could run a trial"
    return f"nothing has started for {duration(seconds)}. Waiting: {asked}. Free: {free}"
