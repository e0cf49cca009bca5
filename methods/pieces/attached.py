"""A part of a network that cannot compute without the frozen network it is about."""

from __future__ import annotations

from orchestrator import PartWithBase as Attached

__all__ = ["Attached"]
