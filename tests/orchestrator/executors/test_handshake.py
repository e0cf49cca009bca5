"""What a node says of itself, and which answers keep it out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.executors.handshake import disagreements, greet

CLASSES = ("methods.fine_tune:FineTune", "methods.networks.resnet:ResNet")


@pytest.fixture
def greeting(store):
    return greet(store.address, "", CLASSES, {})


def test_a_node_like_the_driver_is_let_in(greeting):
    assert disagreements(greeting, [greeting]) == []


@pytest.mark.parametrize(
    "module", ["orchestrator.training.fit", "orchestrator.data.batches", "methods.networks.resnet"]
)
def test_a_node_with_another_engine_data_pipeline_or_network_is_refused_by_name(greeting, module):
    assert module in greeting.modules
    other = replace(greeting, modules={**greeting.modules, module: "0" * 16})
    (problem,) = disagreements(greeting, [other])
    assert f"has other code of {module} (from " in problem
    assert problem.endswith("install the same version on every node")


def test_a_node_that_lacks_a_class_is_told_which(greeting, store):
    (problem,) = disagreements(greeting, [greet(store.address, "", [*CLASSES, "gone:Net"], {})])
    assert "gone:Net cannot be imported" in problem
