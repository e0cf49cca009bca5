"""Every discovered method keeps the contract; so does one with dropout and a layer made after its
first fit, and the documents' example.
"""

from __future__ import annotations

from pathlib import Path

import distil
import pytest
from distil import Distil
from sample_methods import TwoFits

from methods.network_transplanting import NetworkTransplanting
from methods.networks import resnet8
from orchestrator import Method, Trial
from orchestrator.spec.registry import discover
from orchestrator.testing import MethodContract, smoke_trial


class TestContract(MethodContract):
    @pytest.fixture(params=[*discover().values(), TwoFits, Distil], ids=lambda method: method.name)
    def method(self, request: pytest.FixtureRequest) -> type[Method]:
        return request.param

    @pytest.fixture
    def trial(self, method: type[Method]) -> Trial:
        trial = smoke_trial(method, network=resnet8(width=4))
        if method is NetworkTransplanting:  # its tasks are a category against a background
            return trial.replace(
                tasks=tuple(task.binary(0, called="category") for task in trial.tasks)
            )
        return trial


@pytest.mark.long
class TestContractOneByOne(TestContract):
    """The same with a run from the beginning for every kill."""

    one_by_one = True


def test_the_documents_show_this_very_example():
    shown = (Path(__file__).parents[2] / "docs/adding-a-method.md").read_text()
    assert f"```python\n{Path(distil.__file__).read_text()}```" in shown
