"""A Ray that this process starts is what `pip install ray` gives: it runs trials, and has none of
the programs beside it that no test looks at.

Dashboard, monitors of logs and of load are Python programs of their own, and with their agents'
imports take half of what it costs to start Ray. A Ray that `spolia` starts as a program has all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _plain_ray_for_who_starts_one(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("_plain_ray")


@pytest.fixture(scope="session")
def _plain_ray() -> Iterator[None]:
    from orchestrator.executors.ray import cluster as of_ray  # Ray's variables come before Ray

    private = of_ray.ray._private
    starts_monitor = private.node.Node.start_monitor

    def start_monitor(self: Any) -> None:
        if self._ray_params.autoscaling_config:  # the autoscaler, where a test has one
            starts_monitor(self)

    missing = ImportError("left out in tests")  # of the extra `ray[default]`
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private.utils, "get_dashboard_dependency_error", lambda: missing)
        patch.setattr(private.services, "start_api_server", lambda *given, **named: (None, None))
        patch.setattr(private.node.Node, "start_log_monitor", lambda self: None)
        patch.setattr(private.node.Node, "start_monitor", start_monitor)
        yield
        of_ray.ray.shutdown()
