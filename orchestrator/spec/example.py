"""A sweep that uses a method, as a user would begin to write it: for `spolia methods NAME`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from orchestrator.spec.canonical import coerce
from orchestrator.spec.method import Method
from orchestrator.spec.settings import settings_default, settings_of
from orchestrator.spec.trial import NetworkSpec

SEEDS = 3
WIDTH = 72  # of a line of the product
NETWORK = "resnet8(width=8)"


def example_sweep(method: type[Method]) -> str:
    """The text of a sweep file with one axis of a method, if it has one worth trying, and with the
    settings that it cannot do without.
    """
    imports = {(method.__module__, method.__name__)}
    written = []
    axis = _axis_worth_trying(method)
    for name, value in _needed(method).items():
        if name != axis[0]:
            written.append(f"{name}={_code(value, imports)}")
    if axis[1]:
        listed = ", ".join(_code(value, imports) for value in axis[1])
        written.append(f"{axis[0]}=[{listed}]")
    body = _call(f"{method.__name__}.grid", written)
    count = max(len(axis[1]), 1)
    if "network" in method.uses:
        imports.add(("methods.networks", "resnet8"))
        body.append(f"network={NETWORK},")
    if "tasks" in method.uses:
        body += ["tasks=(", *(f"    {task}," for task in _tasks(method)), "),"]
    if "seed" in method.uses:
        body.append(f"seed=range({SEEDS}),")
        count *= SEEDS
    names = "Sweep, digits, product" if "tasks" in method.uses else "Sweep, product"
    imports.add(("orchestrator", names))
    return "\n".join(
        [
            f'"""What does {method.name} do?"""',
            "",
            *(f"from {module} import {name}" for module, name in sorted(imports)),
            "",
            "sweep = Sweep(",
            "    question=__doc__,",
            "    cells=product(",
            *(f"        {line}" for line in body),
            "    ),",
            f"    expect={count},",
            ")",
        ]
    )


def _call(function: str, arguments: list[str]) -> list[str]:
    """A call on one line, or where that is too long, with an argument a line."""
    line = f"{function}({', '.join(arguments)}),"
    if len(line) <= WIDTH:
        return [line]
    return [f"{function}(", *(f"    {argument}," for argument in arguments), "),"]


def _axis_worth_trying(method: type[Method]) -> tuple[str, list[Any]]:
    """A setting and two values of it; none, where no setting has two."""
    for field in dataclasses.fields(method):
        values = list(field.metadata["over"])[:2]
        if len(values) == 2:
            kind = settings_of(method)[field.name]
            return field.name, [coerce(value, kind) for value in values]
    return "", []


def _needed(method: type[Method]) -> dict[str, Any]:
    """Smoke values of settings that are empty by default, such as the methods that a measurement
    takes its networks from.
    """
    smoke = method.smoke().settings()
    return {
        name: value
        for name, value in smoke.items()
        if value and settings_default(method, name) in ((), None, "")
    }


def _tasks(method: type[Method]) -> Iterator[str]:
    """Tasks for all roles: sets of digits that overlap, from disjoint images."""
    roles = method.tasks
    count = max(roles.at_least, 2 if roles.more else len(roles.names))
    names = roles.names if len(roles.names) == count else "abcdefgh"[:count]
    for place, name in enumerate(names):
        classes = f"0, 1, 2, {3 + 2 * place}, {4 + 2 * place}"
        yield f'digits.classes({classes}).images({place}, of={count}).named("{name}")'


def _code(value: Any, imports: set[tuple[str, str]]) -> str:
    """A setting's value as Python; adds what has to be imported for it."""
    if isinstance(value, Method):
        imports.add((type(value).__module__, type(value).__name__))
        settings = value.changed_settings().items()
        changed = ", ".join(f"{name}={_code(inner, imports)}" for name, inner in settings)
        return f"{type(value).__name__}({changed})"
    if isinstance(value, NetworkSpec):
        imports.add(("methods.networks", value.name))
        changed = ", ".join(f"{name}={inner!r}" for name, inner in value.settings)
        return f"{value.name}({changed})"
    if isinstance(value, tuple | frozenset):
        inner = [
            _code(one, imports)
            for one in (sorted(value) if isinstance(value, frozenset) else value)
        ]
        return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
    return repr(value)
