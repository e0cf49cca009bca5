"""A Ray that this process starts is what `pip install ray` gives: it runs trials, and has none of
the programs beside it that no test looks at.

Dashboard, monitors of logs and of load are Python programs of their own, and with their agents'
imports take half of what it costs to start Ray. A Ray that `spolia` starts as a program has all.

Each raylet wants two agents, and ends where one of them does. The one that would answer the
dashboard is `AGENT`; the other prepares the environments of workers, which Tune asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

# Says, as the agent does that has no server, that it listens nowhere, and lives as long as its
# raylet. A shell takes no time to start; Python with the agent's imports takes two seconds.
AGENT = """
for said; do
    case $said in
    --session-dir=*) folder=${said#*=} ;;
    --node-id=*) node=${said#*=} ;;
    esac
done
for name in metrics_agent metrics_export dashboard_agent_listen; do
    printf %s -1 > "$folder/new_${name}_$node"  # a port's file appears whole
    mv "$folder/new_${name}_$node" "$folder/${name}_port_$node"
done
while kill -0 $PPID; do sleep 1; done 2> /dev/null
"""


@pytest.fixture(autouse=True)
def _plain_ray_for_who_starts_one(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("ray"):
        request.getfixturevalue("_plain_ray")


@pytest.fixture(scope="session")
def _plain_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from orchestrator.executors.ray import cluster as of_ray  # Ray's variables come before Ray

    private = of_ray.ray._private
    starts_monitor = private.node.Node.start_monitor

    def start_monitor(self: Any) -> None:
        if self._ray_params.autoscaling_config:  # the autoscaler, where a test has one
            starts_monitor(self)

    agent = tmp_path_factory.mktemp("ray") / "agent.sh"
    agent.write_text(AGENT)
    program_of = private.services._build_python_executable_command_memory_profileable

    def program(component: str, *given: Any, **named: Any) -> list[str]:
        if component == "dashboard_agent":
            return ["/bin/sh", str(agent)]
        return program_of(component, *given, **named)  # type: ignore[no-any-return]

    missing = ImportError("left out in tests")  # of the extra `ray[default]`
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private.utils, "get_dashboard_dependency_error", lambda: missing)
        patch.setattr(private.services, "start_api_server", lambda *given, **named: (None, None))
        patch.setattr(
            private.services, "_build_python_executable_command_memory_profileable", program
        )
        patch.setattr(private.node.Node, "start_log_monitor", lambda self: None)
        patch.setattr(private.node.Node, "start_monitor", start_monitor)
        yield
        of_ray.ray.shutdown()
