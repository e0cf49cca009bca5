"""What a record says was found, apart from when, where and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.spec.canonical import digest


def content(record: Mapping[str, Any]) -> dict[str, Any]:
    """The findings of a record: key, outcome, components, matrices, and the metrics that are not
    measured with a clock.
    """
    findings = {name: record[name] for name in ("key", "outcome", "components", "matrices")}
    # A clock differs each time, and says nothing about what was computed.
    findings["metrics"] = [metric for metric in record["metrics"] if not metric.get("timing")]
    return findings


def content_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record's findings: two runs that computed the same bits have the same digest."""
    return digest(content(record))
