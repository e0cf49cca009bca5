"""The contract suite, inherited, and that no penalty is too strong for the steps."""

import pytest
import torch
from elastic_weights import ElasticWeights, shared_weights

from methods.networks import resnet8
from orchestrator import Batch, Trial, digits, local_run
from orchestrator.testing import MethodContract, smoke_trial


class TestElasticWeights(MethodContract):
    @pytest.fixture
    def trial(self) -> Trial:
        return smoke_trial(ElasticWeights, network=resnet8(width=4))


@pytest.mark.parametrize("strength", [1.0, 1e6])
def test_a_step_leads_to_the_anchor_and_not_beyond(strength: float) -> None:
    method = ElasticWeights(strength=strength)
    task = digits.classes(0, 1, 2).named("a")
    run = local_run(smoke_trial(method, network=resnet8(width=4), tasks=(task,)))
    net, anchor, fisher = (run.network(name) for name in ("net", "anchor", "fisher"))
    for weight in fisher.parameters():
        torch.nn.init.constant_(weight, 1000.0)
    batch = Batch({"x": torch.zeros(2, 1, 8, 8), "y": torch.zeros(2, dtype=torch.int64)})
    nets = {"network": net, "anchor a": anchor, "fisher a": fisher}
    penalty = method.loss(nets, batch)["fisher a"]
    weights, there = shared_weights(net), shared_weights(anchor)
    gradients = torch.autograd.grad(penalty, list(weights.values()))
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        moved = weight - method.lr * gradient
        assert ((moved - there[name]).abs() <= (weight - there[name]).abs() + 1e-6).all()
