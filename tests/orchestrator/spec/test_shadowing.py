"""A project's own folders called `methods/` or `orchestrator/`, and Spolia's."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from orchestrator.spec.shadowing import INSTALLED_IN, shadowing

SWEEP = '''"""What is asked?"""
from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, digits, product

sweep = Sweep(
    question=__doc__,
    cells=product(FineTune.grid(), network=resnet8(), tasks=digits, seed=0),
    expect=1,
)
'''


@pytest.fixture
def project(tmp_path):
    """A project with a sweep file and a package `methods` of its own."""
    (tmp_path / "asked.py").write_text(SWEEP)
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/__init__.py").write_text("ours = 'nothing of Spolia'\n")
    return tmp_path


# An editable installation finds modules by a hook, too, in packages that it did not find itself;
# scripts go without, as with any other installation.
WITHOUT_HOOK = """
import sys
sys.meta_path = [f for f in sys.meta_path if getattr(f, "__name__", "") != "_EditableFinder"]
"""


def printed_by_script(project, program):
    """What a script in the project's folder prints; Python looks for modules beside it first."""
    (project / "start.py").write_text(WITHOUT_HOOK + program)
    ran = subprocess.run(
        [sys.executable, "start.py"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(INSTALLED_IN)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


LOADS = """
from orchestrator import SweepError, load_sweep
try:
    load_sweep("asked.py")
except SweepError as error:
    print(error)
"""


@pytest.mark.process
def test_a_module_missing_from_a_package_that_hides_ours_says_which_file_hides_it(project):
    printed = printed_by_script(project, LOADS)
    assert "asked.py, line 2: ModuleNotFoundError: No module named 'methods.fine_tune'" in printed
    assert f"'methods' in {project}/methods/__init__.py, which hides" in printed
    assert f"Spolia's own package {INSTALLED_IN}/methods" in printed
    assert f"keep {project} off Python's path" in printed


@pytest.mark.process
def test_so_does_a_name_missing_from_it(project):
    (project / "methods/fine_tune.py").write_text("")
    printed = printed_by_script(project, LOADS)
    assert "cannot import name 'FineTune' from 'methods.fine_tune'" in printed
    assert f"'methods' in {project}/methods/__init__.py, which hides" in printed


@pytest.mark.process
def test_so_does_a_file_of_that_name(project):
    (project / "methods/__init__.py").unlink()
    (project / "methods").rmdir()
    (project / "methods.py").write_text("")
    printed = printed_by_script(project, LOADS)
    assert f"'methods' in {project}/methods.py, which hides" in printed
    assert f"keep {project} off Python's path" in printed


@pytest.mark.process
def test_a_hidden_method_that_a_trial_names_is_told_too(project):
    program = (
        "from orchestrator import Method, PlanError, class_at\n"
        "try:\n"
        "    class_at('methods.fine_tune:FineTune', Method)\n"
        "except PlanError as error:\n"
        "    print(error)\n"
    )
    printed = printed_by_script(project, program)
    assert "methods.fine_tune:FineTune cannot be imported" in printed
    assert f"'methods' in {project}/methods/__init__.py, which hides" in printed


@pytest.mark.process
def test_the_list_of_methods_says_that_ours_are_hidden_instead_of_leaving_them_out(project):
    program = (
        "from orchestrator import MethodError\n"
        "from orchestrator.spec.registry import discover\n"
        "try:\n"
        "    print(list(discover()))\n"
        "except MethodError as error:\n"
        "    print(error)\n"
    )
    printed = printed_by_script(project, program)
    assert printed.startswith("the methods of 'methods' are not to be had. Python finds 'methods'")
    assert f"in {project}/methods/__init__.py, which hides" in printed


def test_another_orchestrator_is_told_too(monkeypatch):
    other = types.ModuleType("orchestrator")
    other.__spec__ = types.SimpleNamespace(origin="/project/orchestrator/__init__.py")
    monkeypatch.setitem(sys.modules, "orchestrator", other)
    hidden = shadowing(ModuleNotFoundError("no such module", name="orchestrator.spec"))
    assert "'orchestrator' in /project/orchestrator/__init__.py, which hides" in hidden


@pytest.mark.parametrize("name", ["methods.nowhere", "orchestrator.nowhere", "nowhere", None])
def test_an_import_that_fails_for_another_reason_is_not_explained(name):
    assert shadowing(ImportError("no such module", name=name)) is None


@pytest.mark.process
def test_the_command_line_works_in_a_project_with_folders_of_these_names(project):
    for name in ("orchestrator", "methods"):
        (project / name).mkdir(exist_ok=True)
        (project / name / "__init__.py").write_text("raise RuntimeError('not Spolia')\n")
    command = [Path(sys.executable).with_name("spolia"), "plan", "asked.py"]
    ran = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "fine_tune" in ran.stdout
