"""Dependencies point one way; one outside service, one file; modules of a size to read in a
sitting.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import MethodError
from orchestrator.spec.registry import discover, methods_in, sources_digest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    p
    for folder in ("orchestrator", "methods", "sweeps")
    for p in sorted((ROOT / folder).rglob("*.py"))
]


def imports(path):
    """Modules that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def importers(package):
    return {
        str(p.relative_to(ROOT))
        for p in FILES
        if any(name.partition(".")[0] == package for name in imports(p))
    }


def test_one_outside_service_one_file():
    assert importers("ray") == {"orchestrator/executors/ray.py"}
    assert importers("mlflow") == {"orchestrator/tracking/levelling.py"}


def test_the_core_knows_no_method():
    assert not [
        name
        for name in importers("methods") | importers("sweeps")
        if name.startswith("orchestrator/")
    ]


def test_methods_import_of_each_other_only_classes():
    for path in (ROOT / "methods").glob("[a-z]*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ImportFrom)
                and (node.module or "").startswith("methods.")
                and "._" not in (node.module or "")
            ):
                assert (
                    all(alias.name[0].isupper() for alias in node.names)
                    or node.module == "methods.networks"
                ), path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes(path):
    text = path.read_text()
    limit = 150 if path.parent.name == "methods" else 300
    assert len(text.splitlines()) <= limit
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and (end := node.end_lineno):
            docstring = (
                node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
            )
            assert end - node.lineno + 1 - docstring <= 40, f"{node.name} in line {node.lineno}"


def test_importing_does_nothing():
    """No thread, no file, no heavy package: planning must not touch Ray or MLflow."""
    program = (
        "import sys, threading, os; before = dict(os.environ)\n"
        "import orchestrator.cli, orchestrator.spec.sweep, orchestrator.planning.plan, orchestrator.session, methods.recombine, methods.compatible_features\n"
        "heavy = [m for m in ('ray', 'mlflow', 'matplotlib', 'torchvision', 'sklearn') if m in sys.modules]\n"
        "print(heavy, threading.active_count(), before == dict(os.environ))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.split("\n")[0] == "[] 1 True"


def test_the_command_starts_without_torch():
    program = "import sys, orchestrator.cli; print('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )


def test_built_in_methods_are_discovered_by_the_same_door():
    assert {"compatible_features", "fine_tune", "recombine"} <= set(discover())


def test_two_methods_of_one_name_are_an_error_that_names_both(monkeypatch):
    class Entry:
        def __init__(self, value):
            self.value = value

    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [Entry("sample_methods"), Entry("twins")]
    )
    with pytest.raises(
        MethodError, match=r"two methods are called 'count': sample_methods.Count and twins.Count"
    ):
        discover()


def test_a_package_that_does_not_import_is_named():
    with pytest.raises(MethodError, match="'no_such_package' of the entry-point group"):
        methods_in("no_such_package")


def test_the_digest_of_sources_covers_what_a_method_imports():
    from methods.compatible_features import CompatibleFeatures
    from methods.fine_tune import FineTune
    from orchestrator.spec.registry import _sources

    assert {"methods.compatible_features", "methods._losses", "methods._transforms"} <= set(
        _sources("methods.compatible_features")
    )
    assert "methods.recombine" not in _sources("methods.compatible_features")
    assert sources_digest(CompatibleFeatures) != sources_digest(FineTune)
