"""What a stored result is a result of, held against what its key means today: a key holds names and
changed settings, and the classes and defaults behind them may be others by now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.spec.canonical import canonical_json, to_json
from orchestrator.spec.method import Method
from orchestrator.spec.naming import class_paths, former_paths
from orchestrator.spec.trial import NetworkSpec, Trial
from orchestrator.store.code import code_of, own_files


def marks_of_another(trial: Trial, record: Mapping[str, Any]) -> Iterator[str]:
    """Why a record under the key of a trial is of another one, each reason with the way out: it has
    other settings in full, since a default changed without a new revision; or it was made by
    another class of the same name.

    What is a class and what a setting is told by where it stands in the trial, never by its form.
    """
    comparison = _Comparison(trial, record)
    for field in ("method", "network"):
        ours, theirs = getattr(trial, field), record["trial"][field]
        if ours is not None:
            yield from comparison.of(ours, theirs, ours.name)


class _Comparison:
    """Goes through a trial and a record of one key, side by side."""

    def __init__(self, trial: Trial, record: Mapping[str, Any]) -> None:
        made_by = record["provenance"]
        self._trial = trial
        self._files_then: Mapping[str, str] = made_by.get("files", {})
        self._digests_then: Mapping[str, str] = made_by.get("modules", {})

    def of(self, ours: Any, theirs: Any, place: str) -> Iterator[str]:
        """What is another thing in a method, a network or a setting and in its JSON; `place` is
        where it stands, for people.
        """
        if isinstance(ours, Method | NetworkSpec) and isinstance(theirs, Mapping):
            moved = former_paths(type(ours)) if isinstance(ours, Method) else ours.moved_from
            yield from self._of_class(ours.name, ours.path, theirs["path"], moved)
            if isinstance(ours, NetworkSpec):
                yield from self._inside(ours, dict(ours.settings), theirs["settings"], "", place)
                return
            for name, setting in ours.settings().items():
                if name in theirs["settings"]:  # else it is new, and at its default
                    yield from self.of(setting, theirs["settings"][name], f"{place}.{name}")
        elif isinstance(ours, tuple | frozenset) and _is_as_long(theirs, ours):
            for i, value in enumerate(_as_in_json(ours)):
                yield from self.of(value, theirs[i], f"{place}[{i}]")
        else:
            yield from self._of_setting(to_json(ours), theirs, place)

    def _inside(
        self, network: NetworkSpec, ours: Any, theirs: Any, at: str, place: str
    ) -> Iterator[str]:
        """The same of the settings of a network, which are JSON on both sides: a class stands where
        the network says so.
        """
        if at in network.class_places and isinstance(ours, str) and isinstance(theirs, str):
            yield from self._of_class(network.name, ours, theirs, network.moved_from)
        elif isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            for name in ours:
                if name in theirs:
                    below = f"{at}.{name}" if at else name
                    inner = (ours[name], theirs[name], below, f"{place}.{name}")
                    yield from self._inside(network, *inner)
        elif isinstance(ours, list | tuple) and _is_as_long(theirs, ours):
            for i, value in enumerate(ours):  # classes in a list stand where the list does
                yield from self._inside(network, value, theirs[i], at, f"{place}[{i}]")
        else:
            yield from self._of_setting(ours, theirs, place)

    def _of_setting(self, ours: Any, theirs: Any, place: str) -> Iterator[str]:
        if canonical_json(ours) != canonical_json(theirs):
            yield (
                f"{place}: the store's result {self._key} was made with {theirs!r}, the same key "
                f"now means {ours!r}. A default changed; raise the revision"
            )

    def _of_class(
        self, name: str, ours: str, theirs: str, moved_from: Sequence[str]
    ) -> Iterator[str]:
        """A class by two paths, or by one path that means two files with different code."""
        if theirs in moved_from or (ours == theirs and not self._is_another(ours)):
            return
        ours_at, theirs_at = ours, theirs
        if theirs_file := self._files_then.get(_module(theirs)):
            theirs_at = f"{theirs} ({theirs_file})"
        if ours_file := self._files_now.get(_module(ours)):
            ours_at = f"{ours} ({ours_file})"
        moved = "the class only moved" if ours != theirs else "it is the same class, edited since"
        yield (
            f"{name}: the store's result {self._key} was made with {theirs_at}, here the name "
            f"means {ours_at}. Rename one of the two; if {moved}, say so in it: "
            f"moved_from = ({theirs!r},)"
        )

    def _is_another(self, path: str) -> bool:
        """Whether a module of one name is another one today: it lies in another place and has other
        code. The same code in another place is the same thing (another checkout, another machine),
        and other code in the same place is an edit, which makes results stale.
        """
        module = _module(path)
        then = self._files_then.get(module)
        if then is None or self._files_now.get(module) in (None, then):
            return False
        return self._digests_then.get(module) != code_of(self._trial).modules.get(module)

    @property
    def _files_now(self) -> Mapping[str, str]:
        return own_files(class_paths(self._trial))

    @property
    def _key(self) -> str:
        return self._trial.key[:12]


def _module(path: str) -> str:
    """The module of `module:Class`."""
    return path.partition(":")[0]


def _is_as_long(theirs: Any, ours: Any) -> bool:
    return isinstance(theirs, list) and len(theirs) == len(ours)


def _as_in_json(values: tuple[Any, ...] | frozenset[Any]) -> list[Any]:
    """Values of a tuple or a set in the order in which JSON lists them."""
    if isinstance(values, frozenset):
        return sorted(values, key=lambda value: canonical_json(to_json(value)))
    return list(values)
