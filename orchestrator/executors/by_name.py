"""Executors by their names on the command line."""

from __future__ import annotations

from orchestrator.errors import InputError, nearest
from orchestrator.executors.executor import Executor

NAMES = ("inline", "ray")


def executor(name: str) -> Executor:
    """An executor by name; the heavy import happens here and not before."""
    # No import at the top: planning needs none of it.
    if name == "inline":
        from orchestrator.executors.inline import Inline

        return Inline()
    if name == "ray":
        from orchestrator.executors.ray.driver import RayTune

        return RayTune()
    raise InputError(f"no executor is called {name!r}. {nearest(name, NAMES)}")
