"""The package's own tests: the contract suite, inherited."""

import pytest
from spolia_echo.echo import Echo, TinyNetwork

from orchestrator import network_spec
from orchestrator.testing import MethodContract, smoke_trial


class TestEcho(MethodContract):
    @pytest.fixture
    def trial(self):
        return smoke_trial(Echo, network=network_spec(TinyNetwork, width=3))
