"""Several real raylets on this machine, started and ended by the test that wants them."""

from __future__ import annotations

import contextlib

import pytest

# The head notices a node that was killed after five refused connections, here within 3 s instead of
# 15. A node that is only slow has the 10 s to answer that it has anywhere.
CONFIG = {"health_check_period_ms": 500}


@pytest.fixture
def raylets():
    """`raylets(count, environment=None)`: a cluster whose driver this process is, of nodes with one
    CPU each: every worker has to import torch first.

    The further nodes get the environment. The Ray of the session is ended first: a node of the
    cluster must not be mistaken for one of its.
    """
    from orchestrator.executors import ray as executor  # sets Ray's variables before it imports Ray

    ray = executor.ray
    ray.shutdown()
    made = []

    def start(count, environment=None, join=True):
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": CONFIG}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        made.append(cluster)
        nodes = [cluster.add_node(num_cpus=1, env_vars=environment or {}) for _ in range(count - 1)]
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
