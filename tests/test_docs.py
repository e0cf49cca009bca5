"""What the documents say exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.exists()]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
OURS = re.compile(
    r"\b(?:orchestrator|methods|sweeps|tests|benchmarks|docs|examples)/[\w./-]*\w(?:/|\b)"
)


def prose(page: Path) -> str:
    """A page without what is somebody's own folder in an example."""
    return re.sub(r"sweeps/my_\w+\.py", "", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.S)  # no code
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    missing = [one for one in links if "://" not in one and not (page.parent / one).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_a_page_names_exist(page):
    missing = [name for name in OURS.findall(prose(page)) if not (ROOT / name).exists()]
    assert not missing


def test_the_map_names_every_room():
    shown = (ROOT / "docs/architecture.md").read_text()
    for init in (ROOT / "orchestrator").glob("*/__init__.py"):
        assert f"<b>{init.parent.name}</b>" in shown or init.parent.name == "testing"


def test_the_readme_shows_the_quickstart_as_it_is():
    sweep = (ROOT / "sweeps/quickstart.py").read_text()
    assert f"```python\n{sweep}```" in (ROOT / "README.md").read_text()


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


@pytest.fixture
def after_the_quickstart(spolia, tmp_path):
    """A part of the quickstart has run in the current folder: one training and its matrix."""
    (tmp_path / "sweeps").mkdir()
    sweep = (ROOT / "sweeps/quickstart.py").read_text().replace("epochs=30", "epochs=1")
    (tmp_path / "sweeps/quickstart.py").write_text(sweep)
    common = ("--executor", "inline", "--tracking", "none", "--only", "ingredients=none split=stem")
    code, _, problem = spolia("run", "sweeps/quickstart.py", "--limit", "1", *common)
    assert code == 0, problem


def test_the_notebook_cells_of_the_pages_work_after_the_quickstart(after_the_quickstart):
    import torch

    names: dict = {}
    exec(next(block for block in blocks(PAGES[0]) if "import Session" in block), names)
    assert names["net"](torch.zeros(2, 1, 8, 8)).shape == (2, 8)
    names = {}
    for block in blocks(ROOT / "docs/joining.md"):
        exec(block, names)
    assert names["joined"](names["x"]).shape == (len(names["y"]), 8)


def test_the_examples_of_the_page_on_sessions_work_one_after_the_other(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPOLIA_TRACKING", "none")
    names: dict = {}
    for block in blocks(ROOT / "docs/session.md"):
        exec(block, names)
    assert names["net"](torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert names["session"].compare({"lr": 0.1}, {"lr": 0.01}).gaps[0].n == 2


def test_the_sweeps_whose_pages_are_shown_can_be_planned(store):
    from orchestrator import load_sweep, make_plan

    for file, cells in (("ingredients", 300), ("longer", 30)):
        name, sweep = load_sweep(ROOT / "docs" / "pages" / f"{file}.py")
        assert len(make_plan(name, sweep, store).cells) == cells
