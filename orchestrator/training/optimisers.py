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
        matching: set[str] = set()
        for pattern in patterns:
            names = fnmatch.filter(self._parameters, pattern)
            if not names:
                raise MethodError(
                    f"no trainable parameter matches {pattern!r}. "
                    f"{nearest(pattern, self._parameters)}"
                )
            matching.update(names)
        return [p for name, p in self._parameters.items() if name in matching]

    def other(self, *patterns: str) -> list[nn.Parameter]:
        """Parameters whose name fits none of the patterns."""
        # By identity: tensors compare element by element.
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
    given: Optimizer | Sequence[Optimizer], parameters: Parameters, stage: str
) -> list[Optimizer]:
    """The optimisers as a list. Every trainable parameter must be in exactly one group: a forgotten
    one would silently stay as it was drawn, one in two of them would step twice.

    Raises MethodError that names the parameters left out or held twice.
    """
    optimizers = list(given) if isinstance(given, Sequence) else [given]
    for optimizer in optimizers:
        if not isinstance(optimizer, Optimizer):
            raise MethodError(
                f"stage {stage!r}: optimizer must return a torch optimizer, or a list of them, "
                f"got {type(optimizer).__name__}"
            )
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    times_held = Counter(id(p) for group in groups for p in group["params"])
    missing = [name for name, p in parameters.items() if id(p) not in times_held]
    twice = [name for name, p in parameters.items() if times_held[id(p)] > 1]
    num_foreign = len(set(times_held) - {id(p) for p in parameters.values()})
    faults = []
    if missing:
        faults.append(f"leaves out {_first_names(missing)}")
    if twice:
        faults.append(f"holds {_first_names(twice)} twice")
    if num_foreign:
        faults.append(f"holds {num_foreign} tensors that are not trainable parameters of the nets")
    if faults:
        raise MethodError(
            f"stage {stage!r}: the optimizer {' and '.join(faults)}. "
            "Put what must not move into frozen="
        )
    return optimizers


def _first_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def constant() -> Schedule:
    """The learning rate as given."""
    return lambda progress: 1.0


def cosine(*, warmup: float = 0.0, floor: float = 0.0) -> Schedule:
    """Linear rise over the share `warmup` of the fit, then half a cosine down to `floor`."""

    def factor(progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        fallen = (progress - warmup) / (1 - warmup)  # 0 at the top, towards 1
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fallen))

    return factor


def one_cycle(*, peak: float = 0.3, start: float = 1 / 25, end: float = 1 / 250_000) -> Schedule:
    """From `start` up to 1 at the share `peak` of the fit and down to `end`, both along a cosine
    (Smith and Topin 2018; torch's OneCycleLR with its momentum left alone)."""

    def factor(progress: float) -> float:
        if progress < peak:
            begin, target, share = start, 1.0, progress / peak
        else:
            begin, target, share = 1.0, end, (progress - peak) / (1 - peak)
        # Share 0 gives `begin`, 1 `target`.
        return target + (begin - target) * 0.5 * (1 + math.cos(math.pi * share))

    return factor


def drops(at: Iterable[float], *, by: float = 0.1) -> Schedule:
    """Times `by` at each of these shares of the fit: `drops((0.5, 0.75))`."""
    shares = tuple(at)
    return lambda progress: by ** sum(progress >= share for share in shares)
