"""Classes by path: what is loaded, what is refused, and that nothing is called on the way."""

from __future__ import annotations

import importlib
import sys

import pytest

from methods.fine_tune import FineTune
from methods.networks.resnet import ResNet
from orchestrator import Method, Network, Part
from orchestrator.errors import PlanError
from orchestrator.spec.classes import FOLDERS, VARIABLE, allow_folder, class_at


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A module that leaves a file when it is imported, on the path but of no known package."""
    (tmp_path / "plant.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(tmp_path)!r}, 'imported').touch()\n"
        "from orchestrator import Method\n"
        "class Thing(Method):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv(FOLDERS, "")
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("plant", None)


def test_classes_of_the_kind_are_found():
    assert class_at("methods.fine_tune:FineTune", Method) is FineTune
    assert class_at("methods.networks.resnet:ResNet", Network) is ResNet
    assert class_at("methods.networks.resnet:ResNet", Part) is ResNet


@pytest.mark.parametrize(
    "path", ["os:system", "subprocess:Popen", "builtins:eval", "torch.nn:Linear", "os:path.join"]
)
def test_what_is_no_class_of_the_kind_is_refused_before_anything_is_called(path):
    with pytest.raises(PlanError, match=r"is not a Part; it is not called|is not loaded"):
        class_at(path, Part)


def test_a_module_of_no_known_package_is_not_even_imported(planted):
    with pytest.raises(PlanError, match=r"plant:Thing is not loaded: 'plant' is none of"):
        class_at("plant:Thing", Method)
    assert not (planted / "imported").exists()


def test_the_site_may_allow_a_package(planted, monkeypatch):
    monkeypatch.setenv(VARIABLE, "else_where, plant")
    assert class_at("plant:Thing", Method).__name__ == "Thing"


def test_a_module_beside_the_sweep_is_allowed(planted):
    allow_folder(planted)
    assert class_at("plant:Thing", Method).__name__ == "Thing"


def test_what_is_imported_already_may_be_used(planted):
    importlib.import_module("plant")
    assert class_at("plant:Thing", Method).__name__ == "Thing"


@pytest.mark.parametrize("module", ["__main__", "__mp_main__", "orchestrator.cli.__main__"])
def test_a_class_of_a_notebook_or_a_program_is_refused_with_the_way_out(module):
    with pytest.raises(PlanError, match=r"notebook or a script(.|\n)*module beside the sweep"):
        class_at(f"{module}:Net", Network)


def test_a_script_that_ends_the_process_is_told(planted):
    (planted / "deploy.py").write_text("raise SystemExit(3)\n")
    allow_folder(planted)
    with pytest.raises(PlanError, match="deploy:Thing cannot be imported: SystemExit: 3"):
        class_at("deploy:Thing", Method)


@pytest.mark.parametrize("path", ["methods.no_such:Thing", "methods.fine_tune:Thing"])
def test_what_is_not_there_cannot_be_imported(path):
    with pytest.raises(PlanError, match=f"{path} cannot be imported"):
        class_at(path, Method)


def test_a_lookup_runs_no_code(planted):
    """A module-level `__getattr__`, a property: names are looked up in what is there."""
    (planted / "lazy.py").write_text("def __getattr__(name):\n    raise SystemExit(name)\n")
    allow_folder(planted)
    with pytest.raises(PlanError, match="lazy:Thing cannot be imported"):
        class_at("lazy:Thing", Method)
