"""Several real raylets on this machine, started and ended by the test that wants them."""

from __future__ import annotations

import contextlib

import pytest


@pytest.fixture
def raylets():
    """`raylets(count, environment=None)`: a cluster whose driver this process is.

    The further nodes get the environment. The Ray of the session is ended first: a node of the
    cluster must not be mistaken for one of its.
    """
    from orchestrator.executors import ray as executor  # sets Ray's variables before it imports Ray

    ray = executor.ray
    ray.shutdown()
    made = []

    def start(count, environment=None, cpus=2, join=True):
        from ray.cluster_utils import Cluster

        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False}
        )
        made.append(cluster)
        nodes = [
            cluster.add_node(num_cpus=cpus, env_vars=environment or {}) for _ in range(count - 1)
        ]
        cluster.wait_for_nodes()
        if join:
            ray.init(
                address=cluster.address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env=executor.runtime_env(),
            )
        return cluster, nodes

    yield start
    ray.shutdown()
    for cluster in made:
        with contextlib.suppress(Exception):  # a node that the test killed cannot be ended again
            cluster.shutdown()
