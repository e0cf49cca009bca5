"""Packages of Spolia that a file or folder of the same name hides.

Spolia installs packages with plain names. Where a project has a folder `methods/` of its own and
Python finds that one first (it does in the folder of a script or a notebook, and on PYTHONPATH),
`import methods` gives the project's, and what is looked for in it is missing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

INSTALLED_IN = Path(__file__).resolve().parents[2]  # the folder that holds all packages of Spolia
DISTRIBUTION = "spolia"


def shadowing(error: ImportError) -> str | None:
    """What hides the package of Spolia that an import failed in, and what to do about it; None
    where the import failed for another reason.
    """
    return hidden((error.name or "").partition(".")[0])


def hidden(package: str) -> str | None:
    """What hides a package of Spolia, and what to do about it; None where nothing does, or where
    the package is not one of ours.
    """
    if package not in _own_packages():
        return None
    ours, found = (INSTALLED_IN / package).resolve(), _found_at(package)
    if found is None or found in (ours, ours / "__init__.py"):
        return None
    return (
        f"Python finds {package!r} in {found}, which hides Spolia's own package {ours}. "
        f"Rename the one that is not Spolia's, or keep {_folder_on_path(found)} off Python's path: "
        "leave it out of PYTHONPATH, and start scripts and notebooks in another folder"
    )


def _own_packages() -> set[str]:
    """Names of the packages that Spolia installs: this one, and those in which it brings
    methods.
    """
    entries = importlib.metadata.entry_points(group="spolia.methods")
    own = {e.value for e in entries if e.dist is not None and e.dist.name == DISTRIBUTION}
    return own | {__name__.partition(".")[0]}


def _found_at(package: str) -> Path | None:
    """The file, or the folder without an `__init__.py`, that Python takes for a package."""
    module = sys.modules.get(package)
    # What is imported already decides.
    spec = module.__spec__ if module is not None else importlib.util.find_spec(package)
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin).resolve()
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0]).resolve() if folders else None


def _folder_on_path(found: Path) -> Path:
    """The folder of Python's path that something was found in."""
    return found.parents[1] if found.name == "__init__.py" else found.parent
