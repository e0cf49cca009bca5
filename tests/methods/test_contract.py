"""Every discovered method keeps the contract; so does a method with dropout and a layer made after its first fit."""

from __future__ import annotations

import pytest
from sample_methods import TwoFits

from methods.networks import resnet8
from orchestrator.method import Method
from orchestrator.registry import discover
from orchestrator.testing import MethodContract, smoke_trial
from orchestrator.trial import Trial


class TestContract(MethodContract):
    @pytest.fixture(params=[*discover().values(), TwoFits], ids=lambda method: method.name)
    def method(self, request: pytest.FixtureRequest) -> type[Method]:
        return request.param

    @pytest.fixture
    def trial(self, method: type[Method]) -> Trial:
        return smoke_trial(method, network=resnet8(width=4))
