"""What a name stands for: the classes behind the names of methods and networks that a trial uses.

A key holds names, not import paths, so that a class can move. So a name must stand for one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.spec.canonical import canonical_json
from orchestrator.spec.method import Method
from orchestrator.spec.trial import NetworkSpec, Trial


@dataclass(frozen=True)
class Named:
    """A name that enters a key and what it stands for there.

    `kind` is method or network. `paths` are `module:Class` of it and, for a network that is made
    of others, of the classes that its name stands for, too: those that it is made of by default.
    They are not in the key, whatever a sweep writes in their place. Neither are `defaults`, those
    of a network in canonical JSON.
    """

    kind: str
    name: str
    paths: tuple[str, ...]
    defaults: str = ""


def names_in(value: Any) -> Iterator[Named]:
    """Every method and network of a trial, a method, a network or a setting, outermost first."""
    for one in methods_and_networks(value):
        if isinstance(one, Method):
            yield Named("method", one.name, (one.path,))
        else:
            # Of the defaults alone, since they are the same wherever the name is: a class that
            # stands in their place is in the key.
            paths = (one.path, *one.classes_in(one.defaults))
            yield Named("network", one.name, paths, canonical_json(dict(one.defaults)))


def class_paths(trial: Trial) -> tuple[str, ...]:
    """`module:Class` of every method and network that a trial names, those among settings and
    inside other networks too, in order of the alphabet.
    """
    paths = set()
    for one in methods_and_networks(trial):
        paths.add(one.path)
        if isinstance(one, NetworkSpec):
            paths.update(one.classes_in(one.settings))
    return tuple(sorted(paths))


def networks_in(value: Any) -> Iterator[NetworkSpec]:
    """Every network of a trial, a method or a setting: those among settings, too."""
    for one in methods_and_networks(value):
        if isinstance(one, NetworkSpec):
            yield one


def methods_and_networks(value: Any) -> Iterator[Method | NetworkSpec]:
    """Every method and network of a trial, a method, a network or a setting, outermost first. They
    are known by their types: a text that looks like the path of a class is a text.
    """
    if isinstance(value, Trial):
        yield from methods_and_networks(value.method)
        yield from methods_and_networks(value.network)
    elif isinstance(value, Method):
        yield value
        for setting in value.settings().values():
            yield from methods_and_networks(setting)
    elif isinstance(value, NetworkSpec):
        yield value
    elif isinstance(value, tuple | list | frozenset):
        for inner in value:
            yield from methods_and_networks(inner)


def former_paths(cls: type) -> tuple[str, ...]:
    """What a class says of itself as `moved_from`; what its bases say is not about it."""
    former: tuple[str, ...] = vars(cls).get("moved_from", ())
    return former


def reference_of(key: str, name: str, labels: Mapping[str, str]) -> str:
    """What a component of a trial is called in any store.

    Example: `reference_of("8c1f20", "network", {"task": "a"})` is `8c1f20/network?task=a`.
    """
    told = "&".join(f"{label}={value}" for label, value in labels.items())
    return f"{key}/{name}" + (f"?{told}" if told else "")
