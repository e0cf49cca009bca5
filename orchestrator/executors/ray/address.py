"""Addresses of clusters, looked at before Ray is, which takes seconds to load, minutes to fail."""

from __future__ import annotations

import socket

from orchestrator.errors import ExecutorError

CONNECT_WITHIN = 5.0  # seconds to accept a connection
HINT = (
    "Is the cluster up (`ray status` on its head), is this machine part of it, "
    "and does RAY_AUTH_MODE agree?"
)


def check(address: str) -> None:
    """Raises ExecutorError where no driver can join there, or nobody listens."""
    if "://" in address:
        raise ExecutorError(
            f"{address}: the driver must run on the cluster; `spolia submit` has it run there "
            "(docs/running-on-a-cluster.md)"
        )
    if address == "auto":  # Ray finds it
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_WITHIN).close()
    except (OSError, ValueError) as error:
        raise ExecutorError(
            f"no Ray cluster answers at {address!r} ({error}). {HINT} "
            "An address is 'auto' or HOST:PORT"
        ) from error
