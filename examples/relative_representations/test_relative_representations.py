"""The contract suite, inherited."""

import pytest
from relative_representations import RelativeRepresentations

from methods.networks import resnet8
from orchestrator import Trial
from orchestrator.testing import MethodContract, smoke_trial


class TestRelativeRepresentations(MethodContract):
    @pytest.fixture
    def trial(self) -> Trial:
        return smoke_trial(RelativeRepresentations, network=resnet8(width=4))
