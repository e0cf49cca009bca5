"""What a record says was found, apart from when, where and how fast it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.spec.canonical import digest


def content_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of what a trial found, without when, where and how fast: two runs that computed the
    same bits have one.
    """
    metrics = [m for m in record["metrics"] if not m.get("timing")]
    return digest(
        {**{k: record[k] for k in ("key", "outcome", "components", "matrices")}, "metrics": metrics}
    )
