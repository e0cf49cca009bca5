"""The data sets that a sweep can name. Nothing is read and nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
KINDS = ("digits", "torchvision", "parquet", "folder", "pasted")

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
) -> Task:
    """A set in the Parquet layout of Hugging Face's `datasets`: a folder with `train*.parquet` and
    `test*.parquet`.

    `path` is a folder below the data root, an absolute one, or an address such as s3://bucket/set.
    The column `image` holds encoded bytes (a struct of `bytes` and `path`, or binary), `label`
    whole numbers or names; class names come from the schema's `huggingface` metadata. `where` keeps
    rows by other columns (`where={"domain": "photo"}`). Where images differ in size, `size` scales
    the shorter side to that many pixels and crops the middle.
    """
    columns = {"image": image, "label": label}
    options = {name: column for name, column in columns.items() if column != name}
    options |= {f"where.{column}": str(value) for column, value in (where or {}).items()}
    return Task(data=_name("parquet", path, options, size))


def image_folder(path: str, *, size: int | None = None) -> Task:
    """A folder with `train/CLASS/*.png` and `test/CLASS/*.png` (or jpg, bmp, webp, gif); `path` and
    `size` are as in `parquet`.
    """
    return Task(data=_name("folder", path, {}, size))


def pasted(objects: Task, *, seed: int = 0) -> Task:
    """A grey set's images as objects on textured canvases, with a mask of each object's pixels:
    `pasted(torchvision_set("FashionMNIST"))`.

    A canvas is 4 pixels larger each way; texture and place are drawn by the seed. The classes are
    the objects'; `.foreground()` makes the masks the labels.
    """
    name, _, query = objects.data.partition("?")
    if objects != Task(data=objects.data) or name.startswith("pasted/"):
        raise DataError(
            f"pasted() takes a whole set, such as pasted(digits).classes(0, 1), "
            f"not {objects.data} with something taken from it"
        )
    options = dict(parse_qsl(query)) | {"canvas": str(seed)}
    return Task(data=f"pasted/{name}?{urlencode(sorted(options.items()))}")


def _name(kind: str, path: str, options: Mapping[str, str], size: int | None) -> str:
    """A data set's name: `kind/path?option=value&...`, options in alphabetical order."""
    if not path.strip("/") or "?" in path:
        raise DataError(f"{kind}: {path!r} is not a folder or an address")
    if size is not None and size < 1:
        raise DataError(f"{kind}: size={size} leaves no pixel")
    if size is not None:
        options = {**options, "size": str(size)}
    query = urlencode(sorted(options.items()))
    name = f"{kind}/{path.rstrip('/')}"
    return f"{name}?{query}" if query else name


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
    def objects(self) -> str:
        """The name of the set whose images are pasted."""
        query = urlencode(sorted((k, v) for k, v in self.options.items() if k != "canvas"))
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
    is_known = kind in KINDS
    if kind == "torchvision":
        is_known = path in TORCHVISION_SETS
    elif kind in ("parquet", "folder"):
        is_known = bool(path)
    if not is_known:
        known = f"torchvision/NAME with NAME one of {', '.join(TORCHVISION_SETS)}"
        raise DataError(
            f"no data set is called {name!r}. A name is 'digits', {known}, parquet/FOLDER or "
            f"folder/FOLDER"
        )
    source = Source(kind, path, dict(parse_qsl(query)))
    if kind == "pasted":
        parse(source.objects)
    return source
