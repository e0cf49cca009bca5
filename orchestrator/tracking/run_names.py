"""What the runs of a sweep are called, and their params: what differs comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.spec.canonical import is_number, show
from orchestrator.spec.labels import AxisValue, short_names
from orchestrator.spec.method import Method
from orchestrator.spec.trial import Cell, Trial, needs_first

if TYPE_CHECKING:
    from orchestrator.planning.plan import Plan

SEPARATOR = " · "

# What tells two needs of one name apart, the first of these in which they differ.
_TELLING: Sequence[Callable[[Trial], str]] = (
    lambda trial: trial.method.name,
    lambda trial: " + ".join(task.name for task in trial.tasks),
    lambda trial: trial.network.label if trial.network else "",
    lambda trial: trial.method.label,
    lambda trial: trial.key[:8],
)


class RunNames:
    """Names and params of the runs of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._short = plan, short_names(plan.axes)
        self._bare = _named_by_value(plan)
        # Of every need the values that all cells behind which it stands have in common, by axis;
        # None where they differ.
        self._shared: dict[str, dict[str, AxisValue | None]] = {}
        self._note_what_needs_share()

    def _note_what_needs_share(self) -> None:
        for cell in self._plan.cells:
            own = {axis: self._plan.values.of(cell, axis) for axis in self._plan.axes}
            for need in needs_first(cell.trial):
                shared = self._shared.setdefault(need.key, dict(own))
                for axis, value in own.items():
                    # Values of one axis are one object each.
                    if shared[axis] is not value:
                        shared[axis] = None

    # ------------------------------------------------------------------ names

    def setting(self, cell: Cell) -> str:
        """`common · pool`: the values of the axes, those that the cell has, but for the seed."""
        return self.without(cell, "seed") or cell.trial.method.name

    def cell(self, cell: Cell) -> str:
        """`common · pool · 0`: the setting and the seed."""
        seed = cell.trial.seed
        return SEPARATOR.join([self.setting(cell), *([] if seed is None else [str(seed)])])

    def needs(self, needs: Sequence[Trial]) -> dict[str, str]:
        """By key `train: common · pool · 0`: what a need's cells have in common, and its seed.
        More where that is the name of several.
        """
        names = {}
        for need in needs:
            seed = [] if need.seed is None else [str(need.seed)]
            shared = self._joined(self._shared.get(need.key, {})) or need.method.name
            names[need.key] = "train: " + SEPARATOR.join([shared, *seed])
        for told in _TELLING:
            same: dict[str, list[Trial]] = {}
            for need in needs:
                same.setdefault(names[need.key], []).append(need)
            for name, many in same.items():
                words = {told(one) for one in many}
                if len(words) > 1:
                    names.update({one.key: f"{name}{SEPARATOR}{told(one)}" for one in many})
        return names

    def without(self, cell: Cell, left_out: str) -> str:
        """The setting's name less one axis."""
        axes = [axis for axis in self._plan.axes if axis != left_out]
        return self._joined({axis: self._plan.values.of(cell, axis) for axis in axes})

    def _joined(self, values: Mapping[str, AxisValue | None]) -> str:
        words = []
        for axis, value in values.items():
            if value is not None and axis != "seed":
                is_bare = axis in self._bare
                words.append(value.text if is_bare else f"{self._short[axis]}={value.text}")
        return SEPARATOR.join(words)

    # ------------------------------------------------------------------ params

    def of_cell(self, cell: Cell) -> dict[str, str]:
        """A cell's axes and all other settings, each under its short name. An axis that only other
        cells have says nothing of this one.
        """
        axes = {axis: self._plan.values.text(cell, axis) for axis in self._plan.axes}
        return self._params(cell.trial, {k: v for k, v in axes.items() if k in cell.labels})

    def of_setting(self, cell: Cell) -> dict[str, str]:
        """What all cells of a setting have in common."""
        return {name: value for name, value in self.of_cell(cell).items() if name != "seed"}

    def of_need(self, need: Trial) -> dict[str, str]:
        """A need's settings but for those that are axes on which it does not depend: these are at
        their defaults in it, whatever its cells have.
        """
        params = self._params(need, {})
        for axis, value in self._shared.get(need.key, {}).items():
            name = axis.rsplit(".", 1)[-1]
            if name not in need.method.settings():
                continue
            if value is None or show(value.value) != params.get(name):
                params.pop(name, None)
        return params

    def _params(self, trial: Trial, axes: Mapping[str, str]) -> dict[str, str]:
        flat = _flat(trial.method.settings())
        # An axis inside a setting is there as an axis; see below.
        short = short_names([name for name in flat if name not in axes])
        settings = {short[name]: flat[name] for name in short}
        params = {
            **settings,
            "method": trial.method.name,
            "network": trial.network.label if trial.network else "none",
            "seed": show(trial.seed),
            "tasks": " + ".join(task.name for task in trial.tasks),
        }
        for axis, text in axes.items():
            name = self._short[axis]
            # An axis inside a setting must not pass for a setting of the method itself that
            # differs from it.
            has_own_name = settings.get(name, text) == text
            params[name if has_own_name else axis] = text
        return params


def _flat(settings: Mapping[str, Any], within: str = "") -> dict[str, str]:
    """Settings by dotted names, those of methods among them, too: `of.split`."""
    found = {}
    for name, value in settings.items():
        if isinstance(value, Method):
            found[within + name] = value.name
            found.update(_flat(value.settings(), f"{within}{name}."))
        else:
            found[within + name] = show(value)
    return found


def _named_by_value(plan: Plan) -> set[str]:
    """The axes whose values say by themselves what they are: no numbers, and no words that are
    values of another axis as well.
    """
    values = {axis: plan.values.values(axis) for axis in plan.axes}
    texts = Counter(value.text for axis in values for value in values[axis])
    bare = set()
    for axis, those in values.items():
        are_words = all(not is_number(v.value) and not isinstance(v.value, bool) for v in those)
        if are_words and all(texts[value.text] == 1 for value in those):
            bare.add(axis)
    return bare
