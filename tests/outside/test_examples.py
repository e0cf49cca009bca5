"""The methods in `examples/`: packages of their own, which know the front door and what is
documented, and keep the contract.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import orchestrator
from orchestrator import load_sweep

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
SWEEPS = [
    package / f"{package.name}_{images}.py"
    for package in PACKAGES
    for images in ("digits", "sketches")
]
# What the pages for authors name beside the front door; of a method's module its class.
DOCUMENTED = {
    "orchestrator.testing": {"MethodContract", "smoke_trial"},
    "methods.networks": {"resnet8"},
    "methods.fine_tune": {"FineTune"},
    "methods.pieces.recombined_networks": {"NetworkMeasurement", "TrainedNetworks"},
}


def test_there_are_four():
    assert len(PACKAGES) == 4


def test_sweeps_that_may_run_in_one_home_have_names_of_their_own():
    names = [file.stem for file in [*SWEEPS, *(ROOT / "sweeps").rglob("*.py")]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_they_import_what_is_documented_and_nothing_else(package):
    (module,) = tomllib.loads((package / "pyproject.toml").read_text())["tool"]["setuptools"][
        "py-modules"
    ]
    for file in package.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            assert not isinstance(node, ast.Import) or not {
                alias.name.partition(".")[0] for alias in node.names
            } & {"orchestrator", "methods"}
            if not isinstance(node, ast.ImportFrom):
                continue
            names = {alias.name for alias in node.names}
            if node.module == "orchestrator":
                assert names <= set(orchestrator.__all__), file
            elif str(node.module).partition(".")[0] in ("orchestrator", "methods"):
                assert names <= DOCUMENTED[node.module], file
            else:
                known = {"__future__", "collections.abc", "typing", "torch", "torch.nn", module}
                assert node.module in known, file


@pytest.mark.parametrize("file", SWEEPS, ids=lambda path: path.stem)
def test_their_sweeps_are_counted_and_claim_something(file, monkeypatch):
    monkeypatch.syspath_prepend(file.parent)
    _, sweep = load_sweep(str(file))
    assert sweep.claims
    sys.modules.pop(file.parent.name, None)


@pytest.fixture
def installed(tmp_path):
    """Installs a package beside what there is; returns a runner of its Python."""

    def install(package):
        offline = ("--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path / "site")
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        copy = tmp_path / "source"
        copy.mkdir()
        for file in package.iterdir():  # setuptools leaves folders beside the sources
            if file.is_file():
                (copy / file.name).write_text(file.read_text())
        subprocess.run([*map(str, [*pip, *offline, copy])], check=True)

        def run(*arguments):
            return subprocess.run(
                [sys.executable, *map(str, arguments)],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "COLUMNS": "100"},
                capture_output=True,
                text=True,
                check=False,
            )

        return run

    return install


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_they_are_found_and_keep_the_contract(package, installed):
    run = installed(package)
    (module,) = package.glob("test_*.py")
    name = module.stem.removeprefix("test_")
    shown = run("-m", "orchestrator.cli", "methods", name)
    listed = f"of spolia-{package.name.replace('_', '-')} 0.1.0"
    assert listed in " ".join(shown.stdout.split()), shown.stderr
    kept = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, module)
    assert kept.returncode == 0, kept.stdout[-3000:]
    assert kept.stdout.split()[0].count(".") >= 10


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("file", SWEEPS, ids=lambda path: path.stem)
def test_their_sweeps_run_in_small(file, installed, request):
    data = ()
    if file.stem.endswith("_sketches"):
        data = ("--data", request.getfixturevalue("shared_data"))
    run = installed(file.parent)
    quick = ("--smoke", "--executor", "inline", "--tracking", "none")
    ran = run("-m", "orchestrator.cli", "run", *quick, *data, file)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
