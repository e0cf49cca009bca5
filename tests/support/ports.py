"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import random
import socket

# Below those that the kernel hands out (from 32768 on Linux): beside other tests, hundreds of
# sockets of Ray's take one of those in the time between this and the server's start.
RANGE = range(20_000, 30_000)


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on."""
    found: list[int] = []
    for port in random.SystemRandom().sample(RANGE, len(RANGE)):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports from {RANGE.start} to {RANGE.stop}")


def free_port() -> int:
    return free_ports(1)[0]
