"""Reading a sweep file: importing it by its path, with errors that point into it."""

from __future__ import annotations

import ast
import importlib.util
import re
import traceback
from pathlib import Path
from types import ModuleType

from orchestrator.errors import InputError, SweepError, nearest
from orchestrator.spec.classes import (
    SWEEP_MODULE,
    allow_folder,
    is_of_a_distribution,
    of_another_sweep,
)
from orchestrator.spec.misspelt import meant
from orchestrator.spec.shadowing import shadowing
from orchestrator.spec.sweep import Sweep

OWN_CODE = Path(__file__).resolve().parents[1]


def load_sweep(file: str | Path) -> tuple[str, Sweep]:
    """Name and sweep of a sweep file: its name without `.py`, and its variable `sweep`.

    Raises SweepError, with the line where there is one, for a file that is missing, does not
    import, or has no sweep.
    """
    path = Path(file)
    if not path.is_file():
        raise SweepError(_missing(path))
    module = _imported(path)
    sweep = getattr(module, "sweep", None)
    if not isinstance(sweep, Sweep):
        raise SweepError(_without_sweep(path, module))
    return path.stem, sweep


def _without_sweep(path: Path, module: ModuleType) -> str:
    """That a file has no sweep where one is looked for, and what to write there."""
    sweep = getattr(module, "sweep", None)
    kind = type(sweep).__name__
    problem = "has no variable 'sweep'" if sweep is None else f"has a 'sweep' that is {kind}"
    others = [name for name, value in vars(module).items() if isinstance(value, Sweep)]
    if len(others) == 1:
        return f"{path} {problem}, but a Sweep called {others[0]!r}: call that one sweep."
    if others:
        names = ", ".join(map(repr, others))
        return f"{path} {problem}, but the Sweeps {names}. A file has one, called sweep."
    return (
        f"{path} {problem}. A sweep file ends with: "
        "sweep = Sweep(question=__doc__, cells=product(...), expect=...)"
    )


def _missing(path: Path) -> str:
    """That there is no such file, with the nearest one: in the folder that it names, the folder
    that it would lie in, or `sweeps/`.
    """
    message = f"there is no sweep file {str(path)!r}."
    for folder in (path, path.parent, Path("sweeps")):
        siblings = sorted(str(sibling) for sibling in folder.glob("*.py"))
        if siblings:
            return f"{message} {nearest(str(path), siblings)}"
    return f"{message} A sweep file ends in .py."


def _imported(path: Path) -> ModuleType:
    """The module of a sweep file, executed. Raises SweepError for whatever goes wrong in it."""
    allow_folder(path.parent)  # modules beside a sweep may hold its methods and networks
    if others := _hidden_beside(path):
        raise SweepError(f"{path} cannot be read in this process:", others)
    # A name of its own, and not in `sys.modules`: a sweep
    # file is read, it is no module of anybody's.
    name = f"{SWEEP_MODULE}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    if spec is None or spec.loader is None:
        raise SweepError(f"{path} is not a Python file; a sweep file ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        # Not by the loader, which would leave a `__pycache__` beside the question.
        source = path.read_bytes()
        exec(compile(source, str(path.absolute()), "exec", dont_inherit=True), vars(module))
    except SyntaxError as error:
        text = (error.text or "").strip()
        # Of some errors Python knows no line: of a zero byte, say.
        place = f"{path}, line {error.lineno}" if error.lineno else str(path)
        raise SweepError(f"{place}: {error.msg}" + (f"\n    {text}" if text else "")) from error
    except InputError as error:
        raise SweepError(f"{_where(error, path)}: {error.summary}", error.problems) from error
    except Exception as error:
        message = f"{_where(error, path)}: {type(error).__name__}: {error}"
        hidden = shadowing(error) if isinstance(error, ImportError) else None
        hint = hidden or meant(error)
        raise SweepError(f"{message}. {hint}" if hint else message) from error
    return module


def _hidden_beside(path: Path) -> list[str]:
    """Modules beside a sweep file which it imports, or which those do, but would not get: a sweep
    of another folder, read before, has brought its own of that name.
    """
    folder = path.parent
    others = {name: of_another_sweep(name, folder) for name in sorted(_beside(path, folder))}
    return [
        f"it imports {name}, which lies beside it, but {other} was imported under that name "
        f"before; rename one of them, or read the two sweeps in two processes"
        for name, other in others.items()
        if other is not None
    ]


def _beside(path: Path, folder: Path) -> set[str]:
    """Top-level modules and packages in a folder that a file imports, or that those import."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        for name in sorted(imported_names(waiting.pop()) - found):
            files = [*folder.glob(f"{name}.py"), *(folder / name).rglob("*.py")]
            if files and not is_of_a_distribution(name):
                found.add(name)
                waiting += files
    return found


def imported_names(file: Path) -> set[str]:
    """Names of the top-level modules that a file imports anywhere."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # told, with its line, when the file is executed
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _where(error: BaseException, path: Path) -> str:
    """The file, and its line that the error came through last, if it came through it; and where it
    went on to a module beside the file, the last line there.
    """
    file = path.absolute()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    line = _line_of_argument(file, lines[-1], str(error)) if lines else None
    place = f"{path}, line {line}" if line else str(path)
    beside = [one for one in frames if _is_beside(Path(one.filename), file)]
    if beside and beside[-1].filename != str(file):
        within = Path(beside[-1].filename).relative_to(file.parent)
        place += f" ({within}, line {beside[-1].lineno})"
    return place


_ARGUMENT = re.compile(r"(?:unexpected keyword argument|has no setting) '(\w+)'")


def _line_of_argument(file: Path, line: int | None, message: str) -> int | None:
    """The line of the argument that an error is about, if the file has one such; else the `line`
    itself. Of a call of several lines Python tells only the first, and a grid's settings are looked
    at where the sweep is made.
    """
    found = _ARGUMENT.search(message)
    if found is None:
        return line
    places = [
        (call.lineno, call.end_lineno or call.lineno, argument.value.lineno)
        for call in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(call, ast.Call)
        for argument in call.keywords
        if argument.arg == found[1]
    ]
    # Of several, those of the call that the error came through.
    for candidates in (places, [one for one in places if line and one[0] <= line <= one[1]]):
        if len(candidates) == 1:
            return candidates[0][2]
    return line


def _is_beside(module: Path, file: Path) -> bool:
    """Whether a module is its author's as the sweep file is, and not installed."""
    is_installed = "site-packages" in module.parts or module.is_relative_to(OWN_CODE)
    return module.is_relative_to(file.parent) and not is_installed
