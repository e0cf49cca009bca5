"""Every block of code in README and docs runs as it stands, or is held by the test that is named
here; commands and options in consoles exist; the reference is what the docstrings say.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
import tomllib
import types
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from methods.networks import small_vgg
from orchestrator import Session, claims, digits, parquet
from orchestrator.cli import app
from orchestrator.executors.site import SiteFile
from orchestrator.testing.checking import check

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
PAGES += sorted((ROOT / "examples").rglob("*.md"))
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

# Pages whose blocks other tests run: README and the pages on sessions, joining and notebooks as
# they stand, one block after the other.
ELSEWHERE = {
    "README.md": "tests/test_docs.py",
    "docs/session.md": "tests/test_docs.py",
    "docs/joining.md": "tests/test_docs.py",
    "docs/notebooks.md": "tests/orchestrator/analysis/test_notebook_page.py",
}
HERE = {"docs/adding-a-method.md", "docs/cookbook.md", "docs/changing-a-method.md"}
FRAGMENTS = {"docs/data.md", "docs/claims.md"}


def blocks(page: Path, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def run(text: str, **names: object) -> dict:
    """The names of a module of this text. Dataclasses look for the module that they are in."""
    module = types.ModuleType("a_block_of_the_documents", "?")
    vars(module).update(names)
    sys.modules[module.__name__] = module
    try:
        exec(text, vars(module))
    finally:
        del sys.modules[module.__name__]
    return vars(module)


def test_no_page_has_code_that_nothing_runs():
    with_code = {name for name, page in zip(NAMES, PAGES, strict=True) if blocks(page)}
    reference = {name for name in with_code if name.startswith("docs/reference/")}
    assert with_code - reference == {*ELSEWHERE, *HERE, *FRAGMENTS}
    for name, test in ELSEWHERE.items():
        assert name.removeprefix("docs/") in (ROOT / test).read_text() or name == "README.md"


# ---------------------------------------------------------------------- the reference


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "generate_reference.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["reference"]


def test_the_reference_is_what_the_docstrings_say(generator):
    """After a change: python docs/generate_reference.py"""
    written = {path.name: path.read_text() for path in (DOCS / "reference").iterdir()}
    assert written == generator.pages()


def test_every_metric_and_matrix_of_ours_is_explained(generator):
    assert "|  |" not in generator.glossary()


def test_every_name_of_the_front_door_is_in_the_reference(generator):
    import orchestrator

    shown = {name for page in generator.PAGES.values() for name in page.names}
    errors = {name for name in orchestrator.__all__ if name.endswith("Error")}
    assert set(orchestrator.__all__) - shown - errors == generator.FOR_INSIDE


REFERENCE = [page for page in sorted((DOCS / "reference").glob("*.md")) if blocks(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.stem)
def test_the_example_of_a_page_of_the_reference_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(blocks(page)[0])


# ---------------------------------------------------------------------- cookbook

COOKBOOK = blocks(DOCS / "cookbook.md")


def test_there_are_seventeen_sweeps():
    assert len(COOKBOOK) == 17


@pytest.mark.parametrize("text", COOKBOOK, ids=lambda text: text[3:40])
def test_a_sweep_of_the_cookbook_can_be_written_like_this(text):
    assert run(text)["sweep"].question  # it counts its cells, and checks its claims


@pytest.mark.filterwarnings("ignore:.*steps are few")  # a smoke run has no more
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("text", COOKBOOK[:-2], ids=lambda text: text[3:40])
def test_a_sweep_of_the_cookbook_runs(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The last two want images that are not here.
    summary = Session(run(text)["sweep"], name="cooked").run(smoke=True, executor="inline")
    assert summary.is_complete, summary


# ---------------------------------------------------------------------- adding and changing


def test_the_page_shows_the_whole_of_the_example_that_is_tested():
    shown = (DOCS / "adding-a-method.md").read_text()
    for file in ("model_stitching.py", "model_stitching_digits.py"):
        text = (ROOT / "examples/model_stitching" / file).read_text()
        assert f"```python\n{text}```" in shown


@pytest.fixture
def my_package(tmp_path, monkeypatch):
    """A package with the classes of the page."""
    page = blocks(DOCS / "adding-a-method.md")
    folder = tmp_path / "my_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    modules = {"distil": "Distil", "own_loop": "OwnLoop", "old_answers": "OldAnswers"}
    for name, words in ((name, f"class {class_name}(") for name, class_name in modules.items()):
        (text,) = [block for block in page if words in block]
        (folder / f"{name}.py").write_text(text)
    (folder / "my_network.py").write_text(next(b for b in page if "class MyNetwork" in b))
    monkeypatch.syspath_prepend(tmp_path)
    yield page, folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["own_loop", "old_answers"])
def test_the_own_loop_and_the_tasks_in_turn_of_the_page_keep_the_contract(module, my_package):
    _, folder = my_package
    findings = list(check(folder / f"{module}.py"))
    assert not [finding for finding in findings if finding.problem and not finding.is_note]
    assert len(findings) >= 10


@pytest.mark.slow
def test_the_network_the_local_run_and_the_contract_of_the_page_work(my_package):
    page, _ = my_package
    assert run(next(b for b in page if "local_run(" in b))["run"].metrics
    assert run(next(b for b in page if "class TestDistil" in b))["TestDistil"].trial
    from my_package.my_network import network

    assert network.splits == ("stem", "pool")


def test_every_block_of_the_page_is_one_of_these(my_package):
    page, _ = my_package
    known = ("class Distil", "class ModelStitching", "ModelStitching.grid", "class TestDistil")
    known += ("local_run(", "class MyNetwork", "class OwnLoop", "class OldAnswers")
    assert all(any(words in block for words in known) for block in page)


def test_the_blocks_of_the_pages_on_changes_data_and_claims_can_be_written():
    for block in blocks(DOCS / "changing-a-method.md"):
        run(block)
    names = {"digits": digits, "parquet": parquet, "claims": claims, "small_vgg": small_vgg}
    for page in ("data.md", "claims.md"):
        for block in blocks(DOCS / page):
            masks, classifier, tuned = ({"method": name} for name in ("m", "c", "t"))
            run(block, **names, MASKS=masks, CLASSIFIER=classifier, TUNED=tuned)


# ---------------------------------------------------------------------- consoles and site files


def commands(page: Path) -> list[list[str]]:
    """What is typed in the consoles of a page, and in its shell scripts and code spans."""
    text = page.read_text()
    typed = re.findall(r"^\$ (.+?)(?:\s{2,}#.*)?$", "\n".join(blocks(page, "console")), re.M)
    for script in blocks(page, "bash"):
        typed += [line.strip() for line in script.splitlines() if line.strip().startswith("spolia")]
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    typed += [re.sub(r"\s+", " ", span) for span in re.findall(r"`(spolia [^`]+)`", prose)]
    split = []
    for line in typed:
        try:
            split.append(shlex.split(line.rstrip(" &\\")))
        except ValueError:  # half a quotation, as in prose
            split.append(line.split())
    return split


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_and_options_that_a_page_names_exist(page):
    program = typer.main.get_command(app)
    unknown = []
    for words in commands(page):
        if words[:1] != ["spolia"]:
            continue
        command, *rest = program, *words[1:]
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            unknown.append(" ".join(words))
        given = [word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)]
        unknown += [f"{option} in {' '.join(words)}" for option in given if option not in options]
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_targets_of_make_exist(page):
    targets = re.findall(r"^([\w-]+)(?: [\w-]+)*:", (ROOT / "Makefile").read_text(), re.M)
    targets += ["test-fast", "test", "test-all"]
    for words in commands(page):
        if words[:1] == ["make"]:
            named = [word for word in words[1:] if "=" not in word]
            assert set(named) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_of_site_files_exist(page):
    known = {field.name for field in fields(SiteFile)}
    for block in blocks(page, "toml"):
        read = tomllib.loads(block)
        if "project" not in read:
            assert set(read) <= known
