"""A method in a package of its own, installed in an environment of its own: found, planned, run on
Ray, tracked, held to the contract.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from several_commands import SEVERAL

PACKAGE = Path(__file__).parent / "package"
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]  # MLflow's own dependencies warn


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment that has what this one has, and the package; returns a runner of its
    Python.
    """
    folder = tmp_path_factory.mktemp("outside")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "beside.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )

    def run(*arguments, **options):
        variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        variables |= {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "COLUMNS": "100",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        return subprocess.run(
            [str(python), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=variables,
            check=False,
            **options,
        )

    def install(source):
        copy = folder / source.name
        shutil.copytree(source, copy)
        made = run(
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--target",
            site,
            copy,
        )
        assert made.returncode == 0, made.stderr

    def remove(source):
        """Take out what `install` has put in, so that the next test finds its environment."""
        name = tomllib.loads((source / "pyproject.toml").read_text())["project"]["name"]
        for made in site.glob(f"{name.replace('-', '_')}*"):
            shutil.rmtree(made)

    def several(*commands):
        ran = run("-c", SEVERAL, json.dumps([list(map(str, command)) for command in commands]))
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    install(PACKAGE)
    run.folder, run.install, run.remove, run.several = folder, install, remove, several
    return run


def test_it_is_found_beside_ours(environment):
    (code, listed, err), (_, shown, _) = environment.several(("methods",), ("methods", "echo"))
    assert code == 0, err
    assert {"echo", "fine_tune"} <= {
        line.split()[0] for line in listed.splitlines() if line.strip()
    }
    assert "spolia_echo.echo" in shown
    assert "teacher_epochs" in shown


def test_it_is_planned_and_run(environment):
    quick = ("--home", "inline-home", "--executor", "inline", "--tracking", "none")
    ((code, out, err),) = environment.several(("run", PACKAGE / "sweep.py", *quick))
    assert code == 0, out + err
    assert "fine_tune, used 4 times (shared 2.0x)" in out
    assert "6 of 6 done" in out


@pytest.mark.long
def test_it_is_run_on_ray_workers_and_tracked(environment, fresh_database):
    sweep = PACKAGE / "sweep.py"
    fresh_database(environment.folder / "spolia-home/mlflow.db")
    ran = environment("-m", "orchestrator.cli", "run", sweep, "--slots", "2", timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "6 of 6 done" in ran.stdout
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{environment.folder}/spolia-home/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "sweep"]
    runs = client.search_runs([experiment.experiment_id])
    cells = [r for r in runs if r.data.tags["spolia.role"] == "cell"]
    assert len(cells) == 4
    assert all(
        r.data.params["method"] == "echo" and 0 <= r.data.metrics["agreement"] <= 1 for r in cells
    )
    models = client.search_logged_models([experiment.experiment_id])
    assert {m.name.rpartition(" · ")[2] for m in models} == {"student", "network-t"}


@pytest.mark.long
def test_it_passes_the_contract_suite(environment):
    ran = environment(
        "-m",
        "pytest",
        "-q",
        *("-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
        PACKAGE / "contract.py",
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert ran.stdout.split()[0].count(".") >= 10


def test_two_packages_with_a_method_of_one_name_are_both_named(environment, tmp_path):
    twin = tmp_path / "twin"
    shutil.copytree(PACKAGE, twin)
    (twin / "spolia_echo").rename(twin / "spolia_other_echo")
    text = (
        (twin / "pyproject.toml")
        .read_text()
        .replace("spolia_echo", "spolia_other_echo")
        .replace("spolia-echo", "spolia-other-echo")
    )
    (twin / "pyproject.toml").write_text(text)
    environment.install(twin)
    both = environment.several(("methods",), ("plan", PACKAGE / "sweep.py"))
    environment.remove(twin)
    for code, _, err in both:
        assert code == 2, err  # results are found by name: both are named
        assert "two methods are called 'echo'" in err
        assert re.search(r"\bspolia_echo\.echo[.:]Echo", err)
        assert re.search(r"\bspolia_other_echo\.echo[.:]Echo", err)


def test_this_environment_is_not_that_one():
    with pytest.raises(ImportError):
        __import__("spolia_echo")
    assert "outside" not in sys.prefix
