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
"""scikit-learn's digits: 1,797 real 8x8 grey images of 10 classes that ship with the package; 1,200
to train and 597 to test, our own fixed split.
"""


def torchvision_set(name: str) -> Task:
    """One of torchvision's sets by its class name, read from the data root (`--data`,
    `SPOLIA_DATA`); never downloaded.
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
    rows by other columns (`where={"domain": "photo"}`); `size` scales the shorter side to so many
    pixels and crops the middle, for images that differ.
    """
    return Task(
        data=_name(
            "parquet", path, {"image": (image, "image"), "label": (label, "label")}, where, size
        )
    )


def image_folder(path: str, *, size: int | None = None) -> Task:
    """A folder with `train/CLASS/*.png` and `test/CLASS/*.png` (or jpg, bmp, webp, gif), below the
    data root or absolute; `size` as in `parquet`.
    """
    return Task(data=_name("folder", path, {}, None, size))


def pasted(objects: Task, *, seed: int = 0) -> Task:
    """A grey set's images as objects on textured canvases, 4 pixels larger each way and drawn by
    the seed, with a mask of each object's pixels: `pasted(torchvision_set("FashionMNIST"))`. The
    classes are the objects'; `.foreground()` makes the masks the labels."""
    name, _, query = objects.data.partition("?")
    if objects != Task(data=objects.data) or name.startswith("pasted/"):
        raise DataError(
            f"pasted() takes a whole set, such as pasted(digits).classes(0, 1), not {objects.data} with something taken from it"
        )
    options = dict(parse_qsl(query)) | {"canvas": str(seed)}
    return Task(data=f"pasted/{name}?{urlencode(sorted(options.items()))}")


def _name(
    kind: str,
    path: str,
    options: Mapping[str, tuple[str, str]],
    where: Mapping[str, str] | None,
    size: int | None,
) -> str:
    if not path.strip("/") or "?" in path:
        raise DataError(f"{kind}: {path!r} is not a folder or an address")
    if size is not None and size < 1:
        raise DataError(f"{kind}: size={size} leaves no pixel")
    chosen = {k: value for k, (value, default) in options.items() if value != default}
    chosen |= {f"where.{k}": str(v) for k, v in (where or {}).items()} | (
        {"size": str(size)} if size else {}
    )
    return f"{kind}/{path.rstrip('/')}" + (
        f"?{urlencode(sorted(chosen.items()))}" if chosen else ""
    )


@dataclass(frozen=True)
class Source:
    """A data set's name taken apart: which reader, which path, which options."""

    kind: str
    path: str
    options: Mapping[str, str]

    @property
    def size(self) -> int | None:
        return int(self.options["size"]) if "size" in self.options else None

    @property
    def objects(self) -> str:
        """The name of the set whose images are pasted."""
        rest = sorted((k, v) for k, v in self.options.items() if k != "canvas")
        return self.path + (f"?{urlencode(rest)}" if rest else "")

    @property
    def where(self) -> dict[str, str]:
        return {
            k.removeprefix("where."): v for k, v in self.options.items() if k.startswith("where.")
        }


def parse(name: str) -> Source:
    """The parts of a data set's name. Raises DataError for a name that no reader knows."""
    kind, _, rest = name.partition("/")
    path, _, query = rest.partition("?")
    if (
        kind not in KINDS
        or (kind == "torchvision" and path not in TORCHVISION_SETS)
        or (kind in ("parquet", "folder") and not path)
    ):
        known = f"torchvision/NAME with NAME one of {', '.join(TORCHVISION_SETS)}"
        raise DataError(
            f"no data set is called {name!r}. A name is 'digits', {known}, parquet/FOLDER or folder/FOLDER"
        )
    source = Source(kind, path, dict(parse_qsl(query)))
    if kind == "pasted":
        parse(source.objects)
    return source
