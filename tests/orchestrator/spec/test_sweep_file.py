"""What reading a sweep file leaves behind."""

from __future__ import annotations

import sys

import pytest

from orchestrator import SweepError, load_sweep

SWEEP = """
import {module}
from methods.fine_tune import FineTune
from orchestrator import Sweep, digits, product

sweep = Sweep(question="Is it?", cells=product(FineTune.grid(), tasks=digits, seed=0), expect=1)
"""


def test_modules_that_a_sweep_imports_are_compiled_once_and_the_sweep_leaves_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    (tmp_path / "asked_beside.py").write_text("")
    file = tmp_path / "asked.py"
    file.write_text(SWEEP.format(module="asked_beside"))
    load_sweep(file)
    compiled = [one.name.partition(".")[0] for one in tmp_path.glob("__pycache__/*")]
    assert compiled == ["asked_beside"]


def test_a_sweep_file_has_its_own_future_imports_only(tmp_path):
    file = tmp_path / "asked.py"
    # Annotations would not be evaluated under the future import of the module that reads the file.
    file.write_text("def asks(x: 1 / 0): ...\n")
    with pytest.raises(SweepError, match="line 1: ZeroDivisionError"):
        load_sweep(file)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "resnet8(wdth=4)",
            "line 2: TypeError: resnet8() got an unexpected keyword argument 'wdth'. "
            "Did you mean 'width'? Valid: 'width', 'init'.",
        ),
        (
            "networks.resnet8(wdth=4)",
            "line 2: TypeError: resnet8() got an unexpected keyword argument 'wdth'. "
            "Did you mean 'width'? Valid: 'width', 'init'.",
        ),
        (
            "Sweep(qustion='?')",
            "unexpected keyword argument 'qustion'. Did you mean 'question'? Valid: ",
        ),
        ("resnet8(4)", "positional arguments but 1 was given. It is resnet8(*, width: "),
        (
            "import methods.recombin",
            "line 2: ModuleNotFoundError: No module named 'methods.recombin'. "
            "Did you mean 'methods.recombine'?",
        ),
        ("import methds", "No module named 'methds'. Did you mean 'methods'?"),
        (
            "from methods.recombine import Recombin",
            "line 2: ImportError: cannot import name 'Recombin' from 'methods.recombine' (",
        ),
        ("from methods.recombine import Recombin", "recombine.py). Did you mean 'Recombine'?"),
        ("from orchestrator import prodct", "Did you mean 'product'?"),
        ("digits.clases(0, 1)", "no attribute 'clases'. Did you mean 'classes'?"),
        ("prodct(seed=0)", "NameError: name 'prodct' is not defined. Did you mean 'product'?"),
    ],
)
def test_a_misspelt_name_is_told_with_its_line_and_the_nearest_one(tmp_path, line, told):
    file = tmp_path / "asked.py"
    imports = "from orchestrator import Sweep, digits, product; from methods import networks"
    file.write_text(f"{imports}; from methods.networks import resnet8\n{line}\n")
    with pytest.raises(SweepError) as caught:
        load_sweep(file)
    assert told in str(caught.value)


def test_an_error_in_a_module_beside_a_sweep_is_told_with_the_lines_of_both(tmp_path):
    (tmp_path / "asked_nets.py").write_text(
        "from methods.networks import resnet8\nresnet8(wdth=4)\n"
    )
    file = tmp_path / "asked.py"
    file.write_text("\nimport asked_nets\n")
    with pytest.raises(SweepError, match=r"asked.py, line 2 \(asked_nets.py, line 2\): TypeError"):
        load_sweep(file)


def test_of_what_nobody_knows_nothing_is_proposed(tmp_path):
    file = tmp_path / "asked.py"
    file.write_text("1 + 'a'\n")
    with pytest.raises(SweepError, match=r"and 'str'$"):
        load_sweep(file)
