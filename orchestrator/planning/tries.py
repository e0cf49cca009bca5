"""What is known of tries that left no result: how often a trial's worker went away, and which
methods break again and again in the same way.
"""

from __future__ import annotations

import re
from collections import Counter

from orchestrator.training.attempts import Broken, Cramped, Gone, Unfit, Worker

WORKER_TRIES = 3  # tries of a trial whose worker goes away
NODE_TRIES = 10  # tries of a trial whose machine goes away: spot machines are taken back often
PROCESS_TRIES = 2  # tries on one machine of a trial in whose process the GPU stops working
ALIKE = 5  # failures of one method in one way after which the rest of it waits

# What differs between two exceptions that are one: numbers, addresses, keys.
_VARYING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{12,}\b|\d+(\.\d+)?")


class Tries:
    """Counts tries. `alike` equal failures of one method on at least `num_workers` workers are
    taken for a fault of the method.
    """

    def __init__(self, alike: int = ALIKE, num_workers: int = 2) -> None:
        self._alike, self._num_workers = alike, num_workers
        self._gone: Counter[tuple[str, bool]] = Counter()
        self._unfit: dict[str, set[Worker]] = {}  # by key of the trial
        self._broken: dict[tuple[str, str], list[str]] = {}  # names of workers, by method and error

    def gone(self, attempt: Gone) -> str:
        """Why the trial is given up, or an empty string where it is to be tried again."""
        self._gone[attempt.key, attempt.is_node] += 1
        count = self._gone[attempt.key, attempt.is_node]
        limit, what = (NODE_TRIES, "machine") if attempt.is_node else (WORKER_TRIES, "worker")
        return f"its {what} went away {count} times: {attempt.why}" if count >= limit else ""

    def is_suspect(self, key: str) -> bool:
        """Whether so many machines went away with a trial that it may be its own doing."""
        return self._gone[key, True] >= WORKER_TRIES

    def unfit(self, attempt: Unfit) -> Counter[str]:
        """How many processes the trial has stopped working, or found without its data, by the
        machines that they were on.
        """
        workers = self._unfit.setdefault(attempt.key, set())
        workers.add(attempt.worker)
        return Counter(worker.node for worker in workers)

    def broken(self, attempt: Broken | Cramped, method: str) -> bool:
        """Whether trials of this method are known to break in this way."""
        error = _VARYING.sub("#", attempt.outcome.reason.partition("\n")[0])
        if isinstance(attempt, Cramped):
            error = "no GPU memory"  # which is told with amounts in units that vary
        workers = self._broken.setdefault((method, error), [])
        workers.append(attempt.worker.name)
        return len(workers) >= self._alike and len(set(workers)) >= self._num_workers
