"""new-method and check-method: for those who write methods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from orchestrator.cli.options import FAILED, console
from orchestrator.spec.wording import short

TEMPLATE = "new_method.txt"
MODULE = "new_method_module.txt"
LETTERS = "it has lower-case letters, digits and _, and begins with a letter"


def new_method(
    name: Annotated[
        str, typer.Argument(help="Its name, such as label_smoothing.", show_default=False)
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--to", help="The folder to write.", show_default="spolia-NAME in this folder"
        ),
    ] = None,
    notebook: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="NOTEBOOK",
            help="Take the class, and what it uses, out of this notebook.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a package for a method of your own. It has a class to replace with yours, a sweep and
    tests; it installs and runs as it is.
    """
    from orchestrator.errors import InputError

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"{name!r} cannot be the name of a method: {LETTERS}")
    _refuse_taken(name)
    target = folder or Path(f"spolia-{name.replace('_', '-')}")
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        raise InputError(f"{target} is there already; nothing was written")
    for path, content in _files(name, notebook).items():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    console.print(f"Wrote {short(target)}. Now:")
    for command in (
        f"pip install --editable {target}",
        f"spolia check-method {target}",
        f"spolia run --smoke {target / f'{name}_sweep.py'}",
    ):
        console.print(f"  {command}", soft_wrap=True)


def _refuse_taken(name: str) -> None:
    from orchestrator.errors import InputError
    from orchestrator.spec.registry import discover

    if (other := discover().get(name)) is not None:
        raise InputError(
            f"there is a method called {name!r} already, {other.__module__}.{other.__qualname__}; "
            "results go by the name, so take another"
        )


def _files(name: str, notebook: Path | None) -> dict[str, str]:
    """The files of the package by their path, as the template has them."""
    folder = Path(__file__).parent
    module = (folder / MODULE).read_text()
    class_name = "".join(word.capitalize() for word in name.split("_"))
    if notebook is not None:
        module, class_name = _from_notebook(notebook, name)
    words = {
        "name": name,
        "package": f"spolia_{name}",
        "dashed": f"spolia-{name.replace('_', '-')}",
        "Class": class_name,
    }
    words["module"] = _filled(module, words)
    _, *sections = re.split(r"^=== (.+)\n", (folder / TEMPLATE).read_text(), flags=re.M)
    return {
        _filled(path, words): (_filled(content, words).strip() + "\n").lstrip()
        for path, content in zip(sections[::2], sections[1::2], strict=True)
    }


def _from_notebook(notebook: Path, name: str) -> tuple[str, str]:
    """A notebook's method as a module, and the name of its class."""
    from orchestrator.testing.notebook_code import method_from_notebook

    text = method_from_notebook(notebook, name)
    found = re.search(
        rf"^class (\w+)[^\n]*:(?:(?!^class ).)*?^    name = ['\"]{name}['\"]", text, re.M | re.S
    )
    assert found is not None
    return text, found.group(1)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda found: words[found.group(1)], text)


def check_method(
    path: Annotated[
        Path,
        typer.Argument(help="A module, a package, its folder, or a notebook.", show_default=False),
    ],
    name: Annotated[
        str,
        typer.Option(help="One method, where there are several.", show_default="all"),
    ] = "",
) -> None:
    """Hold methods to their contract on a small trial. For each broken rule it says what to change.
    It takes seconds to a minute.
    """
    from orchestrator.testing.checking import Finding, check

    broken: list[Finding] = []
    subject = ""
    for finding in check(path, name):
        if finding.subject != subject:
            subject = finding.subject
            console.print(Text(f"\n{subject}", style="bold"))
        for line in _lines(finding):
            console.print(line, soft_wrap=True)
        if finding.problem and not finding.is_note:
            broken.append(finding)
    if broken:
        console.print(Text(f"\n{len(broken)} broken", style="red"))
        raise typer.Exit(FAILED)
    if path.suffix == ".ipynb":
        console.print("\nspolia new-method NAME --from NOTEBOOK makes a package of it.")


def _lines(finding: object) -> Iterator[Text]:
    """How a finding is shown: whether the rule is kept, the problem, what to change."""
    from orchestrator.testing.checking import Finding

    assert isinstance(finding, Finding)
    if not finding.problem:
        yield Text.assemble(("  ok      ", "green"), finding.rule)
        return
    mark = ("  note    ", "yellow") if finding.is_note else ("  broken  ", "red")
    yield Text.assemble(mark, finding.rule)
    for line in finding.problem.splitlines():
        yield Text(f"          {line}")
    if finding.change:
        yield Text(f"          -> {finding.change}")
