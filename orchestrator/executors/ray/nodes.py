"""The nodes of the Ray that this process is connected to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import yaml  # type: ignore[import-untyped]  # comes with Ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.errors import ExecutorError
from orchestrator.executors.handshake import Greeting, greet
from orchestrator.executors.placement import Node, Placement, in_words
from orchestrator.executors.waiting import Look

ANSWER_WITHIN = 60.0  # seconds for every node to answer the handshake
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")  # on the head of a cluster that `ray up` started
KINDS = ("CPU", "GPU")  # of a node's resources


def alive() -> list[dict[str, Any]]:
    """What Ray says of each node."""
    return [node for node in ray.nodes() if node["Alive"]]


def ids(placement: Placement) -> list[str]:
    """Ids of the nodes that can take work of this placement, once they have nothing else to do."""
    return [node["NodeID"] for node in alive() if _as_node(node).room_for(placement)]


def there() -> list[Node]:
    """The nodes that are up."""
    return [_as_node(node) for node in alive()]


def _as_node(said: Mapping[str, Any]) -> Node:
    return _node(said["NodeManagerHostname"], said["Resources"])


def types() -> list[Node]:
    """The kinds of machines that a cluster starts when it is asked, where it says so: as its
    provider has told Ray, or in what `ray up` leaves on the head, which the autoscaler reads, too.
    """
    config = ray._private.state.state.get_cluster_config()
    groups = [] if config is None else config.node_group_configs
    told = [(group.name or "node", dict(group.resources), group.max_count) for group in groups]
    if not told and BOOTSTRAP.expanduser().is_file():
        written = yaml.safe_load(BOOTSTRAP.expanduser().read_text())
        kinds = written.get("available_node_types", {})
        told = [(n, t.get("resources", {}), t.get("max_workers", 0)) for n, t in kinds.items()]
    return [
        replace(_node(f"{name}, a node type", resources), up=0)
        for name, resources, count in told
        if count  # none of the head's
    ]


def _node(name: str, resources: Mapping[str, float]) -> Node:
    cpus, gpus = (float(resources.get(kind, 0)) for kind in KINDS)
    return Node(name, cpus, gpus)


def greetings(
    store: str, probe: str, classes: Sequence[str], variables: Mapping[str, str]
) -> list[Greeting]:
    """What every node of the cluster says of itself; all are asked at once. Raises ExecutorError
    that names a node that does not answer.
    """
    pending = []
    for node in alive():
        on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        # No CPU is asked for: a cluster that is busy still answers. One call a process: this one
        # has looked at all GPUs, and a worker made of it would go on seeing them.
        remote = ray.remote(num_cpus=0, scheduling_strategy=on_node, max_retries=0, max_calls=1)(
            greet
        )
        pending.append((node, remote.remote(store, probe, list(classes), variables)))
    answers = []
    for node, answer in pending:
        try:
            answers.append(ray.get(answer, timeout=ANSWER_WITHIN))
        except RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            name = f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
            raise ExecutorError(f"node {name} cannot take part: {lines[-1]}") from error
    return answers


def look() -> Look | None:
    """How things stand with what Tune has asked Ray for; None where Ray does not answer now."""
    try:
        # Tune asks for a placement group a lot; those of other drivers have other jobs' numbers.
        job = ray.get_runtime_context().get_job_id()
        groups = ray.util.placement_group_table().values()
        free = ray._private.state.available_resources_per_node()
        nodes = [node for node in alive() if node["Resources"].get("CPU")]
    except (RayError, RuntimeError, ConnectionError):
        return None
    ours = [group for group in groups if group["placement_group_id"].endswith(job)]
    waiting = Counter(
        in_words(*(group["bundles"][0].get(kind, 0.0) for kind in KINDS))
        for group in ours
        if group["state"] == "PENDING"
    )
    return Look(
        waiting,
        num_placed=sum(group["state"] == "CREATED" for group in ours),
        free=[_free_in_words(node, free.get(node["NodeID"], {})) for node in nodes],
    )


def _free_in_words(node: Mapping[str, Any], free: Mapping[str, float]) -> str:
    """`node-7 has 0 of 8 CPUs, 1 of 1 GPUs`"""
    has = [(kind, node["Resources"][kind]) for kind in KINDS if node["Resources"].get(kind)]
    parts = [f"{free.get(kind, 0.0):g} of {count:g} {kind}s" for kind, count in has]
    return f"{node['NodeManagerHostname']} has {', '.join(parts)}"
