"""What travels with a sweep that is handed in, and what stays."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import pytest

from orchestrator import InputError
from orchestrator.spec.classes import allow_folder
from orchestrator.store.origin import MARKER, came_from
from orchestrator.submission import packing
from orchestrator.submission.packing import in_words, own_modules, package_of


@pytest.fixture
def study(tmp_path, monkeypatch):
    """`study({file: text})`: a folder of somebody's, in which there is a sweep; returns the sweep.
    What was imported of it is forgotten afterwards.
    """
    before = set(sys.modules)

    def write(files):
        for name, text in files.items():
            path = tmp_path / "study" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        sweep = tmp_path / "study/asked_afar.py"
        allow_folder(sweep.parent)
        return sweep

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


SWEEP = (
    "from afar_method import Adds\nfrom orchestrator import Sweep\nimport torch, methods.piggyback"
)


def test_what_a_sweep_uses_of_its_authors_travels_with_it_whole_packages_and_all(study):
    sweep = study(
        {
            "asked_afar.py": SWEEP,
            "afar_method.py": "def later():\n    from afar_lab.deep import thing\n",
            "afar_lab/__init__.py": "",
            "afar_lab/deep.py": "import json",
            "afar_lab/names.json": "[]",
            "afar_lab/unused.py": "import afar_other",
            "afar_other.py": "",
            "not_asked_for.py": "",
        }
    )
    package = package_of(sweep, (), None, {})
    assert sorted(package.files) == [
        "afar_lab/__init__.py",
        "afar_lab/deep.py",
        "afar_lab/names.json",
        "afar_lab/unused.py",
        "afar_method.py",
        "afar_other.py",
        "sweep-file/asked_afar.py",
    ]
    assert in_words(package) == "asked_afar.py, afar_lab, afar_method.py, afar_other.py " + (
        "(7 files, 1 kB)"
    )


def test_so_does_what_only_a_setting_names(study):
    sweep = study({"asked_afar.py": "", "afar_nets.py": "", "orchestrator_like.py": ""})
    classes = ["afar_nets:Net", "methods.piggyback:Piggyback", "torch.nn:Linear"]
    assert list(own_modules(sweep, classes)) == ["afar_nets"]


def test_a_folder_that_hides_nothing_of_spolias_stays(study):
    """Nobody imports somebody's folder `methods`: Spolia's own is found first, here and there."""
    sweep = study({"asked_afar.py": "from methods import fine_tune", "methods/__init__.py": ""})
    assert list(package_of(sweep, (), None, {}).files) == ["sweep-file/asked_afar.py"]


def test_what_is_in_a_package_and_is_no_source_stays(study, monkeypatch):
    stays = (
        ".git/config",
        ".hidden.py",
        "__pycache__/a.pyc",
        "old.pyc",
        "venv/pyvenv.cfg",
        "env/conda-meta/history",
        "a.egg-info/PKG-INFO",
        "mlruns/0/meta.yaml",
        "store/format.json",
        "spolia-home/store/format.json",
        "images/1.png",
    )
    sweep = study(
        {"asked_afar.py": "import afar_lab", "afar_lab/__init__.py": ""}
        | {f"afar_lab/{name}": "" for name in stays}
        | {"afar_lab/data/loads.py": "", "afar_lab/store/reads.py": ""}
    )
    (sweep.parent / "afar_lab/nowhere.py").symlink_to("gone.py")
    monkeypatch.setenv("SPOLIA_DATA", str(sweep.parent / "afar_lab/images"))
    assert sorted(package_of(sweep, (), None, {}).files) == [
        "afar_lab/__init__.py",
        "afar_lab/data/loads.py",
        "sweep-file/asked_afar.py",
    ]


def test_a_package_without_init_travels_too(study):
    sweep = study({"asked_afar.py": "import afar_names.inner", "afar_names/inner.py": ""})
    assert "afar_names/inner.py" in package_of(sweep, (), None, {}).files


def test_more_than_sources_is_refused_with_the_folder_that_has_most_of_it(study, monkeypatch):
    sweep = study(
        {
            "asked_afar.py": "import afar_lab",
            "afar_lab/__init__.py": "",
            "afar_lab/results/a/one.npy": "1" * 3_000_000,
            "afar_lab/results/b/two.npy": "2" * 3_000_000,
            "afar_lab/small/three.npy": "3" * 1_000_000,
        }
    )
    monkeypatch.setattr(packing, "MOST", 2_000_000)
    with pytest.raises(InputError) as refused:
        package_of(sweep, (), None, {})
    folder = sweep.parent / "afar_lab/results"
    assert str(refused.value) == (
        "asked_afar.py and what it uses of yours are 7 MB, and no more than 2 MB are handed in. "
        f"Most of it lies in {folder} (6 MB). Only sources should travel: move the rest out of the "
        "package, or install the package on the head"
    )


def test_the_same_files_are_the_same_bytes_whenever_they_were_written(study, tmp_path):
    files = {"asked_afar.py": "import afar_method", "afar_method.py": ""}
    first = package_of(study(files), (), None, {}).packed()
    study(files)
    (tmp_path / "spolia.toml").write_text("slots = 2")
    assert package_of(study(files), (), None, {}).packed() == first
    assert package_of(study(files), (), tmp_path / "spolia.toml", {}).packed() != first
    assert package_of(study({**files, "afar_method.py": "1"}), (), None, {}).packed() != first


def test_what_was_unpacked_elsewhere_is_known_by_where_it_came_from(study, tmp_path):
    sweep = study({"asked_afar.py": "import afar_lab", "afar_lab/__init__.py": ""})
    there = tmp_path / "there"
    with zipfile.ZipFile(io.BytesIO(package_of(sweep, (), None, {"a": 1}).packed())) as archive:
        archive.extractall(there)
    assert json.loads((there / MARKER).read_text())["a"] == 1
    assert came_from(there / "sweep-file/asked_afar.py") == sweep
    assert came_from(there / "afar_lab/__init__.py") == sweep.parent / "afar_lab/__init__.py"
    assert came_from(there / "made_there.py") == there / "made_there.py"
    assert came_from(sweep) == sweep
