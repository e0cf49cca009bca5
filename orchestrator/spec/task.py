"""A task: a data set and what is taken from it. Symbolic, so that a laptop without the images can
plan.

    digits.classes(0, 1, 2).images(0, of=2).validation(0.2).named("a")

reads: of digits the classes 0 to 2 (labels 0 to 2 in this order), of their training images the
first of two disjoint halves, of these a fifth held out for validation, called "a" in labels and
figures. The test part keeps every test image of the classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from orchestrator.errors import DataError, InputError, nearest
from orchestrator.spec.canonical import digest
from orchestrator.spec.draws import Draw

Shift = Literal["inverted", "permuted", "rotated", "noisy", "contrast"]

Part = Literal["train", "validation", "test"]
IGNORED = -100  # the label that cross entropy skips

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """What planning has to know of a data set: written to the store where the images are, read
    everywhere.

    `shape` is (channels, height, width); `mean` and `std` are per channel over the training images
    scaled to [0, 1]; `counts` are images by part.
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
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        return DataRecord(**fields)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something to learn. Every verb returns a new task; nothing is read. `digest` is empty until
    planning resolves the task.
    """

    data: str
    digest: str = ""
    wanted: tuple[int | str, ...] | None = None
    share: tuple[int, int] = (0, 1)
    limit: int | None = None
    held_out: float = 0.1
    positive: tuple[int | str, ...] | None = None
    called: str = ""
    masks: bool = False
    shift: tuple[str, float] | None = None
    size: int | None = None
    coloured: bool = False
    label: str = ""

    def classes(self, *wanted: int | str) -> Task:
        """Keep these classes, by name or by index in the data set, and number them in the order
        given.
        """
        _check_classes(f"{self.data}.classes()", wanted)
        return replace(self, wanted=wanted)

    def binary(self, *positive: int | str, called: str = "") -> Task:
        """Two labels: 1 for these classes, 0 for all others that the task keeps (a category against
        the background). `called` names label 1, so that tasks with other positive classes have a
        class in common: all are about whatever it is."""
        _check_classes(f"{self.data}.binary()", positive)
        return replace(self, positive=positive, called=called)

    def foreground(self) -> Task:
        """The label of each pixel: 1 on the image's object, 0 elsewhere. For sets that have masks,
        see `orchestrator.data.canvases`.
        """
        if not self.data.startswith("pasted/"):
            raise InputError(f"{self.data} has no masks; pasted(...) makes a set that has")
        return replace(self, masks=True)

    def shifted(self, kind: Shift, amount: float | None = None) -> Task:
        """Another domain made of the same images, training and test alike: `inverted`; `permuted`
        (one order of the pixels, `amount` numbers it, 0 unless given); `rotated` by 90, 180 or 270
        degrees; `noisy` (normal noise, `amount` of the brightness range, 0.2); `contrast` times
        `amount` (0.5). Images are still normalised by the statistics of the data set as it is, so
        that a shift stays one."""
        usual = {"inverted": 0.0, "permuted": 0.0, "rotated": 90.0, "noisy": 0.2, "contrast": 0.5}
        if kind not in usual:
            raise InputError(f"{self.data}.shifted(): no shift {kind!r}. {nearest(kind, usual)}")
        value = usual[kind] if amount is None else float(amount)
        allowed = {
            "inverted": value == 0,
            "permuted": value >= 0 and value == int(value),
            "rotated": value in (90, 180, 270),
            "noisy": 0 < value <= 1,
            "contrast": 0 < value <= 10,
        }
        if not allowed[kind]:
            raise InputError(f"{self.data}.shifted({kind!r}): amount {amount!r} cannot be meant")
        return replace(self, shift=(kind, value))

    def resized(self, size: int) -> Task:
        """Images of `size` x `size` pixels (bilinear, with antialiasing)."""
        if size < 1:
            raise InputError(f"{self.data}.resized({size}) leaves no pixel")
        return replace(self, size=size)

    def rgb(self) -> Task:
        """Three equal channels where images are grey, for networks that share a backbone with
        colour sets or were trained on one.
        """
        return replace(self, coloured=True)

    def images(self, share: int = 0, *, of: int = 1, limit: int | None = None) -> Task:
        """Keep share number `share` of `of` disjoint, equal shares of the training images (drawn a
        class at a time, the same in every trial), and of it at most `limit` images, spread evenly
        over the classes. The test part stays whole."""
        if not 0 <= share < of:
            raise InputError(
                f"{self.data}.images(): share {share} of {of} does not exist; shares count from 0 to {of - 1}"
            )
        if limit is not None and limit < 1:
            raise InputError(f"{self.data}.images(): limit={limit} leaves no image")
        return replace(self, share=(share, of), limit=limit)

    def validation(self, fraction: float) -> Task:
        """Hold out this fraction of the kept training images of each class; 0 holds out none."""
        if not 0 <= fraction < 1:
            raise InputError(
                f"{self.data}.validation(): the fraction must be at least 0 and below 1, got {fraction}"
            )
        return replace(self, held_out=float(fraction))

    def named(self, label: str) -> Task:
        """Call the task `label` in metrics, components and figures; it also names the task's own
        random streams.
        """
        if not _NAME.fullmatch(label):
            raise InputError(f"a task's name has letters, digits, '_', '.' and '-', got {label!r}")
        return replace(self, label=label)

    @property
    def name(self) -> str:
        """The label, or a name made of what is taken."""
        if self.label:
            return self.label
        path, _, options = self.data.partition("?")
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.rsplit("/", 1)[-1]).strip("_").lower() or "data"
        name += f"-{digest(options)[:4]}" if options else ""
        if self.wanted is not None:
            name += "-" + _joined(self.wanted)
        name += f"-{_joined(self.positive)}.or.rest" if self.positive else ""
        if self.share[1] > 1:
            name += f"-{self.share[0]}of{self.share[1]}"
        name += f"-{self.limit}" if self.limit else ""
        name += (
            (f"-{self.shift[0]}" + (f"{self.shift[1]:g}" if self.shift[1] else ""))
            if self.shift
            else ""
        )
        name += "-foreground" if self.masks else ""
        return name + (f"-{self.size}px" if self.size else "") + ("-rgb" if self.coloured else "")

    def resolve(self, record: DataRecord) -> Task:
        """The same task with its data's digest, its classes by name. Raises DataError for a class
        that the data lacks.
        """
        wanted = self._named(
            record, range(len(record.classes)) if self.wanted is None else self.wanted
        )
        positive = None if self.positive is None else self._named(record, self.positive)
        if positive is not None and not set(positive) < set(wanted):
            raise DataError(
                f"{self.data}.binary(): {', '.join(positive)} must be some of the classes kept and not all: {', '.join(wanted)}"
            )
        resolved = replace(self, digest=record.digest, wanted=wanted, positive=positive)
        return resolved if self.label else replace(resolved, label=self.name)

    def _named(self, record: DataRecord, classes: Iterable[int | str]) -> tuple[str, ...]:
        names, missing = [], []
        for one in classes:
            if isinstance(one, int) and 0 <= one < len(record.classes):
                names.append(record.classes[one])
            elif isinstance(one, str) and one in record.classes:
                names.append(one)
            else:
                missing.append(one)
        if missing:
            listed = f"{nearest(str(missing[0]), record.classes)} By index: 0 to {len(record.classes) - 1}."
            raise DataError(
                f"{self.data} has no class {', '.join(repr(m) for m in missing)}. {listed}"
            )
        if len(set(names)) < len(names):
            raise DataError(f"{self.data}: a class is named twice in {tuple(classes)!r}")
        return tuple(names)

    def image(self, record: DataRecord) -> tuple[int, int, int]:
        """Shape (channels, height, width) of the task's images, for the data that the record
        describes.
        """
        channels, height, width = record.shape
        return (
            3 if self.coloured and channels == 1 else channels,
            *((self.size, self.size) if self.size else (height, width)),
        )

    @property
    def kept_classes(self) -> tuple[str, ...]:
        """Classes of the data set whose images the task takes, in order. Only of a resolved
        task.
        """
        if not self.digest or self.wanted is None:
            raise InputError(f"the classes of {self.name} are known once a plan has resolved it")
        return tuple(str(w) for w in self.wanted)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order. Only of a resolved task."""
        if self.masks:
            return ("background", "foreground")
        return (
            self.kept_classes
            if self.positive is None
            else ("rest", self.called or "+".join(str(p) for p in self.positive))
        )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def identity(self) -> dict[str, Any]:
        """What enters a trial's key: the digest, not the data's name. Verbs that were not used are
        not in it, so that new ones change no old key.
        """
        used = {
            "positive": list(self.positive) if self.positive else None,
            "called": self.called or None,
            "shift": list(self.shift) if self.shift else None,
            "size": self.size,
            "rgb": self.coloured or None,
            "masks": self.masks or None,
        }
        return {
            "data": self.digest,
            "classes": list(self.kept_classes),
            "share": list(self.share),
            "limit": self.limit,
            "held_out": self.held_out,
            "name": self.name,
            **{k: v for k, v in used.items() if v is not None},
        }

    def to_json(self) -> dict[str, Any]:
        return {
            f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v
            for f in fields(self)
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Task:
        found: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        return Task(**found)

    @property
    def train(self) -> Data:
        """Training images less the validation part."""
        return Data(task=self, part="train")

    @property
    def validation_part(self) -> Data:
        """Held-out training images, for curves and for choosing; never empty unless `validation(0)`
        was asked for.
        """
        return Data(task=self, part="validation")

    @property
    def test(self) -> Data:
        """All test images of the classes. Measured after training only."""
        return Data(task=self, part="test")

    def part(self, part: Part, *, because: str) -> Data:
        """A part used where it normally may not be, with the reason on record: `task.part("test",
        because="paper protocol")`.
        """
        return Data(task=self, part=part, because=because)


@dataclass(frozen=True, kw_only=True)
class Data:
    """A part of a task as a fit reads it. Its batches carry `x` (float, normalised, [B, C, H, W]),
    `y` (int64, [B]), and what is declared here.
    """

    task: Task
    part: Part
    draws: tuple[tuple[str, Draw], ...] = ()
    labels: tuple[tuple[str, tuple[int, ...]], ...] = ()
    crop: int = 0
    flip: bool = False
    order: str = ""
    because: str = ""
    chosen: tuple[int, int] | None = None

    def few(self, count: int, *, seed: int | None) -> Data:
        """Only `count` of the images, equally many of each label as far as they go, drawn by the
        seed. Nested: the 10 are among the 20.
        """
        if count < 1:
            raise InputError(f"{self.task.name}: few({count}) leaves no image")
        return replace(self, chosen=(count, seed or 0))

    def drawing(self, **draws: Draw) -> Data:
        """Random numbers that the loss needs, one an image: `batch.rotation` for
        `drawing(rotation=randint(4))`.
        """
        return replace(self, draws=(*self.draws, *draws.items()))

    def labelled(self, **labels: Sequence[int]) -> Data:
        """A second label made of the first: entry c is the new label of class c; `IGNORED` (-100)
        leaves an image out of a cross entropy.
        """
        for name, mapping in labels.items():
            if len(mapping) != self.task.num_classes:
                raise InputError(
                    f"labelled({name}=...): {len(mapping)} entries for the {self.task.num_classes} classes of {self.task.name}"
                )
        return replace(self, labels=(*self.labels, *((k, tuple(v)) for k, v in labels.items())))

    def augmented(self, *, crop: int = 4, flip: bool = True) -> Data:
        """Random shifts by up to `crop` pixels (zero padding) and random horizontal flips, on the
        device.
        """
        return replace(self, crop=crop, flip=flip)

    def ordered(self, name: str) -> Data:
        """Name the stream of order, augmentation and draws: two data sets with equal names are read
        in the same order.
        """
        return replace(self, order=name)


def _check_classes(where: str, named: Sequence[int | str]) -> None:
    repeated = sorted({str(w) for w in named if named.count(w) > 1})
    if not named or repeated:
        raise InputError(
            f"{where}: "
            + (f"{', '.join(repeated)} named twice" if repeated else "name at least one class")
        )
    if any(isinstance(w, bool) or not isinstance(w, int | str) for w in named):
        raise InputError(f"{where}: a class is a name or an index, got {named!r}")


def _joined(classes: Sequence[int | str]) -> str:
    chosen = ".".join(re.sub(r"[^A-Za-z0-9_-]+", "_", str(w)) for w in classes)
    return (
        chosen
        if len(chosen) <= 24
        else f"{len(classes)}classes-{digest([str(w) for w in classes])[:4]}"
    )


def common_classes(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Class names that all tasks share, in the first task's order."""
    return (
        tuple(c for c in tasks[0].class_names if all(c in t.class_names for t in tasks[1:]))
        if tasks
        else ()
    )


def relabel(task: Task, names: Sequence[str]) -> tuple[int, ...]:
    """For each class of `task` its index in `names`, or `IGNORED` where it is not among them."""
    return tuple(names.index(c) if c in names else IGNORED for c in task.class_names)


class Tasks(Sequence[Task]):
    """The tasks of a trial: by position, by role (`tasks.target`), by name
    (`tasks.by_name["a"]`).
    """

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
