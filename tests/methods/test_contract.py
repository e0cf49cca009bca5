"""Every discovered method keeps the contract; so does one with dropout and a layer made after its
first fit, and the documents' example.
"""

from __future__ import annotations

import cProfile
import gc
import sys
from pathlib import Path
from types import CodeType, SimpleNamespace

import distil
import pytest
from distil import Distil
from repeatable import Unrepeatable
from sample_methods import TwoFits

from methods.network_transplanting import NetworkTransplanting
from methods.network_transplanting.transplanted_tasks import TransplantedTasks
from methods.networks import resnet8
from orchestrator import Method, Store, Trial, resolve
from orchestrator.spec.registry import discover
from orchestrator.store.code import MODULES_WITHOUT_BITS, code_of
from orchestrator.testing import MethodContract, killing, smoke_trial
from orchestrator.testing.killing import Killed, Killing, Reference


class TestContractOfSmallMethods(MethodContract):
    @pytest.fixture(params=[TwoFits, Distil], ids=lambda method: method.name)
    def method(self, request: pytest.FixtureRequest) -> type[Method]:
        return request.param

    @pytest.fixture
    def trial(self, method: type[Method]) -> Trial:
        return smoke_trial(method, network=resnet8(width=4))


class TestContract(MethodContract):
    @pytest.fixture(params=discover().values(), ids=lambda method: method.name)
    def method(self, request: pytest.FixtureRequest) -> type[Method]:
        return request.param

    @pytest.fixture
    def trial(self, method: type[Method]) -> Trial:
        trial = smoke_trial(method, network=resnet8(width=4))
        if method is NetworkTransplanting:  # its tasks are a category against a background
            return trial.replace(
                tasks=tuple(task.binary(0, called="category") for task in trial.tasks)
            )
        if method is TransplantedTasks:  # and called by category and task
            names = ("pretrain.which", "host.which", "guest.which")
            categories = [task.binary(0, called="category") for task in trial.tasks]
            named = zip(categories, names, strict=True)
            return trial.replace(tasks=tuple(task.named(name) for task, name in named))
        return trial

    @pytest.mark.slow  # a trial for each statement; the small methods show the fact in a moment
    def test_killed_before_any_statement_it_ends_with_the_same_bits(self, reference, tmp_path):
        super().test_killed_before_any_statement_it_ends_with_the_same_bits(reference, tmp_path)

    @pytest.mark.slow
    def test_killed_after_any_epoch_it_ends_with_the_same_bits(self, reference, tmp_path):
        super().test_killed_after_any_epoch_it_ends_with_the_same_bits(reference, tmp_path)

    @pytest.mark.slow  # notes every call
    def test_every_module_of_ours_that_it_executes_is_in_its_code(self, reference, tmp_path):
        """But for those whose reasons stand in `test_code.py`."""
        executed, _ = noted(reference, tmp_path)
        # What dataclasses make (comparisons, say, with other tests' trials) stands in no file.
        files = {code.co_filename for code in executed if code.co_filename.endswith(".py")}
        ours = {name for name, file in files_of_ours().items() if file in files}
        assert "orchestrator.training.execute" in ours
        rooms = ("orchestrator.store.", "orchestrator.testing.")
        without = {name for name in ours if name.startswith(rooms)}
        assert ours - without - MODULES_WITHOUT_BITS <= set(code_of(reference.trial).modules)

    @pytest.mark.slow
    def test_every_operation_has_a_kernel_on_a_gpu_that_repeats(self, reference, tmp_path):
        _, unrepeatable = noted(reference, tmp_path)
        assert unrepeatable == set()


_NOTED: dict[str, tuple[set[CodeType], set[str]]] = {}


def noted(reference: Reference, folder: Path) -> tuple[set[CodeType], set[str]]:
    """What a trial executes of Python, and of torch what does not repeat on a GPU; noted once for
    all tests.
    """
    key = reference.trial.key
    if key in _NOTED:
        return _NOTED[key]
    never_killed = Killing(reference, folder)
    profile = cProfile.Profile(builtins=False)  # in C: half of what a function of ours costs
    gc.collect()
    gc.disable()  # nothing of earlier tests is to end, and run, meanwhile
    with Unrepeatable() as mode:
        profile.enable()
        try:
            assert never_killed.survives()
        finally:
            profile.disable()
            gc.enable()
    executed = {entry.code for entry in profile.getstats() if isinstance(entry.code, CodeType)}
    _NOTED[key] = executed, mode.found
    return _NOTED[key]


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


@pytest.mark.long
class TestContractOfSmallMethodsOneByOne(TestContractOfSmallMethods):
    one_by_one = True


def test_the_documents_show_this_very_example():
    shown = (Path(__file__).parents[2] / "docs/adding-a-method.md").read_text()
    assert f"```python\n{Path(distil.__file__).read_text()}```" in shown


def test_the_suite_trains_where_its_option_says(monkeypatch, tmp_path):
    """`pytest --device cuda`; there is no GPU where this runs."""
    asked = []

    def train(*arguments, device, **options):
        asked.append(device)
        raise Killed

    options = SimpleNamespace(getoption=lambda name, default: {"--device": "cuda"}[name])
    monkeypatch.setattr(killing, "execute", train)
    monkeypatch.setattr(killing, "run_with_needs", lambda *a, device: asked.append(device))
    device = MethodContract.device.__wrapped__(None, SimpleNamespace(config=options))
    trial = resolve(smoke_trial(TwoFits), Store(tmp_path / "needs"))
    with pytest.raises(Killed):
        killing.reference_of(trial, tmp_path, device)
    reference = Reference(trial, {}, (), (), tmp_path / "needs", device)
    assert not Killing(reference, tmp_path / "killing").survives()
    assert asked == ["cuda"] * 3
