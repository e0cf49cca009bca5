"""What made a result: which modules count, and which changes of them."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from methods.networks import resnet8, small_vgg
from methods.recombine import Recombine
from orchestrator import Trial, digits
from orchestrator.spec.classes import VARIABLE, allow_folder
from orchestrator.spec.naming import class_paths
from orchestrator.store.code import MODULES_WITHOUT_BITS, code_behind, code_of

# Modules of ours that run while a trial runs and whose code its bits do not depend on.
REASONS = {
    "orchestrator": "the front door only passes names on",
    "orchestrator.errors": "texts of errors; a trial that raises one leaves no result",
    "orchestrator.parts.export": "writes files from finished results",
    "orchestrator.spec.claim": "decided when a trial is done",
    "orchestrator.spec.grid": "what it makes is in the trial, and so in the key",
    "orchestrator.spec.labels": "names for tables",
    "orchestrator.spec.method_grid": "what it makes is in the trial, and so in the key",
    "orchestrator.spec.registry": "finds methods by name; a trial has its class",
    "orchestrator.spec.sweep": "what it makes is in the trial, and so in the key",
    "orchestrator.spec.wording": "numbers as people read them",
    "orchestrator.training.attempts": "says what came of a try at a trial",
    "orchestrator.training.faults": "says whose fault an exception is, once it has ended a trial",
    "orchestrator.training.local": "calls what workers call",
    "orchestrator.training.observation": "watches: prints, curves so far, memory",
    "orchestrator.training.outcome": "says how a trial ended, once it has",
    "orchestrator.training.provenance": "says where a trial ran, once it has",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes modules of somebody's own package; `write(name, text)` gives the name of one."""
    folder = tmp_path / "lapidary"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> str:
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return f"lapidary.{name}"

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "lapidary"]:
        del sys.modules[name]


def test_every_exception_has_its_reason():
    assert set(REASONS) == set(MODULES_WITHOUT_BITS)


def test_engine_data_network_and_what_a_method_imports_are_in_it():
    trial = Trial(method=Recombine(), network=resnet8(), tasks=(digits,), seed=0)
    modules = set(code_of(trial).modules)
    assert {"orchestrator.training.fit", "orchestrator.data.batches"} <= modules
    assert {"methods.networks.resnet", "methods.recombine"} <= modules
    assert "methods.networks.vgg" not in modules
    assert not any(
        name.startswith(("orchestrator.cli", "orchestrator.tracking")) for name in modules
    )


def test_another_network_is_other_code():
    first, second = (
        Trial(method=Recombine(), network=network, tasks=(digits,), seed=0)
        for network in (resnet8(), small_vgg())
    )
    assert code_of(first).digest != code_of(second).digest
    assert "methods.networks.vgg" in code_of(first).differences(code_of(second).modules)


def test_methods_among_settings_are_in_it():
    from methods.fine_tune import FineTune

    trial = Trial(method=Recombine(of=(FineTune(),)), network=resnet8(), tasks=(digits,), seed=0)
    assert "methods.fine_tune:FineTune" in class_paths(trial)


def test_comments_docstrings_and_layout_change_nothing(package):
    module = package("net", '"""One."""\nclass Net:\n    def f(self):\n        return 1\n')
    before = code_behind([f"{module}:Net"]).modules[module]
    package(
        "net",
        '"""Another text."""\n\n\nclass Net:\n    # why\n    def f(self):\n'
        '        """Doc."""\n        return (\n            1\n        )\n',
    )
    assert code_behind([f"{module}:Net"]).modules[module] == before
    package("net", "class Net:\n    def f(self):\n        return 2\n")
    assert code_behind([f"{module}:Net"]).modules[module] != before


def test_a_package_of_ones_own_is_followed_and_so_is_what_it_takes_from_ours(package):
    package("layers", "WIDTH = 3\n")
    module = package(
        "stitch",
        """
        from methods.fine_tune import FineTune
        from lapidary import layers
        from orchestrator import Run, Part
        """,
    )
    modules = set(code_behind([f"{module}:Stitch"]).modules)
    assert {module, "lapidary.layers", "methods.fine_tune"} <= modules
    assert "orchestrator.parts.component" in modules


def test_names_of_a_package_stand_for_the_module_that_defines_them(package):
    """`from methods.networks import resnet8` does not bring the other networks along."""
    module = package("user", "from methods.networks import resnet8\n")
    modules = set(code_behind([f"{module}:X"]).modules)
    assert "methods.networks.resnet" in modules
    assert "methods.networks.mobilenet" not in modules
    module = package("late", "import methods.networks as nets\n\ndef f():\n    nets.small_vgg()\n")
    modules = set(code_behind([f"{module}:X"]).modules)
    assert "methods.networks.vgg" in modules
    assert "methods.networks.mobilenet" not in modules


def test_relative_imports_are_followed(package):
    package("base", "A = 1\n")
    module = package("top", "from .base import A\nfrom . import base\n")
    assert "lapidary.base" in code_behind([f"{module}:X"]).modules


def test_what_only_type_checkers_see_is_not_code(package):
    package("types", "A = 1\n")
    module = package(
        "only",
        """
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from lapidary.types import A
        """,
    )
    assert "lapidary.types" not in code_behind([f"{module}:X"]).modules


@pytest.mark.parametrize(
    "text",
    [
        "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    from lapidary.real import A",
        "import typing\nif typing.TYPE_CHECKING:\n    A = 1\nelse:\n    from .real import A",
        "def f():\n    import lapidary.real as real\n    return real.A",
        "try:\n    from lapidary.real import *\nexcept ImportError:\n    A = 2",
    ],
)
def test_what_runs_is_code_wherever_it_stands(package, text):
    package("real", "A = 1\n")
    assert "lapidary.real" in code_behind([f"{package('user', text)}:X"]).modules


def test_the_digest_is_the_same_for_every_version_of_python(package):
    """A digest written down: fields of the syntax tree that come and go must not change it."""
    module = package(
        "pinned",
        """
        def f(x, *, y: int = 3):
            z = f"{x!r:>{y}} and {y}"
            return [a for a in (x, y) if a] + [z, 1.5, None, b"q", ...]
        """,
    )
    assert code_behind([f"{module}:X"]).modules[module] == "36e5714dcaa6eba8"


def test_nothing_of_this_machine_is_in_it():
    text = repr(code_behind(["methods.fine_tune:FineTune"]))
    assert str(Path.cwd()) not in text


def test_a_module_beside_the_sweep_is_followed_to_another_one(tmp_path, monkeypatch):
    """Each is a top-level module of its own; both are what the researcher edits."""
    (tmp_path / "beside_blocks.py").write_text("WIDTH = 3\n")
    (tmp_path / "beside_net.py").write_text(
        "import beside_blocks\nimport numpy\n\nclass Net: ...\n"
    )
    allow_folder(tmp_path)
    modules = set(code_behind(["beside_net:Net"]).modules)
    assert {"beside_net", "beside_blocks"} <= modules
    assert not any(name.startswith("numpy") for name in modules)


@pytest.fixture
def folder_on_path(tmp_path, monkeypatch):
    """A folder in which Python looks for modules, and which is no sweep's; `write(file, text)`."""
    folder = tmp_path / "on_path"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def write(file: str, text: str) -> Path:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return folder

    yield write
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith("masonry"):
            del sys.modules[name]


def test_another_package_of_ones_own_is_followed_wherever_python_looks(folder_on_path):
    folder_on_path("masonry_layers/__init__.py", "")
    folder_on_path("masonry_layers/blocks.py", "WIDTH = 3\n")
    folder_on_path("masonry_net.py", "from masonry_layers.blocks import WIDTH\n")
    assert "masonry_layers.blocks" in code_behind(["masonry_net:Net"]).modules


def test_a_module_of_ones_own_that_hides_one_of_pythons_is_followed(folder_on_path):
    folder_on_path("tabnanny.py", "WIDTH = 3\n")
    folder_on_path("masonry_net.py", "import tabnanny\nimport statistics\nimport sys\n")
    modules = set(code_behind(["masonry_net:Net"]).modules)
    assert "tabnanny" in modules
    assert {"statistics", "sys"}.isdisjoint(modules)


def test_what_is_installed_is_not_followed_whatever_its_folder_is_called(folder_on_path):
    folder_on_path("masonry_tools.py", "A = 1\n")
    folder_on_path("masonry_net.py", "import masonry_tools\nimport colorsys\n")
    folder_on_path("masonry_tools-1.0.dist-info/METADATA", "")
    assert {"masonry_tools", "colorsys"}.isdisjoint(code_behind(["masonry_net:Net"]).modules)


def test_the_code_is_the_same_whatever_a_process_trusts_to_load(folder_on_path, monkeypatch):
    """A driver tells its workers to trust the packages of all its classes."""
    folder_on_path("masonry_tools.py", "A = 1\n")
    folder_on_path("masonry_tools-1.0.dist-info/METADATA", "")
    folder_on_path("masonry_net.py", "import masonry_tools\n")
    drivers = code_behind(["masonry_net:Net"])
    monkeypatch.setenv(VARIABLE, "masonry_net,masonry_tools")
    assert code_behind(["masonry_net:Net"]) == drivers


@pytest.mark.parametrize(
    ("init", "net", "module"),
    [
        (
            "from .real import A",
            "import masonry.other\ndef f():\n    return masonry.A",
            "masonry.real",
        ),
        (
            "try:\n    from .fast import A\nexcept ImportError:\n    from .slow import A",
            "from masonry import A",
            "masonry.slow",
        ),
        ("import torch\ntorch.set_num_threads(1)", "from masonry.real import A", "masonry"),
        ("from .other import patch\nif patch:\n    patch.x = 1", "import masonry.real", "masonry"),
    ],
    ids=["of the package around", "of either place", "that acts", "that acts if"],
)
def test_packages_pass_names_on_and_may_do_more(folder_on_path, init, net, module):
    folder_on_path("masonry/__init__.py", init)
    for name in ("real", "other", "fast", "slow"):
        folder_on_path(f"masonry/{name}.py", "A = 1\npatch = None\n")
    folder_on_path("masonry_net.py", net)
    assert module in code_behind(["masonry_net:Net"]).modules


def test_a_package_that_only_passes_names_on_is_no_code(folder_on_path):
    init = '"""Doc."""\nfrom .real import A\n__all__ = ["A"]\ndef __getattr__(name): ...\n'
    folder_on_path("masonry/__init__.py", init)
    folder_on_path("masonry/real.py", "A = 1\n")
    folder_on_path("masonry_net.py", "from masonry import A\n")
    assert "masonry" not in code_behind(["masonry_net:Net"]).modules


def test_a_file_for_another_python_counts_as_it_is(folder_on_path):
    folder_on_path("masonry_net.py", "try:\n    import masonry_new\nexcept SyntaxError: ...\n")
    digests = []
    for text in ("type X[ = new syntax", "type X[ = newer syntax"):
        folder_on_path("masonry_new.py", text)
        digests.append(code_behind(["masonry_net:Net"]).modules["masonry_new"])
    assert digests[0] != digests[1]
