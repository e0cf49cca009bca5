"""Options that several commands share, and what they come to together with the site file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from orchestrator.executors.site import SiteFile
    from orchestrator.spec.sweep import Sweep
    from orchestrator.store.home import Home

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
DEFAULT_HOME = "spolia-home"

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class ExecutorName(str, Enum):  # noqa: UP042 - typer shows the values of a str enum
    """Where trials run."""

    ray = "ray"
    inline = "inline"


class Stale(str, Enum):  # noqa: UP042
    """What to do with results that other code made."""

    keep = "keep"
    rerun = "rerun"


class Retry(str, Enum):  # noqa: UP042
    """Outcomes that are results, and may be tried again all the same."""

    diverged = "diverged"
    infeasible = "infeasible"


PLACES = "Places"
SweepFile = Annotated[
    str, typer.Argument(help="A sweep file, such as sweeps/quickstart.py.", show_default=False)
]
HomeFolder = Annotated[
    str | None,
    typer.Option(
        "--home",
        envvar="SPOLIA_HOME",
        help="Folder for store, MLflow database, tables and scratch.",
        show_default=DEFAULT_HOME,
        rich_help_panel=PLACES,
    ),
]
StorePlace = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="SPOLIA_STORE",
        help="Folder or s3:// address of the store.",
        show_default="HOME/store",
        rich_help_panel=PLACES,
    ),
]
Tracking = Annotated[
    str | None,
    typer.Option(
        "--tracking",
        envvar="SPOLIA_TRACKING",
        help="MLflow address, or 'none'.",
        show_default="sqlite:///HOME/mlflow.db",
        rich_help_panel=PLACES,
    ),
]
DataFolder = Annotated[
    str | None,
    typer.Option(
        "--data",
        envvar="SPOLIA_DATA",
        help="Folder of image sets.",
        show_default=False,
        rich_help_panel=PLACES,
    ),
]
SiteOption = Annotated[
    Path | None,
    typer.Option(
        "--site",
        envvar="SPOLIA_SITE",
        help="Site file.",
        show_default="spolia.toml here or above",
        rich_help_panel=PLACES,
    ),
]
Only = Annotated[
    str | None, typer.Option(help='Some cells: "split=stage1 seed=0".', show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True)
class Setting:
    """Where things lie and how trials run, from the command line, the environment and the site
    file, in this order.
    """

    place: Home
    site: SiteFile


def setting(
    home_folder: str | None,
    store: str | None,
    tracking: str | None,
    data: str | None,
    site_file: Path | None,
) -> Setting:
    """The setting of a command. The data folder goes to the variable that workers inherit. Raises
    InputError for a wrong site file.
    """
    from orchestrator.executors.site import find_site, read_site
    from orchestrator.store.home import home

    path = find_site(site_file)
    site = read_site(path)
    beside = path.parent if path else Path()  # relative folders in a site file are beside it
    folder = data or (_beside(beside, site.data) if site.data else None)
    if folder is not None:
        os.environ["SPOLIA_DATA"] = (
            folder if "://" in folder else str(Path(folder).expanduser().absolute())
        )
    root = home_folder or (_beside(beside, site.home) if site.home else DEFAULT_HOME)
    place = home(
        Path(root),
        store or (_beside(beside, site.store) if site.store else None),
        tracking or site.tracking,
    )
    return Setting(place, site)


def _beside(folder: Path, text: str) -> str:
    return text if "://" in text else str(folder / Path(text).expanduser())


def load(sweep: str, chosen: str | None = None) -> tuple[str, Sweep, Sweep]:
    """Name of a sweep, the whole of it, and the part that `--only` chooses."""
    from orchestrator.planning.choose import only
    from orchestrator.spec.sweep_file import load_sweep

    name, whole = load_sweep(sweep)
    return name, whole, only(whole, chosen) if chosen else whole


def print_json(value: Any) -> None:
    """JSON as it is: no colours, no folding."""
    typer.echo(json.dumps(value, indent=1))


def short(path: Path) -> str:
    """Relative to here where it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
