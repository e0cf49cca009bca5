"""A method with every type of setting, importable with nothing but the standard library: keys must
be equal on every Python.

Departs from the paper: there is none.
"""

from __future__ import annotations

from typing import Literal

from orchestrator import Method, Metric, NetworkSpec, Task, Trial, axis, roles
from orchestrator.spec.task import DataRecord


class Inner(Method):
    name = "inner"
    metrics = (Metric("m"),)
    rate: float = axis(0.1, over=(0.1, 1))

    def train(self, run):
        raise AssertionError


class Outer(Method):
    name = "outer"
    revision = 3
    tasks = roles("source", "target")
    metrics = (Metric("m"),)

    flag: bool = axis(False, over=(True,))
    count: int = axis(1, over=(2,))
    rate: float = axis(0.1, over=(1, 1e-7))
    kind: Literal["a", "b"] = axis("a", over=("b",))
    names: frozenset[str] = axis((), over=(("x", "y"),))
    sizes: tuple[int, ...] = axis((), over=((3, 2, 1),))
    maybe: int | None = axis(None, over=(5,))
    inner: Inner = axis(Inner())

    def needs(self, trial):
        return {"base": trial.replace(method=self.inner, tasks=trial.tasks[:1])}

    def train(self, run):
        raise AssertionError


RECORD = DataRecord(
    name="pets",
    digest="d" * 64,
    classes=("cat", "dog", "fish", "newt"),
    shape=(3, 8, 8),
    counts=(40, 8),
    mean=(0.5,) * 3,
    std=(0.2,) * 3,
)
NETWORK = NetworkSpec(
    name="net",
    path="nowhere:Net",
    settings=(("width", 8), ("depth", 2)),
    defaults=(("width", 16), ("depth", 2)),
    splits=("stem",),
)
TASKS = tuple(
    t.resolve(RECORD)
    for t in (
        Task(data="pets").classes("cat", "dog"),
        Task(data="pets").classes(2, 3).images(0, of=2).validation(0.25).named("b"),
    )
)


def trial(**settings: object) -> Trial:
    return Trial(method=Outer(**settings), network=NETWORK, tasks=TASKS, seed=4)


ALL = {
    "flag": True,
    "count": 2,
    "rate": 1e-7,
    "kind": "b",
    "names": ["y", "x"],
    "sizes": [3, 2, 1],
    "maybe": 5,
    "inner": Inner(rate=1),
}

if __name__ == "__main__":
    print(trial().key, trial(**ALL).key)
