"""Results made with other code, by kinds: one of a kind is run again to see whether the new code
computes the same bits (`--stale check`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.spec.canonical import canonical_json
from orchestrator.spec.trial import Trial
from orchestrator.store.code import Code, listed


@dataclass(frozen=True)
class Kind:
    """What results have in common of which one stands for all: method, network, class of
    arithmetic and outcome (one that diverged at once says nothing of those that trained through),
    the digest of the code that made them, the class of device and torch's version.
    `modules` are those whose code has changed since; the digest of the code stands for them.
    """

    method: str
    network: str
    numerics: str
    outcome: str
    code: str
    device: str
    torch: str
    modules: tuple[str, ...]

    @property
    def label(self) -> str:
        """For people: `fine_tune on resnet8 (orchestrator.training.fit)`."""
        numerics = f" in {self.numerics}" if self.numerics != "fp32" else ""
        network = f" on {self.network}" if self.network else ""
        return f"{self.method}{network}{numerics} ({listed(self.modules)})"

    def equal_to(self, code: str) -> dict[str, Any]:
        """What the store remembers where another code, by its digest, computes the same bits."""
        return {**asdict(self), "modules": list(self.modules), "equal_to": code}


def kind_of(trial: Trial, record: Mapping[str, Any], code: Code) -> Kind | None:
    """The kind of a result that was made with other code than the trial's `code` now, or None."""
    made_by = record["provenance"]
    if made_by["code"] == code.digest:  # not stale by its code
        return None
    # Neither settings nor seed: every trial would be a kind of its own, and a check would run the
    # whole sweep again. An edit that shows in other settings only is not seen.
    return Kind(
        method=trial.method.name,
        network=trial.network.name if trial.network else "",
        numerics=trial.numerics,
        outcome=record["outcome"],
        code=made_by["code"],
        device=made_by["device"],
        torch=made_by["torch"],
        modules=tuple(code.differences(made_by["modules"])),
    )


class KnownEqual:
    """Which code was found to compute the bits of other code."""

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        # As text, since entries hold lists and cannot be hashed.
        self._known = {canonical_json(entry) for entry in entries}

    def has(self, kind: Kind, code: Code) -> bool:
        """Whether results of a kind would come out the same with this code."""
        return canonical_json(kind.equal_to(code.digest)) in self._known


def one_of_each(kinds: Mapping[str, Kind], seconds: Mapping[str, float]) -> dict[str, Kind]:
    """Of each kind the result of middling length, by key: the shortest may have trained nothing."""
    members: dict[Kind, list[str]] = {}
    for key, kind in kinds.items():
        members.setdefault(kind, []).append(key)
    chosen = {}
    for kind, keys in members.items():
        by_length = sorted(keys, key=lambda key: seconds[key])
        chosen[by_length[len(keys) // 2]] = kind
    return chosen
