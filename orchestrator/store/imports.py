"""Which modules a file of Python imports, read off its syntax tree: of those whose code may be a
trial's, and each name followed to the module that defines it.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from orchestrator.spec.classes import OURS, is_of_a_distribution

INSTALLED = {"site-packages", "dist-packages"}  # folders of packages that were installed
FOR_TYPES = ("TYPE_CHECKING", "typing.TYPE_CHECKING")  # what follows such an `if` never runs
PASSING_ON = (  # statements of an `__init__` that change nothing for anybody else
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.AnnAssign,
    ast.Pass,
)


def imported_modules(tree: ast.Module, package: str) -> set[str]:
    """Modules that a file imports anywhere as it runs, of those that are followed. A name that a
    package's `__init__` only passes on stands for the module that defines it, never for the whole
    package.
    """
    own = package.partition(".")[0]
    found: set[str] = set()
    for node in _as_it_runs(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_followed(alias.name, own):
                    found |= _behind_attributes(tree, alias)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(node, package)
            if _is_followed(origin, own):
                for alias in node.names:
                    found |= _behind(origin, alias.name)
    return found


def _is_followed(module: str, own: str) -> bool:
    """Whether an imported module may hold code of the trial: one of ours, of the importer's own
    top package, of a package that an entry point names, or of anything else that is not installed,
    beside the sweep or wherever else Python looks.

    What a process trusts to load from is no matter here: that differs between a driver, its workers
    and a notebook, and the code of a trial must not.
    """
    top = module.partition(".")[0]
    return top in (*OURS, own) or is_of_a_distribution(top) or not is_installed(top)


def is_installed(top: str) -> bool:
    """Whether a top-level package or module came with Python or was installed: it changes with its
    version and is nobody's to edit. What cannot be found counts as installed.
    """
    if top in sys.stdlib_module_names:
        return True
    spec = _spec_of(top)
    if spec is None or spec.origin in (None, "built-in", "frozen"):
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        return not places or _holds_installed(Path(places[0]).parent)
    file = Path(str(spec.origin))
    is_package = spec.submodule_search_locations is not None
    return _holds_installed(file.parent.parent if is_package else file.parent)


@lru_cache(maxsize=256)
def _holds_installed(folder: Path) -> bool:
    """Whether a folder is one that packages are installed in, whatever it is called: installers
    leave what they know of a package beside it.
    """
    return bool(INSTALLED & {*folder.parts}) or any(folder.glob("*.dist-info"))


def _as_it_runs(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in FOR_TYPES:
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The module after `from`, dots resolved."""
    if not node.level:
        return str(node.module)
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _behind(origin: str, name: str) -> set[str]:
    """The module that `from origin import name` takes its name from."""
    # A module of the package, not a name in its `__init__`.
    if source_file(f"{origin}.{name}") is not None:
        return {f"{origin}.{name}"}
    file = source_file(origin)
    if file is None or file.name != "__init__.py" or name == "*":
        return {origin}
    found: set[str] = set()
    # What is there for type checkers is followed, too: it loads late. And so is every place where a
    # name may come from (`except ImportError`): which it is, differs between machines.
    for node in ast.walk(_tree_of(file)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    found |= _behind(_absolute(node, origin), alias.name)
    return found or {origin}


def _behind_attributes(tree: ast.Module, alias: ast.alias) -> set[str]:
    """Modules behind `import package` and `import package.module`: those that define the names that
    are taken from it. The second one gives the name of the package, too.
    """
    parts = alias.name.split(".")
    reached = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    called = {alias.asname: alias.name} if alias.asname else {name: name for name in reached}
    found: set[str] = set()
    for name, module in called.items():
        if _is_package(module):
            for attribute in _taken_from(tree, name):
                if f"{module}.{attribute}" not in reached:
                    found |= _behind(module, attribute)
    is_taken_apart = _is_package(alias.name) and bool(found)
    return found if is_taken_apart else {*found, alias.name}


def _taken_from(tree: ast.Module, name: str) -> set[str]:
    """The attributes that a file takes from a module that it calls so."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == name
    }


def packages_that_act(module: str) -> list[str]:
    """The packages around a module whose `__init__`, which is executed before it, does more than
    pass names on: it may change what others compute.
    """
    parts = module.split(".")
    packages = [".".join(parts[:count]) for count in range(1, len(parts))]
    files = {package: source_file(package) for package in packages}
    return [name for name, file in files.items() if file and _file_acts(file, *stamp(file))]


@lru_cache(maxsize=256)
def _file_acts(file: Path, changed: int, size: int) -> bool:
    return _acts(_tree_of(file).body)


def stamp(file: Path) -> tuple[int, int]:
    """Time and size of a file, by which a changed one is known from what was read before."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def _acts(body: Iterable[ast.stmt]) -> bool:
    """Whether statements do anything but import, define and give names to values."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            inside = [*node.body, *node.orelse]
            if isinstance(node, ast.Try):
                inside += [*node.finalbody, *(one for h in node.handlers for one in h.body)]
            if _acts(inside):
                return True
        elif isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Constant):
                return True
        elif isinstance(node, ast.Assign):
            if not all(isinstance(target, ast.Name) for target in node.targets):
                return True
        elif not isinstance(node, PASSING_ON):
            return True
    return False


def _tree_of(file: Path) -> ast.Module:
    """The syntax tree of a file; an empty one where it is written for another Python."""
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def _is_package(module: str) -> bool:
    file = source_file(module)
    return file is not None and file.name == "__init__.py"


def source_file(module: str) -> Path | None:
    """The Python file of a module that can be imported, or None."""
    top = module.partition(".")[0]
    if top not in OURS and _spec_of(top) is None:
        return None
    spec = _spec_of(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _spec_of(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    # Asking for a module imports the packages around it: somebody else's code, whatever it raises.
    except Exception:
        return None
