"""What `pip wheel` makes of this repository, and what is installed from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
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
    (source / "docs").mkdir()
    for file in ("pyproject.toml", "docs/package.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
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


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name).decode()


def test_it_says_which_pythons_it_is_for(metadata):
    assert "Requires-Python: <3.14,>=3.11" in metadata
    assert "Programming Language :: Python :: 3.13" in metadata
    assert "Typing :: Typed" in metadata


def test_its_page_on_a_package_index_has_no_link_that_leads_nowhere_there(metadata):
    _, page = metadata.split("\n\n", 1)
    assert page.startswith("# Spolia")
    links = re.findall(r"\]\(([^)]+)\)", page) + re.findall(r'(?:src|href)="([^"]+)"', page)
    assert not [link for link in links if "://" not in link]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel in it, for an environment that sees the dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    command = [*PIP, "install", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(command, check=True)
    return folder


def ran(installed, folder, *arguments):
    """What the installed command gave in a folder."""
    done = subprocess.run(
        [installed / "bin/spolia", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


QUICK = ("--executor", "inline", "--tracking", "none")


@pytest.mark.slow
def test_in_an_empty_folder_the_first_sweep_is_written_and_runs_in_small(installed, tmp_path):
    assert "Wrote first_sweep.py" in ran(installed, tmp_path, "init")
    assert "settings of 12 cells" in ran(
        installed, tmp_path, "run", "--smoke", "--executor", "inline", "first_sweep.py"
    )


@pytest.mark.slow
@pytest.mark.long
def test_and_as_it_is(installed, tmp_path):
    ran(installed, tmp_path, "init")
    assert "12 of 12" in ran(installed, tmp_path, "run", *QUICK, "first_sweep.py")


@pytest.mark.slow
def test_a_new_package_plans_beside_it(installed, tmp_path):
    ran(installed, tmp_path, "new-method", "my_method")
    made = ran(installed, tmp_path, "plan", "spolia-my-method/my_method_sweep.py")
    assert "trials  3  my_method" in made


@pytest.mark.slow
@pytest.mark.long
def test_strict_types_hold_in_a_package_that_imports_it(installed, tmp_path):
    """In an environment of its own, where it is installed as any package is."""
    venv.create(tmp_path / "environment", with_pip=False)
    (site,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    beside = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (site / "beside.pth").write_text(beside)
    for package in PACKAGES:
        shutil.copytree(installed / package, site / package)
    files = []
    for method in sorted((ROOT / "examples").glob("*/pyproject.toml")):
        (tested,) = method.parent.glob("test_*.py")
        file = method.parent / tested.name.removeprefix("test_")
        files.append(shutil.copy(file, tmp_path))
    ran(installed, tmp_path, "new-method", "my_method", "--to", "mine")
    files.append(tmp_path / "mine/spolia_my_method/my_method.py")
    python = tmp_path / "environment/bin/python"
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


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


def test_its_command_works_in_a_project_with_folders_of_the_names_of_our_packages(
    installed, tmp_path
):
    project = tmp_path / "project"
    for package in PACKAGES:
        (project / package).mkdir(parents=True)
        (project / package / "__init__.py").write_text("raise RuntimeError('not Spolia')\n")
    (project / "asked.py").write_text(SWEEP)
    assert "trials  1  fine_tune" in ran(installed, project, "plan", "asked.py")
