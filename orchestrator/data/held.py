"""What was read is held for whoever asks for it next: nothing is read twice in a trial, and on a
CPU small sets stay for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

Value = TypeVar("Value")


@dataclass(frozen=True)
class Kept(Generic[Value]):
    """A value, the device that it lies on, and how many bytes there are in no other place."""

    value: Value
    device: torch.device
    size: int


class Held(Generic[Value]):
    """Values by key, at most `count`: of more, that is given up which nobody asked for longest."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[Hashable, Kept[Value]] = {}  # the least recently used comes first

    def get(self, key: Hashable, make: Callable[[], Kept[Value]]) -> Value:
        """The value of a key, made where there is none."""
        kept = self._kept.pop(key, None) or make()
        self._kept[key] = kept
        while len(self._kept) > self._count:
            del self._kept[next(iter(self._kept))]
        return kept.value

    def size_on(self, device: torch.device) -> int:
        """Bytes that values take on a device."""
        return sum(kept.size for kept in self._kept.values() if is_same(kept.device, device))

    def give_up(self, most: int = 0) -> None:
        """Keep at most so many bytes, on CPUs only, the most recently used first."""
        kept_bytes = 0
        for key in reversed(list(self._kept)):
            kept = self._kept[key]
            # What is given up anyway takes no room from the others.
            if kept.device.type != "cpu" or kept_bytes + kept.size > most:
                del self._kept[key]
            else:
                kept_bytes += kept.size


def is_same(device: torch.device, other: torch.device) -> bool:
    """Whether two names stand for one device: `cuda` is the GPU that is used now."""
    return (device.type, _index(device)) == (other.type, _index(other))


def _index(device: torch.device) -> int:
    if device.type != "cuda" or device.index is not None:
        return device.index or 0
    return torch.cuda.current_device() if torch.cuda.is_available() else 0


@dataclass
class Budget:
    """How many bytes data sets may take on a GPU: half of what is free there, and no more than half
    of the `share` of it that was set aside, since a network has to learn beside them.
    """

    share: float = 1.0

    def room(self, device: torch.device, held: int) -> int:
        """Bytes that are left, where sets take `held` already. A CPU has any number: there sets are
        mapped from their files.
        """
        if device.type != "cuda":
            return 2**63
        free, total = torch.cuda.mem_get_info(device)
        # What torch has taken from the device and does not use is free as well.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        within = min(free + unused + held, int(total * min(self.share, 1.0)))
        return within // 2 - held
