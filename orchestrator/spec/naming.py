"""What a name stands for: the classes behind the names of methods and networks that a trial uses.

A key holds names, not import paths, so that a class can move. So a name must stand for one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.spec.classes import is_class_path
from orchestrator.spec.method import Method
from orchestrator.spec.trial import NetworkSpec, Trial


@dataclass(frozen=True)
class Named:
    """A name that enters a key and what it stands for there.

    `kind` is method or network. `paths` are `module:Class` of it and, for a network that is made
    of another, of the classes that its name stands for, too: those among its default settings,
    which are not in the key. `moved_from` are paths that they had before.
    """

    kind: str
    name: str
    paths: tuple[str, ...]
    moved_from: tuple[str, ...]


def names_in(value: Any) -> Iterator[Named]:
    """Every method and network of a trial, a method, a network or a setting, outermost first."""
    if isinstance(value, Trial):
        yield from names_in(value.method)
        yield from names_in(value.network)
    elif isinstance(value, Method):
        yield Named("method", value.name, (value.path,), former_paths(type(value)))
        for setting in value.settings().values():
            yield from names_in(setting)
    elif isinstance(value, NetworkSpec):
        settings = dict(value.settings)
        defaults = [v for k, v in value.defaults if k in settings and settings[k] == v]
        yield Named("network", value.name, (value.path, *_paths_in(defaults)), value.moved_from)
    elif isinstance(value, tuple | list | frozenset):
        for inner in value:
            yield from names_in(inner)


def class_paths(trial: Trial) -> tuple[str, ...]:
    """`module:Class` of every method and network that a trial names, those among settings too, in
    order of the alphabet.
    """
    return tuple(sorted({*_paths_in(trial.method), *_paths_in(trial.network)}))


def network_paths(trial: Trial) -> tuple[str, ...]:
    """The same of networks only."""
    networks = [trial.network, *_networks_in(trial.method)]
    return tuple(sorted({path for network in networks for path in _paths_in(network)}))


def former_paths(cls: type) -> tuple[str, ...]:
    """What a class says of itself as `moved_from`; what its bases say is not about it."""
    return tuple(vars(cls).get("moved_from", ()))


def _networks_in(value: Any) -> Iterator[NetworkSpec]:
    if isinstance(value, NetworkSpec):
        yield value
    elif isinstance(value, Method):
        for setting in value.settings().values():
            yield from _networks_in(setting)
    elif isinstance(value, tuple | list | frozenset):
        for inner in value:
            yield from _networks_in(inner)


def _paths_in(value: Any) -> Iterator[str]:
    """Paths of classes in a method, a network or a setting, at any depth. A network among another's
    settings is a path, or a mapping that holds one.
    """
    if isinstance(value, Method):
        yield value.path
        yield from _paths_in(tuple(value.settings().values()))
    elif isinstance(value, NetworkSpec):
        yield value.path
        yield from _paths_in(tuple(setting for _, setting in value.settings))
    elif isinstance(value, Mapping):
        yield from _paths_in(tuple(value.values()))
    elif isinstance(value, tuple | list | frozenset):
        for inner in value:
            yield from _paths_in(inner)
    elif is_class_path(value):
        yield value
