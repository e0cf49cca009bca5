"""Several real raylets on this machine, started and ended by the test that wants them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from ports import free_port

# The head notices a node that was killed after five refused connections, here within 3 s instead of
# 15. A node that is only slow has the 10 s to answer that it has anywhere.
CONFIG = {"health_check_period_ms": 500}


@pytest.fixture
def raylets():
    """`raylets(count, environment=None, join=True, **head)`: a cluster whose driver this process
    is, of nodes with one CPU each: every worker has to import torch first.

    The further nodes get the environment; the head has what is said of it instead of its one CPU.
    """
    ray = _without_the_session()
    made = []

    def start(count, environment=None, join=True, **head):
        cluster = _new_cluster(made, head)
        nodes = [cluster.add_node(num_cpus=1, env_vars=environment or {}) for _ in range(count - 1)]
        cluster.wait_for_nodes()
        if join:
            _join(cluster)
        return cluster, nodes

    yield start
    ray.shutdown()
    for cluster in made:
        with contextlib.suppress(Exception):  # a node that the test killed cannot be ended again
            cluster.shutdown()


def _without_the_session():
    """Ray, after that of the session was ended: a node of a cluster must not be mistaken for one of
    its.
    """
    from orchestrator.executors.ray import cluster as of_ray  # Ray's variables come before Ray

    of_ray.ray.shutdown()
    return of_ray.ray


def _new_cluster(made, head):
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": CONFIG} | head
    made.append(Cluster(initialize_head=True, head_node_args=head))
    return made[-1]


def _join(cluster):
    from orchestrator.executors.ray import cluster as of_ray  # Ray's variables come before Ray

    of_ray.ray.init(
        address=cluster.address,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env=of_ray.runtime_env(),
    )


HEAD = "ray.head.default"  # as the pretended cloud calls it
# What Ray's autoscaler wants to be told beside provider and types of nodes.
LISTS = ("initialization_commands", "setup_commands", "head_setup_commands", "rsync_exclude")
LISTS += ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
LISTS += ("cluster_synced_files", "rsync_filter")


@pytest.fixture
def from_zero(monkeypatch, tmp_path):
    """`from_zero(types)`: a cluster of a head without CPUs, where Ray's own autoscaler starts nodes
    of these types (their resources, by name) as they are asked for, with its provider that only
    pretends to be a cloud: raylets on this machine. Returns its address and the file that says so.
    """
    monkeypatch.setenv("RAY_FAKE_CLUSTER", "1")
    monkeypatch.setenv("AUTOSCALER_UPDATE_INTERVAL_S", "1")
    from orchestrator.executors.ray import cluster as of_ray  # Ray's variables come before Ray

    of_ray.ray.shutdown()
    made = []

    def start(types):
        from ray._private.services import get_node_ip_address
        from ray.cluster_utils import Cluster

        port = free_port()
        kinds = {}
        for name, resources in types.items():
            has = {"object_store_memory": 100 * 2**20, **resources}
            kinds[name] = {"resources": has, "node_config": {}, "max_workers": 2}
        kinds[HEAD] = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
        provider = {"type": "fake_multinode", "gcs_address": f"{get_node_ip_address()}:{port}"}
        config = {"cluster_name": "pretended", "max_workers": 2, "provider": provider}
        config |= {"upscaling_speed": 1.0, "idle_timeout_minutes": 5}
        config |= {"file_mounts_sync_continuously": False}
        config |= {"available_node_types": kinds, "head_node_type": HEAD}
        config |= {"auth": {}, "docker": {}, "file_mounts": {}} | {name: [] for name in LISTS}
        file = tmp_path / "pretended_cluster.yaml"
        file.write_text(json.dumps(config))
        head = {"num_cpus": 0, "include_dashboard": False, "gcs_server_port": port}
        head["autoscaling_config"] = str(file)
        made.append(Cluster(initialize_head=True, head_node_args=head))
        return made[-1].address, file

    yield start
    of_ray.ray.shutdown()
    for cluster in made:
        session = cluster.head_node.get_session_dir_path()
        cluster.shutdown()
        _end_all_of(session)


def _end_all_of(session):
    """The pretended nodes belong to the autoscaler, and would outlive it for a minute."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if session in (process / "cmdline").read_text():
                os.kill(int(process.name), signal.SIGKILL)
