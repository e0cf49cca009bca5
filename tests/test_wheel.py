"""What `pip wheel` makes of this repository, and what is installed from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("orchestrator", "methods")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools leaves a folder `build` beside the sources."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for package in PACKAGES:
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=without)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    subprocess.run([*PIP, "wheel", *offline, "--wheel-dir", built, source], check=True)
    (found,) = built.glob("spolia-*.whl")
    return found


@pytest.fixture(scope="module")
def files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_it_has_every_module_of_program_and_methods_and_nothing_else(files):
    modules = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name in files if name.endswith(".py")} == modules


def test_it_says_that_both_packages_are_typed_and_has_the_files_that_are_no_modules(files):
    others = {name for name in files if not name.endswith(".py")}
    templates = (ROOT / "orchestrator/analysis/page/templates").iterdir()
    assert others == {
        "orchestrator/py.typed",
        "methods/py.typed",
        *(str(path.relative_to(ROOT)) for path in templates),
        "orchestrator/cli/first_sweep.txt",
        "orchestrator/cli/new_method.txt",
        "orchestrator/cli/new_method_module.txt",
    }


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


def test_its_command_works_in_a_project_with_folders_of_the_names_of_our_packages(wheel, tmp_path):
    installed, project = tmp_path / "installed", tmp_path / "project"
    command = [*PIP, "install", "--no-deps", "--no-index", "--target", installed, wheel]
    subprocess.run(command, check=True)
    for package in PACKAGES:
        (project / package).mkdir(parents=True)
        (project / package / "__init__.py").write_text("raise RuntimeError('not Spolia')\n")
    (project / "asked.py").write_text(SWEEP)
    ran = subprocess.run(
        [installed / "bin/spolia", "plan", "asked.py"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "trials  1  fine_tune" in ran.stdout
