"""A task: a data set and what is taken from it. Symbolic, so that a laptop without the images can plan.

    digits.classes(0, 1, 2).images(0, of=2).validation(0.2).named("a")

reads: of digits the classes 0 to 2 (labels 0 to 2 in this order), of their training images the first of two disjoint halves, of these a fifth held
out for validation, called "a" in labels and figures. The test part keeps every test image of the classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from orchestrator.canonical import digest
from orchestrator.errors import DataError, InputError, nearest

Part = Literal["train", "validation", "test"]
IGNORED = -100  # the label that cross entropy skips

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """What planning has to know of a data set: written to the store where the images are, read everywhere.

    `shape` is (channels, height, width); `mean` and `std` are per channel over the training images scaled to [0, 1]; `counts` are images by part.
    """

    name: str
    digest: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    counts: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> DataRecord:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return DataRecord(**fields)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something to learn. Every verb returns a new task; nothing is read. `digest` is empty until planning resolves the task."""

    data: str
    digest: str = ""
    wanted: tuple[int | str, ...] | None = None
    share: tuple[int, int] = (0, 1)
    limit: int | None = None
    held_out: float = 0.1
    label: str = ""

    def classes(self, *wanted: int | str) -> Task:
        """Keep these classes, by name or by index in the data set, and number them in the order given."""
        repeated = sorted({str(w) for w in wanted if wanted.count(w) > 1})
        if not wanted or repeated:
            raise InputError(f"{self.data}.classes(): " + (f"{', '.join(repeated)} named twice" if repeated else "name at least one class"))
        if any(isinstance(w, bool) or not isinstance(w, int | str) for w in wanted):
            raise InputError(f"{self.data}.classes(): a class is a name or an index, got {wanted!r}")
        return replace(self, wanted=wanted)

    def images(self, share: int = 0, *, of: int = 1, limit: int | None = None) -> Task:
        """Keep share number `share` of `of` disjoint, equal shares of the training images (drawn a class at a time, the same in every trial), and
        of it at most `limit` images, spread evenly over the classes. The test part stays whole."""
        if not 0 <= share < of:
            raise InputError(f"{self.data}.images(): share {share} of {of} does not exist; shares count from 0 to {of - 1}")
        if limit is not None and limit < 1:
            raise InputError(f"{self.data}.images(): limit={limit} leaves no image")
        return replace(self, share=(share, of), limit=limit)

    def validation(self, fraction: float) -> Task:
        """Hold out this fraction of the kept training images of each class; 0 holds out none."""
        if not 0 <= fraction < 1:
            raise InputError(f"{self.data}.validation(): the fraction must be at least 0 and below 1, got {fraction}")
        return replace(self, held_out=float(fraction))

    def named(self, label: str) -> Task:
        """Call the task `label` in metrics, components and figures; it also names the task's own random streams."""
        if not _NAME.fullmatch(label):
            raise InputError(f"a task's name has letters, digits, '_', '.' and '-', got {label!r}")
        return replace(self, label=label)

    @property
    def name(self) -> str:
        """The label, or a name made of what is taken."""
        if self.label:
            return self.label
        name = self.data.rsplit("/", 1)[-1].lower()
        if self.wanted is not None:
            chosen = ".".join(re.sub(r"[^A-Za-z0-9_-]+", "_", str(w)) for w in self.wanted)
            name += "-" + (chosen if len(chosen) <= 24 else f"{len(self.wanted)}classes-{digest([str(w) for w in self.wanted])[:4]}")
        if self.share[1] > 1:
            name += f"-{self.share[0]}of{self.share[1]}"
        return name + (f"-{self.limit}" if self.limit else "")

    def resolve(self, record: DataRecord) -> Task:
        """The same task with its data's digest, its classes by name. Raises DataError for a class that the data lacks."""
        wanted = range(len(record.classes)) if self.wanted is None else self.wanted
        names, missing = [], []
        for one in wanted:
            if isinstance(one, int) and 0 <= one < len(record.classes):
                names.append(record.classes[one])
            elif isinstance(one, str) and one in record.classes:
                names.append(one)
            else:
                missing.append(one)
        if missing:
            listed = f"{nearest(str(missing[0]), record.classes)} By index: 0 to {len(record.classes) - 1}."
            raise DataError(f"{self.data} has no class {', '.join(repr(m) for m in missing)}. {listed}")
        if len(set(names)) < len(names):
            raise DataError(f"{self.data}: a class is named twice in {self.wanted!r}")
        resolved = replace(self, digest=record.digest, wanted=tuple(names))
        return resolved if self.label else replace(resolved, label=self.name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order. Only of a resolved task."""
        if not self.digest or self.wanted is None:
            raise InputError(f"the classes of {self.name} are known once a plan has resolved it")
        return tuple(str(w) for w in self.wanted)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def identity(self) -> dict[str, Any]:
        """What enters a trial's key: the digest, not the data's name."""
        return {"data": self.digest, "classes": list(self.class_names), "share": list(self.share), "limit": self.limit,
                "held_out": self.held_out, "name": self.name}  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        fields = {"data": self.data, "digest": self.digest, "share": list(self.share), "limit": self.limit, "held_out": self.held_out}
        return {**fields, "wanted": None if self.wanted is None else list(self.wanted), "label": self.label}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Task:
        wanted = value["wanted"]
        return Task(**{**value, "share": tuple(value["share"]), "wanted": None if wanted is None else tuple(wanted)})

    @property
    def train(self) -> Data:
        """Training images less the validation part."""
        return Data(task=self, part="train")

    @property
    def validation_part(self) -> Data:
        """Held-out training images, for curves and for choosing; never empty unless `validation(0)` was asked for."""
        return Data(task=self, part="validation")

    @property
    def test(self) -> Data:
        """All test images of the classes. Measured after training only."""
        return Data(task=self, part="test")

    def part(self, part: Part, *, because: str) -> Data:
        """A part used where it normally may not be, with the reason on record: `task.part("test", because="paper protocol")`."""
        return Data(task=self, part=part, because=because)


@dataclass(frozen=True)
class RandInt:
    """Integers from 0 to `high` - 1, one an image, drawn anew each epoch by name."""

    high: int


def randint(high: int) -> RandInt:
    """Declare a random draw of a loss: `task.train.drawing(rotation=randint(4))`."""
    if high < 1:
        raise InputError(f"randint({high}) has nothing to draw from")
    return RandInt(high)


@dataclass(frozen=True, kw_only=True)
class Data:
    """A part of a task as a fit reads it. Its batches carry `x` (float, normalised, [B, C, H, W]), `y` (int64, [B]), and what is declared here."""

    task: Task
    part: Part
    draws: tuple[tuple[str, RandInt], ...] = ()
    labels: tuple[tuple[str, tuple[int, ...]], ...] = ()
    crop: int = 0
    flip: bool = False
    order: str = ""
    because: str = ""

    def drawing(self, **draws: RandInt) -> Data:
        """Random numbers that the loss needs, one an image: `batch.rotation` for `drawing(rotation=randint(4))`."""
        return replace(self, draws=(*self.draws, *draws.items()))

    def labelled(self, **labels: Sequence[int]) -> Data:
        """A second label made of the first: entry c is the new label of class c; `IGNORED` (-100) leaves an image out of a cross entropy."""
        for name, mapping in labels.items():
            if len(mapping) != self.task.num_classes:
                raise InputError(f"labelled({name}=...): {len(mapping)} entries for the {self.task.num_classes} classes of {self.task.name}")
        return replace(self, labels=(*self.labels, *((k, tuple(v)) for k, v in labels.items())))

    def augmented(self, *, crop: int = 4, flip: bool = True) -> Data:
        """Random shifts by up to `crop` pixels (zero padding) and random horizontal flips, on the device."""
        return replace(self, crop=crop, flip=flip)

    def ordered(self, name: str) -> Data:
        """Name the stream of order, augmentation and draws: two data sets with equal names are read in the same order."""
        return replace(self, order=name)


def common_classes(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Class names that all tasks share, in the first task's order."""
    return tuple(c for c in tasks[0].class_names if all(c in t.class_names for t in tasks[1:])) if tasks else ()


def relabel(task: Task, names: Sequence[str]) -> tuple[int, ...]:
    """For each class of `task` its index in `names`, or `IGNORED` where it is not among them."""
    return tuple(names.index(c) if c in names else IGNORED for c in task.class_names)


class Tasks(Sequence[Task]):
    """The tasks of a trial: by position, by role (`tasks.target`), by name (`tasks.by_name["a"]`)."""

    def __init__(self, tasks: Sequence[Task], roles: Sequence[str]) -> None:
        self._tasks = tuple(tasks)
        self._roles = dict(zip(roles, self._tasks, strict=False))
        self.by_name: Mapping[str, Task] = {t.name: t for t in self._tasks}

    def __getitem__(self, index: Any) -> Any:
        return self._tasks[index]

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def __getattr__(self, role: str) -> Task:
        roles: dict[str, Task] = self.__dict__.get("_roles", {})
        if role in roles:
            return roles[role]
        raise AttributeError(f"no role {role!r}. {nearest(role, roles)}")
