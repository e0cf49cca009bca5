"""The contract suite, inherited."""

import pytest
from elastic_weights import ElasticWeights

from methods.networks import resnet8
from orchestrator import Trial
from orchestrator.testing import MethodContract, smoke_trial


class TestElasticWeights(MethodContract):
    @pytest.fixture
    def trial(self) -> Trial:
        return smoke_trial(ElasticWeights, network=resnet8(width=4))
