"""The shape of the program: rooms whose arrows run downwards, one outside service in one place, a
front door, functions that fit a screen.
"""

from __future__ import annotations

import ast
import functools
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import orchestrator

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("orchestrator", "methods", "sweeps")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]

# From the ground up: a room may import those before it, in its own line nothing but itself.
ROOMS = (
    "errors",
    "spec",
    "store",
    "data",
    "parts",
    "training",
    "testing",
    "planning",
    "executors",
    "analysis",
    "tracking",
    "session",
    "submission",
    "cli",
)
NOT_BESIDE = {"analysis": {"executors"}, "tracking": {"executors"}}
ABOVE_ALL = ("",)  # the front door, which loads late

# Imports for types that point up: a signature needs the name, nothing of it is called.
FOR_TYPES = {
    ("orchestrator.spec.method", "orchestrator.training.run"): "Method.train(run: Run)",
    ("orchestrator.spec.method", "orchestrator.spec.trial"): "Method.needs(trial: Trial)",
    ("orchestrator.spec.claim", "orchestrator.analysis.results"): "Claim.decide(results: Results)",
}

# The same among methods: a paper's main file shows its modules from top to bottom, and what prices,
# exports and reports one of them stands beside it.
GRAPH = "methods.nettailor.nettailor"
FOR_TYPES_IN_METHODS = {
    ("methods.nettailor.cost", GRAPH): "edge_costs(graph: TailoredGraph)",
    ("methods.nettailor.export", GRAPH): "plain(graph: TailoredGraph, ...)",
    ("methods.nettailor.report", GRAPH): "report(run, graph: TailoredGraph, ...)",
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Every file is read once."""
    return ast.parse(path.read_text())


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports_of(path: Path, *, for_types: bool) -> set[str]:
    """Modules of ours that a file imports anywhere in it, for types only or as it runs."""
    return all_imports_of(path)[for_types]


@functools.cache
def all_imports_of(path: Path) -> dict[bool, set[str]]:
    """The same, by whether it is for types only."""
    found: dict[bool, set[str]] = {False: set(), True: set()}
    # Imports are statements, and stand in no expression.
    waiting: list[tuple[ast.AST, bool]] = [(tree_of(path), False)]
    while waiting:
        node, under = waiting.pop()
        under = under or is_for_types(node)
        if isinstance(node, ast.Import):
            found[under] |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found[under].add(inner if inner in MODULES else str(node.module))
        elif not isinstance(node, ast.expr):
            waiting += [(child, under) for child in ast.iter_child_nodes(node)]
    return found


def ours(path: Path, *, for_types: bool = False) -> set[str]:
    """Those of them that this repository has; the front door is no module of a room."""
    found = {name for name in imports_of(path, for_types=for_types) if name in MODULES}
    return found - {"orchestrator"}


def room_of(module: str) -> str:
    top, _, rest = module.partition(".")
    assert top == "orchestrator"
    return rest.partition(".")[0]


CORE = {name: path for name, path in MODULES.items() if name.startswith("orchestrator")}
METHODS = {name: path for name, path in MODULES.items() if name.startswith("methods.")}
SHARED = ("methods.pieces", "methods.networks")


def modules_of(room: str) -> list[str]:
    found = [name for name in CORE if room_of(name) == room]
    assert found
    return found


def test_every_module_of_the_core_is_in_a_room():
    assert {room_of(name) for name in CORE} == {*ROOMS, *ABOVE_ALL}


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_run_downwards(room):
    allowed = set(ROOMS[: ROOMS.index(room) + 1]) - NOT_BESIDE.get(room, set())
    wrong = {
        f"{module} imports {name}, which is above or beside it"
        for module in modules_of(room)
        for name in ours(CORE[module])
        if room_of(name) not in allowed
    }
    assert not wrong


FRONT_DOOR = {"orchestrator", *(f"orchestrator.{name}" for name in orchestrator.__all__)}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_uses_neither_the_front_door_nor_a_name_that_no_reader_of_imports_sees(room):
    """Both could point upwards unseen: `from orchestrator import Run`, `import_module("...")`."""
    for module in modules_of(room):
        for for_types in (False, True):
            names = imports_of(CORE[module], for_types=for_types)
            assert not FRONT_DOOR & names, module
        for node in ast.walk(tree_of(CORE[module])):
            if isinstance(node, ast.Call) and ends_with_import_module(node.func):
                literal = [a.value for a in node.args if isinstance(a, ast.Constant)]
                assert not [n for n in literal if str(n).startswith("orchestrator")], module


def ends_with_import_module(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return str(name).endswith("import_module")


def test_imports_for_types_that_point_up_are_few_and_have_a_reason():
    found = set()
    for module, path in CORE.items():
        if room_of(module) not in ROOMS:
            continue
        for name in ours(path, for_types=True):
            up = ROOMS.index(room_of(name)) > ROOMS.index(room_of(module))
            if up or module in ours(MODULES[name]):
                found.add((module, name))
    assert found == set(FOR_TYPES)


def test_so_have_those_of_methods_that_close_a_circle():
    arrows = {name: ours(path) for name, path in METHODS.items()}
    found = set()
    for module, path in METHODS.items():
        for name in ours(path, for_types=True):
            if module in closure(name, arrows):
                found.add((module, name))
    assert found == set(FOR_TYPES_IN_METHODS)


def closure(module: str, arrows: dict[str, set[str]]) -> set[str]:
    """All modules that a module imports as it runs, directly or not."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = arrows.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("folder", ["orchestrator", "methods"])
def test_nothing_imports_each_other_in_a_circle(folder):
    arrows = {n: ours(p) for n, p in MODULES.items() if n.startswith(folder) and n != folder}
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module in done:
            return
        for name in sorted(arrows.get(module, ())):
            if name != module:
                walk(name, (*above, module))
        done.add(module)

    for module in arrows:
        walk(module, ())
    assert done >= set(arrows)


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "errors"])
def test_a_room_says_what_it_is_for_and_what_it_promises(room):
    docstring = ast.get_docstring(tree_of(ROOT / "orchestrator" / room / "__init__.py"))
    assert docstring
    assert "Imports" in docstring or "It imports" in docstring
    assert "Promise" in docstring


def importers(package: str) -> set[str]:
    found = set()
    for name, path in MODULES.items():
        names = imports_of(path, for_types=False) | imports_of(path, for_types=True)
        if any(one.partition(".")[0] == package for one in names):
            found.add(name)
    return found


def test_one_outside_service_one_place():
    # Two services: the Ray that runs trials, and the one that takes jobs from elsewhere.
    of_ray = {f"orchestrator.executors.ray.{name}" for name in ("cluster", "nodes", "tune_pool")}
    assert importers("ray") == {*of_ray, "orchestrator.submission.head"}
    assert {name.rpartition(".")[0] for name in importers("mlflow")} == {"orchestrator.tracking"}


def test_the_core_knows_no_method():
    found = importers("methods") | importers("sweeps")
    assert not [name for name in found if name.startswith("orchestrator")]


def folder_of(module: str) -> str:
    """`methods.piggyback` for every module of that folder, and for the folder itself."""
    return ".".join(module.split(".")[:2])


def test_methods_import_of_each_other_classes_and_what_is_public():
    """Of a folder its method's class, of a module in another paper's folder what has no underscore,
    of a method in one file its class only; `pieces` and `networks` are for all.
    """
    found = [
        (module, node)
        for module, path in METHODS.items()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("methods.")
    ]
    assert found
    for module, node in found:
        source, names = str(node.module), [alias.name for alias in node.names]
        told = f"{module} imports {names} from {source}"
        assert not any(part.startswith("_") for part in source.split(".")), told
        if folder_of(source) == folder_of(module):
            continue
        assert not any(name.startswith("_") for name in names), told
        if folder_of(source) not in SHARED and source.count(".") == 1:
            assert all(name[0].isupper() and not name.isupper() for name in names), told


def test_methods_and_sweeps_use_the_front_door_only():
    """What an author of methods in another package would need as well is offered there."""
    outside = {name: path for name, path in MODULES.items() if name not in CORE}
    assert outside
    for module, path in outside.items():
        for for_types in (False, True):
            inside = {name for name in imports_of(path, for_types=for_types) if name in CORE}
            assert inside <= {"orchestrator"}, f"{module} imports from inside: {sorted(inside)}"


def test_no_file_of_methods_begins_with_an_underscore():
    files = (ROOT / "methods").rglob("_*.py")
    assert {path.name for path in files} == {"__init__.py"}


def long_functions(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            first = node.body[0]
            docstring = 0
            if ast.get_docstring(node) is not None and first.end_lineno:
                docstring = first.end_lineno - first.lineno + 1
            lines = node.end_lineno - node.lineno + 1 - docstring
            if lines > 40:
                found.append(f"{node.name} in line {node.lineno} has {lines} lines")
    return found


def in_files(rule: Callable[[ast.AST], list[str]]) -> dict[str, list[str]]:
    """What a rule finds in our files, by file."""
    found = {str(path.relative_to(ROOT)): rule(tree_of(path)) for path in FILES}
    assert found
    return {file: told for file, told in found.items() if told}


def test_functions_fit_a_screen():
    assert in_files(long_functions) == {}


def test_what_counts_as_that_is_the_lines_without_the_docstring():
    body, docstring = "    x = 1\n", '    """' + "\n" * 50 + '    """\n'
    assert long_functions(ast.parse("def f():\n" + docstring + body * 39)) == []
    (told,) = long_functions(ast.parse("async def f():\n" + docstring + body * 40))
    assert told == "f in line 1 has 41 lines"


COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def packed_expressions(tree: ast.AST) -> list[str]:
    """What a reader has to unpack in the head: a choice over several lines, a comprehension that
    takes tuples of tuples apart or names a value on its way.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp) and (node.end_lineno or 0) > node.lineno:
            found.append(f"conditional expression over several lines, line {node.lineno}")
        if not isinstance(node, COMPREHENSIONS):
            continue
        targets = [loop.target for loop in node.generators if isinstance(loop.target, ast.Tuple)]
        if any(isinstance(part, ast.Tuple) for target in targets for part in target.elts):
            found.append(f"comprehension over tuples of tuples, line {node.lineno}")
        if any(isinstance(inner, ast.NamedExpr) for inner in ast.walk(node)):
            found.append(f"assignment expression in a comprehension, line {node.lineno}")
    return found


def test_no_line_has_to_be_unpacked_in_the_head():
    assert in_files(packed_expressions) == {}


@pytest.mark.parametrize(
    "code",
    [
        "x = (\n    1\n    if y\n    else 2\n)",
        "x = [a for a, (b, c) in pairs]",
        "x = {a for b in pairs if (a := f(b))}",
    ],
)
def test_what_counts_as_that(code):
    assert packed_expressions(ast.parse(code))


def test_a_rule_of_the_linter_that_is_switched_off_has_its_reason():
    settings = (ROOT / "pyproject.toml").read_text().partition("[tool.ruff.lint]")[2]
    ignored = settings.partition("ignore = [")[2].partition("]")[0].strip().splitlines()
    assert ignored
    assert not [line for line in ignored if not line.partition("#")[2].strip()]
    assert "per-file-ignores" not in settings


def test_formatting_is_nowhere_switched_off():
    switched_off = "fmt: " + "skip", "fmt: " + "off"
    for folder in (*FOLDERS, "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            assert not any(words in text for words in switched_off), path


def test_the_front_door_is_what_it_says():
    """One list for programs, one for type checkers, one of where things are: all the same."""
    path = ROOT / "orchestrator/__init__.py"
    block = next(node for node in ast.parse(path.read_text()).body if is_for_types(node))
    typed = {
        alias.name: str(node.module)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(typed) == set(orchestrator.__all__)
    assert len(orchestrator.__all__) == len(set(orchestrator.__all__))
    for name, module in typed.items():
        value = getattr(orchestrator, name)
        assert value is getattr(importlib.import_module(module), name), name
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    assert (ROOT / "orchestrator/py.typed").exists()


def test_a_name_that_the_front_door_does_not_have():
    with pytest.raises(AttributeError, match="no attribute 'Swep'"):
        orchestrator.Swep  # noqa: B018


def ran(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


@pytest.mark.process
def test_the_drivers_side_of_ray_is_there_without_ray_and_the_other_side_without_torch():
    program = "import sys\nimport orchestrator.executors.ray.driver\nprint('ray' in sys.modules)\n"
    assert ran(program) == "False\n"
    program = (
        "import sys\nimport orchestrator.executors.ray.served\nprint('torch' in sys.modules)\n"
    )
    assert ran(program) == "False\n"


@pytest.mark.process
def test_importing_does_nothing():
    """No thread, no file, no heavy package: planning must not touch Ray or MLflow."""
    program = (
        "import sys, threading, os; before = dict(os.environ)\n"
        "import orchestrator.cli, orchestrator.planning.plan, orchestrator.session.session\n"
        "import methods.recombine, methods.compatible_features\n"
        "heavy = ('ray', 'mlflow', 'matplotlib', 'torchvision', 'sklearn')\n"
        "print([m for m in heavy if m in sys.modules])\n"
        "print(threading.active_count(), before == dict(os.environ))"
    )
    assert ran(program).splitlines() == ["[]", "1 True"]


@pytest.mark.process
@pytest.mark.parametrize(
    "module",
    ["orchestrator", "orchestrator.cli", "orchestrator.session.session", "orchestrator.spec.sweep"],
)
def test_what_is_symbolic_starts_without_torch(module):
    assert ran(f"import sys, {module}; print('torch' in sys.modules)") == "False\n"


@pytest.mark.process
def test_a_sweep_written_through_the_front_door_loads_no_torch():
    program = (
        "import sys\n"
        "from orchestrator import Sweep, digits, product, union\n"
        "print('torch' in sys.modules)"
    )
    assert ran(program) == "False\n"
