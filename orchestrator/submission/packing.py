"""What travels with a sweep: its file, and the modules and packages of its author that it uses.

Modules and packages are put side by side into one folder, so that Python finds them there on every
node, and the sweep file into one below. What was installed does not travel, nor does Spolia itself:
both have to be there.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator.data.root import data_root
from orchestrator.errors import InputError
from orchestrator.spec.classes import OURS
from orchestrator.spec.sweep_file import imported_names
from orchestrator.store.home import SITE_FILE
from orchestrator.store.imports import is_installed
from orchestrator.store.origin import MARKER

# No name that Python imports: a sweep file `random.py` hides nothing here, and must not there.
SWEEP_FOLDER = "sweep-file"
MOST = 50 * 2**20  # bytes; Ray keeps a package in the memory of the head
NEVER = ("__pycache__", "node_modules", "mlruns", "mlartifacts")  # folders
NOT_SOURCES = (".egg-info", ".dist-info", ".pyc", ".pyo")
ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # what lies in one
STORES = ("format.json", "store/format.json")  # what lies in a store, and in a home
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # what is in a package, not when it was made, gives it its name


@dataclass(frozen=True)
class Package:
    """Files by their names in the package, and what else is written into it."""

    files: Mapping[str, Path]
    texts: Mapping[str, str]

    @cached_property
    def size(self) -> int:
        """Bytes, before they are packed."""
        return sum(file.stat().st_size for file in self.files.values())

    @property
    def tops(self) -> list[str]:
        """The sweep file, and the modules and packages that lie side by side."""
        names = [name.removeprefix(f"{SWEEP_FOLDER}/") for name in self.files]
        return list(dict.fromkeys(name.partition("/")[0] for name in names))

    def packed(self) -> bytes:
        """A zip archive; the same files give the same bytes, which Ray then has already."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in sorted(self.files.items()):
                archive.writestr(_entry(name), file.read_bytes())
            for name, text in sorted(self.texts.items()):
                archive.writestr(_entry(name), text)
        return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, LONG_AGO)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def package_of(
    sweep: Path, classes: Iterable[str], site: Path | None, says: Mapping[str, Any]
) -> Package:
    """What a sweep needs on another machine: its file, what of its author's it imports and what
    holds the `classes` of its trials (paths `module:Class`), the site file, and what this machine
    `says` of itself, to which is added where everything comes from. Raises InputError where that is
    more than sources.
    """
    own = own_modules(sweep, classes)
    files = {f"{SWEEP_FOLDER}/{sweep.name}": sweep}
    for name, places in own.items():
        for place in places:
            files |= dict(_files_at(name, place))
    origins = {SWEEP_FOLDER: str(sweep.absolute().parent)}
    for places in own.values():
        origins[places[0].name] = str(places[0])
    texts = {MARKER: json.dumps({**says, "from": origins}, indent=1, sort_keys=True)}
    if site is not None:
        texts[SITE_FILE] = site.read_text()
    package = Package(files, texts)
    if package.size > MOST:
        raise InputError(_too_large(package, sweep))
    return package


def own_modules(sweep: Path, classes: Iterable[str]) -> dict[str, tuple[Path, ...]]:
    """Top-level modules and packages of the sweep's author that it imports, or that those import,
    anywhere in them: a file each, or a folder (of a package without `__init__`, several).
    """
    found: dict[str, tuple[Path, ...]] = {}
    waiting = [*imported_names(sweep), *(path.partition(":")[0] for path in classes)]
    while waiting:
        name = waiting.pop().partition(".")[0]
        # Those of Spolia and of installed packages have to be there.
        if name in found or name in OURS or is_installed(name):
            continue
        found[name] = _places_of(name)
        for place in found[name]:
            for _, file in _files_at(name, place):
                if file.suffix == ".py":
                    waiting += imported_names(file)
    return dict(sorted(found.items()))


def _places_of(name: str) -> tuple[Path, ...]:
    """The file or the folders of a top-level module that can be imported."""
    spec = find_spec(name)
    assert spec is not None, name
    if spec.submodule_search_locations is not None:
        return tuple(Path(place).resolve() for place in spec.submodule_search_locations)
    return (Path(str(spec.origin)).resolve(),)


def _files_at(name: str, place: Path) -> Iterator[tuple[str, Path]]:
    """The files of a module or package, with their names in a package that travels."""
    if place.is_file():
        yield place.name, place
        return
    for here, folders, names in os.walk(place):
        # In place: this is what is walked through next.
        folders[:] = sorted(one for one in folders if not _stays(Path(here, one)))
        below = PurePosixPath(name, *Path(here).relative_to(place).parts)
        for file in sorted(names):
            is_hidden = file.startswith(".") or file.endswith(NOT_SOURCES)
            if not is_hidden and Path(here, file).is_file():  # no link to nowhere
                yield str(below / file), Path(here, file)


def _stays(folder: Path) -> bool:
    """Whether a folder in a package is none of its sources: hidden, made by tools, an environment,
    a store, a home, the images.
    """
    if folder.name.startswith(".") or folder.name in NEVER or folder.suffix in NOT_SOURCES:
        return True
    if any((folder / inside).exists() for inside in (*ENVIRONMENTS, *STORES)):
        return True
    images = data_root()
    return images is not None and folder.resolve() == images.resolve()


def _too_large(package: Package, sweep: Path) -> str:
    """That a package is more than sources, and where most of it lies."""
    sizes = Counter[PurePosixPath]()
    for name, file in package.files.items():
        for folder in PurePosixPath(name).parents:
            sizes[folder] += file.stat().st_size
    # From the top, as long as one folder has most of what is in the one around it.
    place = PurePosixPath()
    while True:
        inside = [one for one in sizes if one.parent == place and one != place]
        largest = max(inside, key=lambda one: sizes[one], default=place)
        if largest == place or sizes[largest] * 2 <= sizes[place]:
            break
        place = largest
    top, *below = place.parts or ("",)
    origins = json.loads(package.texts[MARKER])["from"]
    where = Path(origins[top], *below) if top else sweep.parent
    return (
        f"{sweep.name} and what it uses of yours are {_in_words(package.size)}, and no more than "
        f"{_in_words(MOST)} are handed in. Most of it lies in {where} "
        f"({_in_words(sizes[place])}). Only sources should travel: move the rest out of the "
        "package, or install the package on the head"
    )


def in_words(package: Package) -> str:
    """`my_sweep.py, my_lab (14 files, 52 kB)`"""
    count = len(package.files)
    files = "1 file" if count == 1 else f"{count} files"
    return f"{', '.join(package.tops)} ({files}, {_in_words(package.size)})"


def _in_words(size: int) -> str:
    if size < 1_000_000:
        return f"{max(1, round(size / 1_000))} kB"
    return f"{size / 1_000_000:.0f} MB"
