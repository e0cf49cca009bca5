"""A sweep: one question and every cell that answers it. Plain data; one file."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError, SweepError, nearest
from orchestrator.spec.claim import Claim, check
from orchestrator.spec.grid import RESERVED, Grid, Point
from orchestrator.spec.method import Method
from orchestrator.spec.settings import settings_of
from orchestrator.spec.task import Task
from orchestrator.spec.trial import Cell, NetworkSpec, Trial


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """`question` in a sentence or two, `cells` as a grid, how many cells that should be (`expect`),
    and the `claims` that it decides (see `orchestrator.analysis.claims`). Checked when made; all
    mistakes at once."""

    cells: Grid
    expect: int
    question: str | None = None
    claims: Sequence[Claim] = ()
    part_of: Sweep | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cells, Grid):
            raise SweepError(
                f"cells must be a grid made by product(...), got {type(self.cells).__name__}"
            )
        problems = [*self.cells.problems]
        if not problems:
            problems += list(
                dict.fromkeys(p for point in self.cells.points for p in _point_problems(point))
            )
        if problems:
            raise SweepError("the sweep cannot be used as written:", problems)
        if not self.cells.points:
            left_out = "".join(f" ({d.count} left out: {d.reason})" for d in self.cells.dropped)
            raise SweepError(f"the grid is empty: no cell is left{left_out}")
        if self.expect != len(self.cells):
            raise SweepError(
                f"the grid has {len(self.cells)} cells but the sweep says expect={self.expect}. If {len(self.cells)} is right, write:",
                [f"expect={len(self.cells)},"],
            )
        if self.claims and self.part_of is None:
            check(self.claims, list(self.trials()), self.axes)

    def trials(self) -> Iterator[Cell]:
        """Each cell with its trial, tasks not yet resolved."""
        built: dict[Any, Method] = {}
        for index, point in enumerate(self.cells.points):
            yield Cell(index, point.labels, _trial(point, built))

    def part(self, keep: Sequence[int]) -> Sweep:
        """The cells at these places. Their axes are still those of the whole sweep, so that they
        are called as there.
        """
        points = tuple(self.cells.points[i] for i in keep)
        return Sweep(
            cells=Grid(points, (), self.cells.dropped),
            expect=len(points),
            question=self.question,
            claims=self.claims,
            part_of=self.part_of or self,
        )

    @property
    def axes(self) -> tuple[str, ...]:
        """Labels that vary over the sweep, in the order written."""
        if self.part_of is not None:
            return self.part_of.axes
        seen: dict[str, list[Any]] = {}
        for point in self.cells.points:
            for name, value in point.labels.items():
                if value not in seen.setdefault(name, []):
                    seen[name].append(value)
        count = len(self.cells)
        return tuple(
            n
            for n, values in seen.items()
            if len(values) > 1 or sum(n in p.labels for p in self.cells.points) < count
        )


def _trial(point: Point, built: dict[Any, Method]) -> Trial:
    """The trial of a point. Points share their values, so methods with the very same ones are built
    once: a sweep of 10,000 cells has few.
    """
    values = dict(point.values)
    tasks = values.pop("tasks", ())
    cls, network, seed = values.pop("method"), values.pop("network", None), values.pop("seed", None)
    numerics = values.pop("numerics", "fp32")
    same = (cls, *((name, id(value)) for name, value in values.items()))
    method = built.get(same) or built.setdefault(same, cls(**values))
    listed = (tasks,) if isinstance(tasks, Task) else tuple(tasks)
    return Trial(method=method, network=network, tasks=listed, seed=seed, numerics=numerics)


def _point_problems(point: Point) -> Iterator[str]:
    method = point.values.get("method")
    if not (isinstance(method, type) and issubclass(method, Method)):
        yield "a cell has no method: put Method.grid(...) into the product"
        return
    settings = {n: v for n, v in point.values.items() if n not in RESERVED}
    valid = settings_of(method)
    for name in settings:
        if name not in valid:
            yield f"{method.name} has no setting {name!r}, and a cell no axis of that name. {nearest(name, [*valid, *RESERVED[1:]])}"
    try:
        method(**{n: v for n, v in settings.items() if n in valid})
    except InputError as error:
        yield from error.problems or (error.summary,)
    network, seed, tasks = (point.values.get(n) for n in ("network", "seed", "tasks"))
    if network is not None and not isinstance(network, NetworkSpec):
        yield f"network: expected a network such as resnet8(), got {network!r}"
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        yield f"seed: expected a whole number from 0, got {seed!r}"
    listed = tasks if isinstance(tasks, tuple) else () if tasks is None else (tasks,)
    yield from (
        f"tasks: expected a task such as digits.classes(0, 1), got {t!r}"
        for t in listed
        if not isinstance(t, Task)
    )


def load_sweep(file: str | Path) -> tuple[str, Sweep]:
    """Name and sweep of a sweep file. Raises SweepError that points into the file."""
    path = Path(file)
    if not path.is_file():
        listings = [
            sorted(str(p) for p in f.glob("*.py")) for f in (path, path.parent, Path("sweeps"))
        ]
        siblings = next(filter(None, listings), [])
        raise SweepError(
            f"there is no sweep file {str(path)!r}. {nearest(str(path), siblings) if siblings else 'A sweep file ends in .py.'}"
        )
    spec = importlib.util.spec_from_file_location(f"_sweep_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SweepError(f"{path} is not a Python file; a sweep file ends in .py")
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = (
        sys.dont_write_bytecode,
        True,
    )  # reading a question leaves nothing beside it
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise SweepError(
            f"{path}, line {error.lineno}: {error.msg}\n    {(error.text or '').strip()}"
        ) from error
    except InputError as error:
        raise SweepError(f"{path}{_line(error, path)}: {error.summary}", error.problems) from error
    except Exception as error:
        raise SweepError(f"{path}{_line(error, path)}: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = writes
    sweep = getattr(module, "sweep", None)
    if not isinstance(sweep, Sweep):
        found = (
            "has no variable 'sweep'"
            if sweep is None
            else f"has a 'sweep' that is {type(sweep).__name__}"
        )
        raise SweepError(
            f"{path} {found}. A sweep file ends with: sweep = Sweep(question=__doc__, cells=product(...), expect=...)"
        )
    return path.stem, sweep


def _line(error: BaseException, path: Path) -> str:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return f", line {lines[-1]}" if lines else ""
