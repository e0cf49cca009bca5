"""Holding a method that lies somewhere to its contract, and saying what to change: what
`spolia check-method` does. Needs no pytest.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import InputError, MethodError, SpoliaError
from orchestrator.spec.method import Method
from orchestrator.spec.registry import installed, is_method, modules_below
from orchestrator.testing.killing import Reference, reference_of, smoke_trial
from orchestrator.testing.notebook_code import method_from_notebook
from orchestrator.testing.rules import RULES
from orchestrator.testing.small_network import small_network

# What to write where a class is refused when it is defined, by words of the reason.
ADVICE = {
    "lower-case identifier": 'Write name = "my_method": it stands in keys, tables and commands.',
    "is not a count": "Write revision = 1, and one more whenever the same settings train to other "
    "bits.",
    "is not roles": 'Write tasks = roles("task"), or roles("tasks", at_least=1).',
    "base_role": "Name one of the roles in tasks, or leave base_role out.",
    "uses names": 'Write uses = frozenset({"network", "tasks", "seed"}), or less of it.',
    "is not a tuple of": "Write a tuple, with its comma: metrics = (Metric(...),).",
    "declares a name twice": "Give each its own name; labels go into by=(...).",
    "train is missing": "Write def train(self, run): with the algorithm, top to bottom.",
    "cannot be resolved": "Import what the annotation names at the top of the module.",
    "the name is taken": "Rename the setting.",
    "has no default": "Write field: type = axis(default, over=(...), help=...).",
    "default must be": "Take a tuple in place of a list, and settings in place of a dictionary.",
    "setting": "Give it one of the documented types, and values of that type.",
}
NO_METHOD = ("test_", "conftest", "setup", "sweep")  # as names of modules begin
DEFINED, IMPORTED, RUNS, NOTED = (
    "a class is a method as it is defined",
    "the module can be imported",
    "its smoke trial runs",
    "what users look for is there",
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """How a method, or the module that should define it, stands to a rule. `problem` is empty where
    it keeps it. A `note` breaks nothing.
    """

    subject: str
    rule: str
    problem: str = ""
    change: str = ""
    is_note: bool = False


def check(path: Path, name: str = "") -> Iterator[Finding]:
    """All findings of a file, a package or a notebook, one after another; `name` chooses one
    method. Raises InputError where there is nothing of the kind at the path, or no method in it.
    """
    methods: list[type[Method]] = []
    for finding in _found_in(path, name):
        if isinstance(finding, Finding):
            yield finding
        else:
            methods.append(finding)
    if name:
        methods = [method for method in methods if method.name == name]
    for method in methods:
        yield from _of_method(method)


def _found_in(path: Path, name: str) -> Iterator[Finding | type[Method]]:
    """The methods at a path, and what keeps a module from being imported."""
    any_module = False
    for module_name in _module_names(path, name):
        for found, module in modules_below(module_name):
            any_module = True
            if isinstance(module, BaseException):
                yield from _not_imported(found, module)
                continue
            for value in vars(module).values():
                if is_method(value) and value.__module__ == found:
                    yield value
    if not any_module:
        raise InputError(f"{path} is no module, package or notebook with a method")


def _module_names(path: Path, name: str) -> list[str]:
    """Names under which what is at a path can be imported from now on."""
    if path.suffix == ".ipynb":
        text = method_from_notebook(path, name)
        folder = Path(tempfile.mkdtemp(prefix="spolia-check-"))
        module = f"from_{path.stem}".replace("-", "_").replace(" ", "_")
        (folder / f"{module}.py").write_text(text)
        return [_importable_from(folder, module)]
    if path.is_dir() and not (path / "__init__.py").exists():
        packages = [file.parent for file in sorted(path.glob("*/__init__.py"))]
        packages += [file.parent for file in sorted(path.glob("src/*/__init__.py"))]
        # Without a package, the modules beside each other; what is run by its name defines none.
        modules = [
            file for file in sorted(path.glob("*.py")) if not file.stem.startswith(NO_METHOD)
        ]
        found = packages or modules
        return [_importable_from(one.parent.resolve(), one.stem) for one in found]
    if not (path.is_dir() or path.suffix == ".py") or not path.exists():
        raise InputError(f"{path} is no module, package or notebook")
    path = path.resolve()
    parts = [path.stem if path.is_file() else path.name]
    folder = path.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    if parts[-1] == "__init__":
        parts.pop()
    return [_importable_from(folder, ".".join(parts))]


def _importable_from(folder: Path, module: str) -> str:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return module


def _not_imported(module: str, error: BaseException) -> Iterator[Finding]:
    if isinstance(error, MethodError):
        first, *problems = str(error).splitlines()
        for problem in problems or [first]:
            change = next((advice for words, advice in ADVICE.items() if words in problem), "")
            yield Finding(module, DEFINED, problem.strip().removeprefix("- "), change)
        return
    own = [
        place
        for place in traceback.extract_tb(error.__traceback__)
        if not place.filename.startswith("<frozen")
    ]
    where = f"{own[-1].filename}, line {own[-1].lineno}: " if own else ""
    yield Finding(
        module,
        IMPORTED,
        f"{where}{type(error).__name__}: {error}",
        "Importing may have no side effects and may need nothing that is not installed.",
    )


def _of_method(method: type[Method]) -> Iterator[Finding]:
    subject = f"{method.name} ({method.__module__}:{method.__qualname__})"
    yield from (Finding(subject, NOTED, *note, is_note=True) for note in _notes(method))
    with tempfile.TemporaryDirectory(prefix="spolia-check-") as folder:
        try:
            network = small_network() if "network" in method.uses else None
            reference = reference_of(smoke_trial(method, network=network), Path(folder, "trial"))
        # Whatever an author's code raises where it is asked for needs or checks.
        except Exception as error:
            yield Finding(
                subject,
                RUNS,
                _last_lines(str(error) or type(error).__name__),
                "Give settings a smoke value with which a trial of one task a role runs in "
                "seconds: axis(30, smoke=1). A trial of your own can be held to the contract in a "
                "test: see MethodContract.",
            )
            return
        yield Finding(subject, RUNS)
        yield from _of_rules(subject, reference, Path(folder))


def _of_rules(subject: str, reference: Reference, folder: Path) -> Iterator[Finding]:
    for number, rule in enumerate(RULES):
        own = folder / f"rule{number}"
        own.mkdir()
        try:
            rule.check(reference, own)
        except (AssertionError, SpoliaError) as error:
            yield Finding(subject, rule.says, _last_lines(str(error)), rule.change)
        else:
            yield Finding(subject, rule.says)


def _notes(method: type[Method]) -> Iterator[tuple[str, str]]:
    """What is missing and breaks nothing, each with what to write."""
    if not (method.__doc__ or "").strip() or dataclasses.fields(method) == ():
        yield "the class has no docstring or no setting", "Both are shown by spolia methods."
    silent = [f.name for f in dataclasses.fields(method) if not f.metadata.get("help")]
    if silent:
        yield f"settings without help: {', '.join(silent)}", 'Write axis(..., help="...").'
    if method.metrics and not any(metric.headline for metric in method.metrics):
        yield "no metric is a headline", "Tables show Metric(..., headline=True) first."
    if installed().methods.get(method.name) is not method:
        yield (
            "no entry point names its package",
            "spolia methods lists it behind one of the group spolia.methods in pyproject.toml; "
            "sweeps find it without.",
        )


def _last_lines(text: str, most: int = 14) -> str:
    """The end of a message, where a traceback has its reason."""
    lines = text.strip().splitlines()
    return "\n".join(lines if len(lines) <= most else ["...", *lines[-most:]])
