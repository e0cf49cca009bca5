"""The contract suite, inherited."""

import pytest
from model_stitching import ModelStitching

from methods.networks import resnet8
from orchestrator import Trial
from orchestrator.testing import MethodContract, smoke_trial


class TestModelStitching(MethodContract):
    @pytest.fixture
    def trial(self) -> Trial:
        return smoke_trial(ModelStitching, network=resnet8(width=4))
