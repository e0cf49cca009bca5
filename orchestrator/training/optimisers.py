"""Optimisers as functions of named parameters, schedules as pure functions of progress."""

from __future__ import annotations

import fnmatch
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from orchestrator.errors import MethodError, nearest

Schedule = Callable[[float], float]
"""Progress of a fit (0 at its first step, towards 1) to a factor on every group's learning rate."""


class Parameters(Mapping[str, nn.Parameter]):
    """The trainable parameters of a fit by name, `net.layer.weight`; groups are made by pattern
    (`*` matches dots too).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = dict(parameters)

    def __getitem__(self, name: str) -> nn.Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def matching(self, *patterns: str) -> list[nn.Parameter]:
        """Parameters whose name fits one of the patterns. Raises MethodError for a pattern that
        fits none.
        """
        for pattern in patterns:
            if not fnmatch.filter(self._parameters, pattern):
                raise MethodError(
                    f"no trainable parameter matches {pattern!r}. {nearest(pattern, self._parameters)}"
                )
        return [
            p
            for n, p in self._parameters.items()
            if any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns)
        ]

    def other(self, *patterns: str) -> list[nn.Parameter]:
        """Parameters whose name fits none of the patterns."""
        chosen = {id(p) for p in self.matching(*patterns)}
        return [p for p in self._parameters.values() if id(p) not in chosen]


OptimizerOf = Callable[[Parameters], Optimizer | Sequence[Optimizer]]
"""One optimiser, or several that step together, over all the parameters of a fit."""


def sgd(
    lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0, nesterov: bool = False
) -> OptimizerOf:
    """Stochastic gradient descent over all parameters in one group."""
    return lambda p: torch.optim.SGD(
        list(p.values()), lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
    )


def adam(lr: float, *, weight_decay: float = 0.0) -> OptimizerOf:
    """Adam over all parameters in one group."""
    return lambda p: torch.optim.Adam(list(p.values()), lr=lr, weight_decay=weight_decay)


def all_of(
    made: Optimizer | Sequence[Optimizer], parameters: Parameters, stage: str
) -> list[Optimizer]:
    """The optimisers that were made. Every trainable parameter is in exactly one group: a forgotten
    one would silently stay as it was drawn, one in two of them would step twice."""
    optimizers = list(made) if isinstance(made, Sequence) else [made]
    for one in optimizers:
        if not isinstance(one, Optimizer):
            raise MethodError(
                f"stage {stage!r}: optimizer must return a torch optimizer, or a list of them, got {type(one).__name__}"
            )
    held = Counter(
        id(p) for one in optimizers for group in one.param_groups for p in group["params"]
    )
    names = {id(p): n for n, p in parameters.items()}
    missing = [n for i, n in names.items() if i not in held]
    twice = [n for i, n in names.items() if held[i] > 1]
    foreign = sum(i not in names for i in held)
    if missing or foreign or twice:
        parts = [f"leaves out {_some(missing)}"] if missing else []
        parts += [f"holds {_some(twice)} twice"] if twice else []
        parts += (
            [f"holds {foreign} tensors that are not trainable parameters of the nets"]
            if foreign
            else []
        )
        raise MethodError(
            f"stage {stage!r}: the optimizer {' and '.join(parts)}. Put what must not move into frozen="
        )
    return optimizers


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def constant() -> Schedule:
    """The learning rate as given."""
    return lambda progress: 1.0


def cosine(*, warmup: float = 0.0, floor: float = 0.0) -> Schedule:
    """Linear rise over the share `warmup` of the fit, then half a cosine down to `floor`."""

    def factor(progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        return floor + (1 - floor) * 0.5 * (
            1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))
        )

    return factor


def one_cycle(*, peak: float = 0.3, start: float = 1 / 25, end: float = 1 / 250_000) -> Schedule:
    """From `start` up to 1 at the share `peak` of the fit and down to `end`, both along a cosine
    (Smith and Topin 2018; torch's OneCycleLR with its momentum left alone)."""

    def factor(progress: float) -> float:
        low, high, share = (
            (start, 1.0, progress / peak)
            if progress < peak
            else (1.0, end, (progress - peak) / (1 - peak))
        )
        return high + (low - high) * 0.5 * (1 + math.cos(math.pi * share))

    return factor


def drops(at: Iterable[float], *, by: float = 0.1) -> Schedule:
    """Times `by` at each of these shares of the fit: `drops((0.5, 0.75))`."""
    places = tuple(at)
    return lambda progress: by ** sum(progress >= place for place in places)
