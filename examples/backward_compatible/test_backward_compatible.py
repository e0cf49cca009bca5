"""The contract suite, inherited."""

import pytest
from backward_compatible import BackwardCompatible

from methods.networks import resnet8
from orchestrator import Trial
from orchestrator.testing import MethodContract, smoke_trial


class TestBackwardCompatible(MethodContract):
    @pytest.fixture
    def trial(self) -> Trial:
        return smoke_trial(BackwardCompatible, network=resnet8(width=4))
