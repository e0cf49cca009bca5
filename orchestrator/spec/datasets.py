"""The data sets that a sweep can name. Nothing is read and nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlencode

from orchestrator.errors import DataError, nearest
from orchestrator.spec.task import Task

TORCHVISION_SETS = (
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "CIFAR10",
    "CIFAR100",
    "SVHN",
    "STL10",
    "USPS",
)
WINDOWED = ("of", "window", "cut")  # category, size and seed of windows
OPTIONS: Mapping[str, tuple[str, ...]] = {  # of each kind's names
    "digits": (),
    "torchvision": (),
    "parquet": ("image", "label", "mask", "crop", "size", "scaled", "reduced", "test"),
    "folder": ("size", "scaled", "reduced", "test"),
    "unseen": ("classes", "size"),
    "pasted": ("canvas",),
    "windows": WINDOWED,
}

Scaled = int | Literal["whole"] | None
"""How images come to a size: see `image_folder`."""

digits = Task(data="digits")
"""scikit-learn's digits: 1,797 grey images of 8x8 pixels in 10 classes, part of the package. The
split is our own and fixed: 1,200 to train, 597 to test."""


def torchvision_set(name: str) -> Task:
    """One of torchvision's sets by the name of its class, read from the data root (`--data`,
    `SPOLIA_DATA`) and never downloaded. Raises DataError for a set that is not known here.
    """
    if name not in TORCHVISION_SETS:
        raise DataError(
            f"no torchvision set {name!r} is known here. {nearest(name, TORCHVISION_SETS)}"
        )
    return Task(data=f"torchvision/{name}")


def parquet(
    path: str,
    *,
    image: str = "image",
    label: str = "label",
    where: Mapping[str, str] | None = None,
    size: int | None = None,
    scaled: Scaled = None,
    reduced: bool = False,
    test: float | None = None,
    mask: str | None = None,
    crop: str | Sequence[str] | None = None,
) -> Task:
    """A set in the Parquet layout of Hugging Face's `datasets`: a folder with `train*.parquet` and
    `test*.parquet`.

    `path` is a folder below the data root, an absolute one, or an address such as s3://bucket/set.
    The column `image` holds encoded bytes (a struct of `bytes` and `path`, or binary), `label`
    whole numbers or names; class names come from the schema's `huggingface` metadata. `where` keeps
    rows by other columns (`where={"domain": "photo"}`). Where images differ in size, `size` scales
    the shorter side to that many pixels and crops the middle; `scaled` and `reduced` are as in
    `image_folder`.
    Without a test part, `test=0.25` makes one of a quarter of each class's rows.

    `mask` is a column of images whose pixels are numbers of classes, for `.foreground(...)` and
    `.pixels()`; their names come from the schema's metadata `mask_names`. A set with masks needs no
    labels.

    `crop` cuts each image to a box: a column of x, y, width and height (`"bbox"`), of two corners
    (`"bbox:xyxy"`), or four columns of left, top, right and bottom. Boxes are in pixels.
    """
    columns = {"image": image, "label": label}
    if not all((image, label, mask is None or mask)):
        raise DataError(f"parquet: {path!r}: a column of no name cannot be meant")
    # Usual names stay out, as all defaults do: the name of a data set is what its record is found
    # by, and there should be one way to write it.
    options = {name: column for name, column in columns.items() if column != name}
    options |= {f"where.{column}": str(value) for column, value in (where or {}).items()}
    if mask is not None:
        options["mask"] = mask
    if crop is not None:
        options["crop"] = crop if isinstance(crop, str) else ",".join(crop)
        # For its error: the sweep is told now, not the machine that reads the images.
        Box.parse(options["crop"])
    if reduced and (crop is not None or mask is not None):
        raise DataError(
            f"parquet: {path!r} cannot be reduced: boxes and masks are in pixels of the whole image"
        )
    options |= _scaled("parquet", size, scaled)
    return Task(data=_name("parquet", path, options, size, reduced=reduced, test=test))


def image_folder(
    path: str,
    *,
    size: int | None = None,
    scaled: Scaled = None,
    reduced: bool = False,
    test: float | None = None,
) -> Task:
    """A folder with `train/CLASS/*.png` and `test/CLASS/*.png` (or jpg, bmp, webp, gif, tif, ppm,
    pgm); `path` and `size` are as in `parquet`.

    `test=0.25` makes a test part where there is none, of a folder `CLASS/*.png` or
    `train/CLASS/*.png`: of each class a quarter, chosen by a hash of the files' names, so that
    another file moves hardly any.

    With `scaled` the shorter side is scaled to so many pixels, more than the `size` that is then
    cropped from the middle (`size=224, scaled=256`); or both sides to `size`, whatever their ratio,
    so that all of an image is seen (`scaled="whole"`).

    `reduced` lets JPEG files be decoded at a half, a quarter or an eighth of their size, as long as
    that is at least `size`: faster for photographs, with slightly other pixels.
    """
    options = _scaled("folder", size, scaled)
    return Task(data=_name("folder", path, options, size, reduced=reduced, test=test))


def unseen(name: str, *, classes: int, size: int = 224) -> Task:
    """The task of a network that was trained elsewhere, on images that are not here: so many
    classes, called by their numbers, of colour images. Nothing can be trained or measured on it; it
    stands for the source of a base whose trained weights are at hand::

        tasks=(unseen("imagenet", classes=1000), target)

    with `torchvision_network("resnet50", weights=...)` and
    `FineTune(epochs=0, classifier="trained")` as the base. Images of the tasks behind it are
    normalised by ImageNet's statistics.
    """
    if not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-"):
        raise DataError(
            f"unseen({name!r}): call it by lower-case letters, digits, '_', '.' and '-'"
        )
    if classes < 2 or size < 1:
        raise DataError(f"unseen({name!r}): classes={classes} and size={size} cannot be meant")
    query = urlencode({"classes": str(classes), "size": str(size)})
    return Task(data=f"unseen/{name}?{query}", held_out=0.0).named(name)


def pasted(objects: Task, *, seed: int = 0) -> Task:
    """A grey set's images as objects on textured canvases, with a mask of each object's pixels:
    `pasted(torchvision_set("FashionMNIST"))`.

    A canvas is 4 pixels larger each way; texture and place are drawn by the seed. The classes are
    the objects'; `.foreground()` makes the masks the labels.
    """
    name, _, query = objects.data.partition("?")
    # Only the name of the set goes on; what had been taken from it would be lost without a word.
    if objects != Task(data=objects.data) or name.startswith("pasted/"):
        raise DataError(
            f"pasted() takes a whole set, such as pasted(digits).classes(0, 1), "
            f"not {objects.data} with something taken from it"
        )
    # A name has one query, so the seed of the canvases goes among the options of the set that is
    # pasted; `Source.objects` takes it out again.
    options = dict(parse_qsl(query)) | {"canvas": str(seed)}
    return Task(data=f"pasted/{name}?{urlencode(sorted(options.items()))}")


def windows(scenes: Task, category: str, *, size: int, seed: int = 0) -> Task:
    """Square pieces of a set's scenes, of `size` pixels: from each scene one around a pixel of the
    category and one without any, as far as there are any, drawn by the seed. The classes are `rest`
    and the category; masks are those of the scenes::

        road = windows(parquet("camvid", mask="mask"), "road", size=48)
        road.binary("road", called="category")   # is it there?
        road.classes("road").foreground("road")  # and where?
    """
    if scenes != Task(data=scenes.data):
        raise DataError(
            f"windows() takes a whole set, such as parquet('camvid', mask='mask'), "
            f"not {scenes.data} with something taken from it"
        )
    if size < 1 or not category:
        raise DataError(f"windows() of {size} pixels around {category!r} cannot be meant")
    name, _, query = scenes.data.partition("?")
    own = {"of": category, "window": str(size), "cut": str(seed)}
    options = dict(parse_qsl(query))
    if "of" in options or name.startswith("windows/"):
        raise DataError(f"windows() takes scenes, and {scenes.data} has windows already")
    return Task(data=f"windows/{name}?{urlencode(sorted((options | own).items()))}")


def _name(
    kind: str,
    path: str,
    options: Mapping[str, str],
    size: int | None,
    *,
    reduced: bool,
    test: float | None,
) -> str:
    """A data set's name: `kind/path?option=value&...`, options in alphabetical order."""
    # What follows the first '?' is taken for options.
    if not path.strip("/") or "?" in path:
        raise DataError(f"{kind}: {path!r} is not a folder or an address")
    if size is not None and size < 1:
        raise DataError(f"{kind}: size={size} leaves no pixel")
    if reduced and size is None:
        raise DataError(f"{kind}: reduced=True needs a size to reduce to, such as size=64")
    if test is not None and not (isinstance(test, int | float) and 0 < test < 1):
        raise DataError(f"{kind}: test={test!r} is no part of the images; between 0 and 1 is one")
    more = {
        "size": None if size is None else str(size),
        "reduced": "1" if reduced else None,
        # As a float, so that all ways to write a number give one name.
        "test": None if test is None else repr(float(test)),
    }
    options = {**options, **{name: value for name, value in more.items() if value is not None}}
    query = urlencode(sorted(options.items()))
    name = f"{kind}/{path.rstrip('/')}"
    return f"{name}?{query}" if query else name


def _scaled(kind: str, size: int | None, scaled: Scaled) -> dict[str, str]:
    """The option `scaled`, or none. Raises DataError where it does not fit the size."""
    if scaled is None:
        return {}
    if size is None:
        raise DataError(f"{kind}: scaled={scaled!r} needs a size, such as size=224")
    is_number = isinstance(scaled, int) and not isinstance(scaled, bool)
    if scaled != "whole" and not (is_number and scaled > size):
        raise DataError(
            f"{kind}: scaled={scaled!r} with size={size}; it may be 'whole', or pixels of the "
            "shorter side, more than size"
        )
    return {"scaled": str(scaled)}


@dataclass(frozen=True)
class Box:
    """Where an image's box is told: one column with four numbers, or a column for each number.
    `with_corners` means left, top, right and bottom, else x, y, width and height.
    """

    columns: tuple[str, ...]
    with_corners: bool

    @staticmethod
    def parse(text: str) -> Box:
        """The box of an option `crop`. Raises DataError for what is none."""
        column, _, layout = text.partition(":")
        columns = tuple(column.split(","))
        if len(columns) not in (1, 4) or not all(columns) or layout not in ("", "xywh", "xyxy"):
            raise DataError(
                f"crop={text!r} is no box: name a column of x, y, width and height ('bbox'), a "
                "column of two corners ('bbox:xyxy'), or four columns: left, top, right and bottom"
            )
        return Box(columns, with_corners=layout == "xyxy" or (not layout and len(columns) == 4))


@dataclass(frozen=True)
class Source:
    """A data set's name taken apart: the `kind` of reader, the path, the options."""

    kind: str
    path: str
    options: Mapping[str, str]

    @property
    def size(self) -> int | None:
        """Pixels that images are scaled and cropped to, or None."""
        return int(self.options["size"]) if "size" in self.options else None

    @property
    def scaled(self) -> Scaled:
        """Pixels that the shorter side is scaled to before `size` are cropped, "whole" where
        nothing is cropped, or None.
        """
        scaled = self.options.get("scaled")
        if scaled is None or scaled == "whole":
            return scaled  # type: ignore[return-value]  # mypy takes "whole" for any text
        return int(scaled)

    @property
    def is_reduced(self) -> bool:
        """Whether JPEG files may be decoded at a smaller size than their own."""
        return "reduced" in self.options

    @property
    def test(self) -> float | None:
        """The fraction of the images that makes the test part, where the files have none."""
        return float(self.options["test"]) if "test" in self.options else None

    @property
    def box(self) -> Box | None:
        """What images are cropped to, or None."""
        return Box.parse(self.options["crop"]) if "crop" in self.options else None

    @property
    def objects(self) -> str:
        """The name of the set whose images are pasted."""
        query = urlencode(sorted((k, v) for k, v in self.options.items() if k != "canvas"))
        return f"{self.path}?{query}" if query else self.path

    @property
    def scenes(self) -> str:
        """The name of the set that windows are cut from."""
        query = urlencode(sorted((k, v) for k, v in self.options.items() if k not in WINDOWED))
        return f"{self.path}?{query}" if query else self.path

    @property
    def where(self) -> dict[str, str]:
        """The value that rows must have, by column."""
        prefix = "where."
        kept = {k: v for k, v in self.options.items() if k.startswith(prefix)}
        return {name.removeprefix(prefix): value for name, value in kept.items()}


def parse(name: str) -> Source:
    """The parts of a data set's name. Raises DataError for a name that no reader knows."""
    kind, _, rest = name.partition("/")
    path, _, query = rest.partition("?")
    is_known = kind in OPTIONS
    if kind == "torchvision":
        is_known = path in TORCHVISION_SETS
    elif kind in ("parquet", "folder", "unseen"):
        is_known = bool(path)
    if not is_known:
        known = f"torchvision/NAME with NAME one of {', '.join(TORCHVISION_SETS)}"
        raise DataError(
            f"no data set is called {name!r}. A name is 'digits', {known}, parquet/FOLDER or "
            f"folder/FOLDER"
        )
    source = Source(kind, path, dict(parse_qsl(query)))
    # The options are those of the inner set, beside `canvas`, which `objects` leaves out.
    if kind == "pasted":
        parse(source.objects)
        return source
    if kind == "windows":
        parse(source.scenes)
        return source
    for option in source.options:
        if option not in OPTIONS[kind] and not (kind == "parquet" and option.startswith("where.")):
            raise DataError(f"{name}: no option {option!r}. {nearest(option, OPTIONS[kind])}")
    return source


def as_written(name: str) -> str:
    """A data set's name as a sweep has it, from one that a person typed: options in order, special
    characters quoted, numbers in one form. Raises DataError for a name that no reader knows.
    """
    source = parse(name)
    options = dict(source.options)
    try:
        if source.test is not None:
            # A person may type .25 or 064; a sweep has 0.25 and 64.
            options["test"] = repr(source.test)
        if source.size is not None:
            options["size"] = str(source.size)
        if source.scaled is not None:
            options["scaled"] = str(source.scaled)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
    query = urlencode(sorted(options.items()))
    top = f"{source.kind}/{source.path}" if source.path else source.kind
    return f"{top}?{query}" if query else top
