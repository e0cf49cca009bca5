"""Every discovered method keeps the contract; so does one with dropout and a layer made after its
first fit, and the documents' example.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import CodeType, FrameType

import distil
import pytest
from distil import Distil
from sample_methods import TwoFits

from methods.network_transplanting import NetworkTransplanting
from methods.networks import resnet8
from orchestrator import Method, Trial
from orchestrator.spec.registry import discover
from orchestrator.store.code import MODULES_WITHOUT_BITS, code_of
from orchestrator.testing import MethodContract, smoke_trial
from orchestrator.testing.contract import Killing


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

    @pytest.mark.slow  # notes every call
    def test_every_module_of_ours_that_it_executes_is_in_its_code(self, reference, tmp_path):
        """But for those whose reasons stand in `test_code.py`."""
        killing = Killing(reference, tmp_path)
        executed: set[CodeType] = set()

        def note(frame: FrameType, event: str, argument: object) -> None:
            executed.add(frame.f_code)

        before = sys.getprofile()
        gc.collect()
        gc.disable()  # nothing of earlier tests is to end, and run, meanwhile
        sys.setprofile(note)
        try:
            assert killing.survives()
        finally:
            sys.setprofile(before)
            gc.enable()
        # What dataclasses make (comparisons, say, with other tests' trials) stands in no file.
        files = {code.co_filename for code in executed if code.co_filename.endswith(".py")}
        ours = {name for name, file in files_of_ours().items() if file in files}
        assert "orchestrator.training.execute" in ours
        rooms = ("orchestrator.store.", "orchestrator.testing.")
        without = {name for name in ours if name.startswith(rooms)}
        assert ours - without - MODULES_WITHOUT_BITS <= set(code_of(reference.trial).modules)


def files_of_ours() -> dict[str, str]:
    """The file of every module of ours that is loaded."""
    return {
        name: str(module.__file__)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("orchestrator", "methods")
        if getattr(module, "__file__", None)
    }


@pytest.mark.long
class TestContractOneByOne(TestContract):
    """The same with a run from the beginning for every kill."""

    one_by_one = True


def test_the_documents_show_this_very_example():
    shown = (Path(__file__).parents[2] / "docs/adding-a-method.md").read_text()
    assert f"```python\n{Path(distil.__file__).read_text()}```" in shown
