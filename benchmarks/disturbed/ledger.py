"""What was tried already: a JSON line for each case, so that a part goes on where it stopped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One disturbance and what it came to. `after` says in a word how the disturbed command ended,
    `defects` name what must not be, `name` and `detail` make it possible to try it again.
    """

    part: str
    name: str
    after: str
    detail: str = ""
    lost: int = 0
    doubled: int = 0
    left_running: int = 0
    defects: list[str] = field(default_factory=list)
    count: int = 1  # disturbances

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.left_running or self.defects)


class Ledger:
    """Cases in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.cases = [Case(**json.loads(line)) for line in lines]

    def __contains__(self, name: str) -> bool:
        return any(case.name == name for case in self.cases)

    def __getitem__(self, name: str) -> Case:
        return next(case for case in self.cases if case.name == name)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def add(self, case: Case) -> None:
        self.cases.append(case)
        with open(self.path, "a") as file:
            file.write(json.dumps(asdict(case)) + "\n")

    def table(self) -> list[str]:
        """A line for each kind of disturbance (the name up to its number): how the commands ended,
        and what was lost, doubled, left running, or otherwise wrong.
        """
        kinds: dict[str, list[Case]] = {}
        for case in self.cases:
            kinds.setdefault(case.name.rpartition(" ")[0], []).append(case)
        heading = f"{'disturbed':34} {'cases':>5} {'lost':>5} {'doubled':>7} {'running':>7} "
        lines = [heading + f"{'wrong':>5}  the disturbed command"]
        for kind, cases in kinds.items():
            ends = Counter(case.after for case in cases)
            told = ", ".join(f"{count} {after}" for after, count in ends.most_common())
            lines.append(
                f"{kind:34} {sum(c.count for c in cases):5} {sum(c.lost for c in cases):5} "
                f"{sum(c.doubled for c in cases):7} {sum(c.left_running for c in cases):7} "
                f"{sum(bool(c.defects) for c in cases):5}  {told}"
            )
        return lines
