"""A task: a data set and what is taken from it. Symbolic, so that a laptop without the images can
plan a sweep.

    digits.classes(0, 1, 2).images(0, of=2).validation(0.2).named("a")

reads: of digits the classes 0 to 2 (with labels 0 to 2 in this order), of their training images the
first of two disjoint halves, of that half a fifth held out for validation; called "a" in labels and
figures. The test part keeps every test image of the classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import parse_qsl

from orchestrator.errors import DataError, InputError, nearest
from orchestrator.spec.canonical import derive, digest
from orchestrator.spec.draws import Draw
from orchestrator.spec.preparation import (
    AUGMENTATIONS,
    IMAGENET,
    NORMALISATIONS,
    Augmentation,
    Normalisation,
    Statistics,
)

Shift = Literal["inverted", "permuted", "rotated", "noisy", "contrast"]

Part = Literal["train", "validation", "test"]
Drawing = Literal["", "images", "classes"]
IGNORED = -100
"""The label that torch's cross entropy skips."""
BINARY = ("background", "foreground")
"""The classes of pixels where masks tell an object from all else."""

# What each shift does unless another amount is given.
_USUAL_AMOUNT = {"inverted": 0.0, "permuted": 0.0, "rotated": 90.0, "noisy": 0.2, "contrast": 0.5}
_STATISTICS = ("statistics", "base_statistics")  # fields of a task that hold some
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """What planning has to know of a data set: written to the store by a machine that has the
    images, read by all.

    `digest` is of the images, `shape` is (channels, height, width), `counts` are the images to
    train and to test; `mean` and `std` are per channel, over training images scaled to [0, 1].

    What follows is for people, and empty in records of older versions, but for `mask_names`, the
    classes of pixels. `class_counts` are a class's images to train and to test; `modes` counts
    images by mode and depth, `sizes` by height and width in their files, the most frequent first;
    `warnings` is what a user should know before training on them.
    """

    name: str
    digest: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    counts: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_counts: tuple[tuple[int, int], ...] = ()
    modes: tuple[tuple[str, int], ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    mask_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON; of what older versions did not know, only what is known."""
        values = vars(self)
        # What is not known stays out, so that a record of an older version is written as it was.
        later = ("class_counts", "modes", "sizes", "mask_names", "warnings")
        return _with_lists({name: v for name, v in values.items() if v or name not in later})

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> DataRecord:
        """A record from its `to_json()`."""
        return DataRecord(**_with_tuples(value))


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something to learn. Every verb returns a new task and reads nothing; one that cannot be meant
    raises InputError. `digest` is empty until planning resolves the task.

    A task that is `drawn` has the `seed` of the trial that it is in, and is another task with
    another seed; `all_classes` are then those of the data set.

    `normalisation` is what was asked for, or blank where the trial's method decides. A resolved
    task has the `statistics` of its own data set, and in a trial in which it is normalised like its
    base also those of the base.
    """

    data: str
    digest: str = ""
    wanted: tuple[int | str, ...] | None = None  # names once resolved; places where drawn
    share: tuple[int, int] = (0, 1)  # which one, of how many
    limit: int | None = None
    held_out: float = 0.1  # a fraction of what share and limit leave
    positive: tuple[int | str, ...] | None = None
    called: str = ""
    masks: bool = False
    objects: tuple[int | str, ...] | None = None
    each_pixel: bool = False
    shift: tuple[str, float] | None = None  # kind and amount
    size: int | None = None
    coloured: bool = False
    label: str = ""
    drawing: Drawing = ""
    seed: int | None = None
    all_classes: tuple[str, ...] = ()
    normalisation: Normalisation | Literal[""] = ""
    statistics: Statistics | None = None
    base_statistics: Statistics | None = None

    def classes(self, *wanted: int | str) -> Task:
        """Keep these classes, given by name or by index in the data set, and number them in this
        order.

        Where all classes are called by numbers, a number is a name: `classes(2)` is the class '2',
        even where the names are sorted as text ('0', '1', '10', '2').
        """
        _check_classes(f"{self.data}.classes()", wanted)
        return replace(self, wanted=wanted)

    def binary(self, *positive: int | str, called: str = "") -> Task:
        """Two labels: 1 for these classes, 0 for all others that the task keeps (a category against
        the background). `called` names label 1, so that tasks with other positive classes have that
        class in common.
        """
        _check_classes(f"{self.data}.binary()", positive)
        return replace(self, positive=positive, called=called)

    def foreground(self, *objects: int | str) -> Task:
        """A label for each pixel: 1 on the image's object, 0 elsewhere. For sets that have masks:
        those made by `pasted`, and Parquet with a column of masks, `parquet(..., mask="mask")`.

        `objects` names the classes of pixels that are the object, as in `foreground("car")`; where
        masks tell no more than object and background, there is nothing to name. Pixels of no class
        (unlabelled) have the label `IGNORED`.
        """
        self._check_masks("foreground", objects)
        return replace(self, masks=True, each_pixel=False, objects=objects or None)

    def pixels(self, *kept: int | str) -> Task:
        """A label for each pixel: the number of the class that it shows, of all classes of pixels
        or of these, in this order. Other pixels have the label `IGNORED`.
        """
        self._check_masks("pixels", kept)
        return replace(self, masks=True, each_pixel=True, objects=kept or None)

    def _check_masks(self, verb: str, objects: Sequence[int | str]) -> None:
        """Raise InputError where the data set cannot have such masks."""
        # Only the name of the data set is read here, never the data: a sweep is written where the
        # images may not be.
        kind, _, rest = self.data.partition("/")
        options = dict(parse_qsl(rest.partition("?")[2]))
        if kind not in ("pasted", "windows") and "mask" not in options:
            hint = "pasted(...) makes a set that has"
            if kind == "parquet":
                hint = 'parquet(..., mask="mask") names the column that holds them'
            raise InputError(f"{self.data} has no masks; {hint}")
        if objects:
            _check_classes(f"{self.data}.{verb}()", objects)

    def shifted(self, kind: Shift, amount: float | None = None) -> Task:
        """Another domain, made of the same images, training and test alike.

        - `inverted`: dark is bright; takes no amount.
        - `permuted`: the pixels in another order, which `amount` numbers (0).
        - `rotated`: by `amount` degrees, 90, 180 or 270 (90).
        - `noisy`: with normal noise, whose deviation is `amount` of the brightness range (0.2).
        - `contrast`: times `amount` (0.5).

        Images are still normalised by the statistics of the data set as it is, which would undo
        some shifts otherwise.
        """
        if kind not in _USUAL_AMOUNT:
            hint = nearest(kind, _USUAL_AMOUNT)
            raise InputError(f"{self.data}.shifted(): no shift {kind!r}. {hint}")
        value = _USUAL_AMOUNT[kind] if amount is None else float(amount)
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
        """Three equal channels where images are grey: for networks that share a backbone with one
        for colour images, or were trained on those.
        """
        return replace(self, coloured=True)

    def normalised(self, by: Normalisation) -> Task:
        """Say by which statistics images are normalised, each channel to mean 0 and deviation 1:

        - `own`: those of the task's data set.
        - `base`: those that the base was trained with, where a method starts from another task's
          network; so the network sees a pixel's value as it saw it then.
        - `imagenet`: those that torchvision's pretrained weights were trained with; for images of
          three channels.

        Without this verb a method that starts from a base takes `base`, any other takes `own`, and
        what starts from pretrained weights takes the statistics of these.
        """
        if by not in NORMALISATIONS:
            hint = nearest(str(by), NORMALISATIONS)
            raise InputError(f"{self.data}.normalised(): no normalisation {by!r}. {hint}")
        # A task out of a trial may carry the statistics of that trial's base; asked anew, they are
        # decided anew.
        return replace(self, normalisation=by, base_statistics=None)

    @property
    def normalised_by(self) -> Statistics | None:
        """The statistics that the images are normalised by; None where these are not known yet."""
        if self.normalisation == "base":
            return self.base_statistics
        return IMAGENET if self.normalisation == "imagenet" else self.statistics

    def images(self, share: int = 0, *, of: int = 1, limit: int | None = None) -> Task:
        """Keep one of `of` disjoint, equal shares of the training images, and of it at most `limit`
        images, spread evenly over the classes. Shares count from 0, are drawn within each class,
        and are the same in every trial unless the task is `drawn`. The test part stays as it is.
        """
        if not 0 <= share < of:
            raise InputError(
                f"{self.data}.images(): share {share} of {of} does not exist; "
                f"shares count from 0 to {of - 1}"
            )
        if limit is not None and limit < 1:
            raise InputError(f"{self.data}.images(): limit={limit} leaves no image")
        return replace(self, share=(share, of), limit=limit)

    def drawn(self, *, classes: bool = False) -> Task:
        """Let the trial's seed draw which training images the task takes: those of its share, of
        its limit, and those held out. Without it all seeds train on the same ones, and what is
        measured over seeds holds for these images only.

        All methods of one seed see the same images, so that they can be compared in pairs; shares
        of one data set are disjoint for each seed; a need with another seed draws its own. The test
        part stays as it is.

        With `classes`, numbers of classes are places in an order of all classes of the data set
        that the seed draws, too: `digits.classes(0, 1, 2).drawn(classes=True)` has three classes,
        others for each seed, and shares one of them with
        `digits.classes(2, 3).drawn(classes=True)`.
        """
        return replace(self, drawing="classes" if classes else "images")

    def of_seed(self, seed: int | None) -> Task:
        """The task in a trial of this seed: another one only where it is `drawn`."""
        # A trial whose method uses no seed has none, and its tasks keep what they were drawn with.
        if not self.drawing or seed is None or seed == self.seed:
            return self
        return replace(self, seed=seed)

    @property
    def as_tested(self) -> Task:
        """The task without what concerns its training images: two tasks that are equal in this have
        the same test images with the same labels. Only for comparing.
        """
        tested = replace(self, share=(0, 1), limit=None, held_out=0.0, label="")
        if self.drawing == "classes":
            # Here the seed says which classes there are, and so which test images.
            return tested
        return replace(tested, drawing="", seed=None)

    def validation(self, fraction: float) -> Task:
        """Hold out this fraction of the kept training images of each class; 0 holds out none."""
        if not 0 <= fraction < 1:
            raise InputError(
                f"{self.data}.validation(): the fraction must be at least 0 and below 1, "
                f"got {fraction}"
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
        """The label, or a name made of what is taken: `digits-0.1.2-0of2`."""
        if self.label:
            return self.label
        path, _, options = self.data.partition("?")
        parts = [_plain(path.rsplit("/", 1)[-1]).strip("_").lower() or "data"]
        if options:
            # Too long for a name; four digits of a digest tell sets with other options apart.
            parts.append(digest(options)[:4])
        if self.wanted is not None:
            parts.append(_joined(self.wanted))
        if self.positive:
            parts.append(f"{_joined(self.positive)}.or.rest")
        if self.share[1] > 1:
            parts.append(f"{self.share[0]}of{self.share[1]}")
        if self.limit:
            parts.append(str(self.limit))
        if self.shift:
            kind, amount = self.shift
            parts.append(f"{kind}{amount:g}" if amount else kind)
        if self.masks:
            parts.append("pixels" if self.each_pixel else "foreground")
            parts += [_joined(self.objects)] if self.objects else []
        if self.size:
            parts.append(f"{self.size}px")
        if self.coloured:
            parts.append("rgb")
        if self.drawing:
            parts.append("drawn.classes" if self.drawing == "classes" else "drawn")
        return "-".join(parts)

    def resolve(self, record: DataRecord) -> Task:
        """The same task with its data's digest and its classes by name; where the seed draws
        classes, these keep their numbers. Raises DataError for a class that the data lacks.
        """
        if self.drawing == "classes":
            self._check_places()
        # Of drawn classes only the range of the numbers is checked here; their names come with a
        # seed.
        places_only = self.drawing == "classes"
        wanted: tuple[str, ...] = record.classes
        if self.wanted is not None:
            wanted = self._named(record.classes, self.wanted, places_only=places_only)
        positive = None
        if self.positive is not None:
            positive = self._named(record.classes, self.positive, places_only=places_only)
        if positive is not None and not set(positive) < set(wanted):
            raise DataError(
                f"{self.data}.binary(): {', '.join(positive)} must be some of the classes kept "
                f"and not all: {', '.join(wanted)}"
            )
        # The record's statistics are per channel of the files; of grey images made colour, one
        # holds for each of three.
        own = Statistics(record.mean, record.std).over(self.image(record)[0])
        objects = self._objects(record.mask_names)
        # The name stays the one of the task as written: names of classes in the place of numbers
        # would change it, and with it the key and the random streams.
        resolved = replace(
            self, digest=record.digest, label=self.name, statistics=own, objects=objects
        )
        if self.drawing == "classes":
            return replace(resolved, all_classes=record.classes)
        return replace(resolved, wanted=wanted, positive=positive)

    def _check_places(self) -> None:
        """Raise DataError where there is nothing that drawn classes could be places of."""
        where = f"{self.data}.drawn(classes=True)"
        if self.wanted is None:
            raise DataError(f"{where} keeps all classes: say how many, as in .classes(0, 1, 2)")
        names = [w for w in (*self.wanted, *(self.positive or ())) if isinstance(w, str)]
        if names:
            raise DataError(
                f"{where}: {', '.join(map(repr, names))} is named, so no seed can draw it; "
                f"say .drawn(), or give classes by number"
            )

    def _drawn_classes(self, places: Iterable[int | str]) -> tuple[str, ...]:
        """Names of the classes at these places of the seed's own order of all classes."""
        if self.seed is None:
            raise InputError(f"the classes of {self.name} are drawn by a trial's seed")
        order = _drawn_order(self.digest, self.seed, self.all_classes)
        return tuple(order[int(place)] for place in places)

    def _objects(self, mask_names: Sequence[str]) -> tuple[str, ...] | None:
        """The classes of pixels that the task's labels are made of, by name; None for masks that
        tell an object from its background, and for tasks without masks. Raises DataError where
        none is named and there are several, or where one does not exist.
        """
        if not self.masks or (self.data.startswith("pasted/") and self.objects is None):
            return None
        if self.objects is not None:
            return self._named(mask_names, self.objects)
        if self.each_pixel:
            return tuple(mask_names)
        if tuple(mask_names) == BINARY:
            return None
        listed = ", ".join(map(repr, mask_names))
        raise DataError(
            f"{self.data}.foreground(): masks have several classes; say which are the foreground, "
            f"as in .foreground({mask_names[-1]!r}). Valid: {listed}"
        )

    def _named(
        self, names: Sequence[str], classes: Iterable[int | str], *, places_only: bool = False
    ) -> tuple[str, ...]:
        """Classes given by name or index, by name; with `places_only` a number is never a name.
        Raises DataError where the data lacks one, or where a number may be two.
        """
        # A number is a name where all classes are called by numbers, and an index where none is.
        # Where some are, it may be either, which is refused unless both are the same class.
        numbered = {} if places_only else _by_number(names)
        # Two spellings of one number ('7' and '007') leave fewer here than there are names.
        all_numbered = len(numbered) == len(names)
        found, missing, ambiguous = [], [], []
        for wanted in classes:
            if isinstance(wanted, str) and wanted in names:
                found.append(wanted)
            elif isinstance(wanted, str) or (all_numbered and wanted not in numbered):
                missing.append(wanted)
            elif all_numbered:
                found.append(numbered[wanted])
            elif not 0 <= wanted < len(names):
                missing.append(wanted)
            elif numbered.get(wanted, names[wanted]) != names[wanted]:
                ambiguous.append(wanted)
            else:
                found.append(names[wanted])
        if missing:
            hint = f"By index: 0 to {len(names) - 1}."
            if all_numbered and numbered != dict(enumerate(names)):
                hint = "Numbers are names here."
            raise DataError(
                f"{self.data} has no class {', '.join(map(repr, missing))}. "
                f"{nearest(str(missing[0]), names)} {hint}"
            )
        if ambiguous:
            first = ambiguous[0]
            raise DataError(
                f"{self.data}: {first} may be the class {numbered[first]!r} by name or "
                f"{names[first]!r} by index; write the name"
            )
        if len(set(found)) < len(found):
            raise DataError(f"{self.data}: a class is named twice in {tuple(classes)!r}")
        return tuple(found)

    def image(self, record: DataRecord) -> tuple[int, int, int]:
        """The shape (channels, height, width) of the task's images; the record is that of its
        data.
        """
        channels, height, width = record.shape
        if self.coloured and channels == 1:
            channels = 3
        if self.size:
            height = width = self.size
        return channels, height, width

    @property
    def is_unseen(self) -> bool:
        """Whether there are no images of it; see `unseen`."""
        return self.data.startswith("unseen/")

    @property
    def kept_classes(self) -> tuple[str, ...]:
        """Classes of the data set whose images the task takes, in order. Raises InputError where
        the task has not been resolved.
        """
        if not self.digest or self.wanted is None:
            raise InputError(
                f"the classes of {self.name} are known once a plan has resolved it; results and "
                "components have such tasks, result.tasks['a'] and component.task"
            )
        if self.drawing == "classes":
            return self._drawn_classes(self.wanted)
        return tuple(str(w) for w in self.wanted)

    @property
    def positive_classes(self) -> tuple[str, ...] | None:
        """Of a `binary` task the classes with label 1, else None. Raises InputError where the task
        has not been resolved.
        """
        if self.positive is None:
            return None
        if self.drawing == "classes":
            return self._drawn_classes(self.positive)
        return tuple(map(str, self.positive))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels, from label 0. Raises InputError where the task has not been
        resolved.
        """
        if self.masks:
            return tuple(map(str, self.objects or ())) if self.each_pixel else BINARY
        if self.positive_classes is not None:
            return ("rest", self.called or "+".join(self.positive_classes))
        return self.kept_classes

    @property
    def num_classes(self) -> int:
        """How many labels there are. Raises InputError where the task has not been resolved."""
        return len(self.class_names)

    def identity(self) -> dict[str, Any]:
        """What enters a trial's key: the digest, not the data's name. Verbs that came later are in
        it only where they are used, so that they changed no older key.
        """
        later = {
            "positive": list(self.positive_classes) if self.positive_classes else None,
            "called": self.called or None,
            "shift": list(self.shift) if self.shift else None,
            "size": self.size,
            "rgb": self.coloured or None,
            "masks": self.masks or None,
            "objects": None if self.objects is None else list(self.objects),
            "each_pixel": self.each_pixel or None,
            "drawn": [self.drawing, self.seed] if self.drawing else None,
            "normalised": self._foreign_statistics(),
        }
        return {
            "data": self.digest,
            "classes": list(self.kept_classes),
            "share": list(self.share),
            "limit": self.limit,
            "held_out": self.held_out,
            # Streams of random numbers go by the name, so another name is another training.
            "name": self.name,
            **{name: value for name, value in later.items() if value is not None},
        }

    def _foreign_statistics(self) -> Any:
        """What the key says of normalisation: nothing where it is by the data's own statistics,
        whatever they were asked for as, else the numbers.
        """
        by = self.normalised_by
        # A base on the same data gives the same numbers, and a trial that asks for its own is the
        # very same trial.
        if self.normalisation in ("", "own") or (by is not None and by == self.statistics):
            return None
        return self.normalisation if by is None else by.to_json()

    def to_json(self) -> dict[str, Any]:
        """The task as plain JSON: for records, and for other processes. What belongs to drawing, to
        normalisation or to masks with classes is in it only where there is something to say.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        # Fields that came later: without them a task reads as it does in the records of before.
        if self.objects is None and not self.each_pixel:
            del values["objects"], values["each_pixel"]
        if not self.drawing:
            for name in ("drawing", "seed", "all_classes"):
                del values[name]
        for name in ("normalisation", *_STATISTICS):
            if not values[name]:
                del values[name]
            elif name in _STATISTICS:
                values[name] = values[name].to_json()
        return _with_lists(values)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Task:
        """A task from its `to_json()`."""
        values = _with_tuples(value)
        for name in _STATISTICS:
            if name in values:
                values[name] = Statistics.from_json(values[name])
        return Task(**values)

    @property
    def train(self) -> Data:
        """The training images, without those held out for validation."""
        return Data(task=self, part="train")

    @property
    def validation_part(self) -> Data:
        """The training images held out for validation, for curves and for choosing; empty only
        after `validation(0)`.
        """
        return Data(task=self, part="validation")

    @property
    def test(self) -> Data:
        """All test images of the classes; a fit may not touch them."""
        return Data(task=self, part="test")

    def part(self, part: Part, *, because: str) -> Data:
        """A part where it may not be used otherwise, with the reason, which goes on record:
        `task.part("test", because="paper protocol")`.
        """
        return Data(task=self, part=part, because=because)


@dataclass(frozen=True, kw_only=True)
class Data:
    """A part of a task as a fit reads it.

    Its batches carry `x` (float, normalised, [batch, channels, height, width]), `y` (int64,
    [batch]; with `foreground()` [batch, height, width]), and what is declared here by `drawing` and
    `labelled`. Made by `task.train` and its siblings; every verb returns another one.
    """

    task: Task
    part: Part
    draws: tuple[tuple[str, Draw], ...] = ()
    labels: tuple[tuple[str, tuple[int, ...]], ...] = ()  # by name: a new label for each label
    augmentation: Augmentation = "none"
    order: str = ""
    because: str = ""
    chosen: tuple[int, int] | None = None  # of `few`: how many, and its seed

    def few(self, count: int, *, seed: int | None) -> Data:
        """Only `count` of the images, drawn by the seed, equally many of each label as far as they
        go. A larger number adds images to those of a smaller one. Raises InputError where none is
        left.
        """
        if count < 1:
            raise InputError(f"{self.task.name}: few({count}) leaves no image")
        return replace(self, chosen=(count, seed or 0))

    def drawing(self, **draws: Draw) -> Data:
        """Declare random numbers that the loss needs for each image: `drawing(rotation=randint(4))`
        gives `batch.rotation`.
        """
        return replace(self, draws=(*self.draws, *draws.items()))

    def labelled(self, **labels: Sequence[int]) -> Data:
        """Declare a second label, made of the first: entry c of the sequence is the new label of
        label c, or `IGNORED` to leave the image out of a cross entropy. `labelled(common=(0, 1))`
        gives `batch.common`, int64, [batch]. Raises InputError where the length is wrong.
        """
        # Checked when it is declared: a table that is too short would fail as an index in the
        # middle of a fit, and one too long not at all.
        num_classes = self.task.num_classes
        for name, mapping in labels.items():
            if len(mapping) != num_classes:
                raise InputError(
                    f"labelled({name}=...): {len(mapping)} entries for the {num_classes} classes "
                    f"of {self.task.name}"
                )
        added = [(name, tuple(mapping)) for name, mapping in labels.items()]
        return replace(self, labels=(*self.labels, *added))

    def augmented(self, how: Augmentation) -> Data:
        """Change each image at random, anew in each epoch; a method has `how` as its setting, see
        `augmentation_axis`.

        - `none`: as it is.
        - `flip`: mirrored, left to right, one time in two.
        - `crop and flip`: also moved by up to an eighth of its shorter side (4 pixels of 32) in
          each direction, black coming in.
        - `random resized crop`: a part of it with 8 to 100 % of its area and sides of 3 to 4 up to
          4 to 3, scaled to the image's own size, and mirrored one time in two.
        """
        if how not in AUGMENTATIONS:
            hint = nearest(str(how), AUGMENTATIONS)
            raise InputError(f"{self.task.name}: no augmentation {how!r}. {hint}")
        return replace(self, augmentation=how)

    def ordered(self, name: str) -> Data:
        """Name the random stream of order, augmentation and draws: two data sets with equal names
        are read in the same order.
        """
        return replace(self, order=name)


@lru_cache(maxsize=1024, typed=True)  # a plan asks for it many times a trial
def _drawn_order(digest: str, seed: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """A seed's own order of all classes of a data set. Each draws a lot by its name, which is no
    shuffle: all tasks of the data set agree on it, so a place that two of them share is the same
    class in both.
    """
    lots = {name: derive("classes", digest, seed, name) for name in names}
    return tuple(sorted(lots, key=lots.__getitem__))


def _check_classes(where: str, named: Sequence[int | str]) -> None:
    """Raise InputError where a verb was given no class, one twice, or something else."""
    repeated = sorted({str(w) for w in named if named.count(w) > 1})
    if repeated:
        raise InputError(f"{where}: {', '.join(repeated)} named twice")
    if not named:
        raise InputError(f"{where}: name at least one class")
    if any(isinstance(w, bool) or not isinstance(w, int | str) for w in named):
        raise InputError(f"{where}: a class is a name or an index, got {named!r}")


def _plain(text: str) -> str:
    """A text with anything that a name may not hold as underscores."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)


def _joined(classes: Sequence[int | str]) -> str:
    """Classes as part of a name; where they are many, their number and a digest."""
    names = [str(wanted) for wanted in classes]
    # The name of a task is part of file names and of MLflow's, which have their limits.
    joined = ".".join(_plain(name) for name in names)
    return joined if len(joined) <= 24 else f"{len(names)}classes-{digest(names)[:4]}"


def _by_number(names: Sequence[str]) -> dict[int, str]:
    """Of these names those that are numbers, by number: '7', and '007' where no other is 7."""
    found: dict[int, str] = {}
    for name in names:
        # `isdecimal`, not `isdigit`, which says yes to '²', and int() does not take that.
        if name.isdecimal() and int(name) not in found:
            found[int(name)] = name
    return found


def _with_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as plain JSON: tuples become lists, at any depth."""

    def plain(value: Any) -> Any:
        return [plain(v) for v in value] if isinstance(value, tuple) else value

    return {name: plain(value) for name, value in values.items()}


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `_with_lists`."""

    def frozen(value: Any) -> Any:
        return tuple(frozen(v) for v in value) if isinstance(value, list) else value

    return {name: frozen(value) for name, value in values.items()}


def common_classes(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Names of the classes that all tasks share, in the first task's order. Raises InputError where
    a task has not been resolved.
    """
    if not tasks:
        return ()
    first, *others = tasks
    return tuple(c for c in first.class_names if all(c in task.class_names for task in others))


def relabel(task: Task, names: Sequence[str]) -> tuple[int, ...]:
    """For each class of `task` its index in `names`, or `IGNORED` where it is not among them: a
    mapping for `Data.labelled`.
    """
    return tuple(names.index(c) if c in names else IGNORED for c in task.class_names)


class Tasks(Sequence[Task]):
    """The tasks of a trial: by position (`tasks[0]`), by role (`tasks.target`), by name
    (`tasks["a"]`). Raises InputError for a name that none has.
    """

    def __init__(self, tasks: Sequence[Task], roles: Sequence[str]) -> None:
        self._tasks = tuple(tasks)
        # Not strict: optional roles may be left unfilled, and tasks beyond the last role have none.
        self._roles = dict(zip(roles, self._tasks, strict=False))
        self.by_name: Mapping[str, Task] = {t.name: t for t in self._tasks}

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, str):
            return self._tasks[index]
        if index not in self.by_name:
            raise InputError(f"there is no task {index!r}. {nearest(index, self.by_name)}")
        return self.by_name[index]

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def __getattr__(self, role: str) -> Task:
        # Not `self._roles`: copying and unpickling ask for attributes before there is one, and that
        # would ask here again without end.
        roles: dict[str, Task] = self.__dict__.get("_roles", {})
        if role in roles:
            return roles[role]
        raise AttributeError(f"no role {role!r}. {nearest(role, roles)}")
