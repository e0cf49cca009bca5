"""Options that several commands share, and what they come to together with the site file."""

from __future__ import annotations

import json
import math
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

FAILED, BAD_INPUT, ENDED_OTHERWISE, INTERRUPTED = 1, 2, 3, 130

# Colours of how cells and trials stand (`orchestrator.planning.standing.STATES`).
STYLES = {
    "done": "green",
    "diverged": "yellow",
    "infeasible": "yellow",
    "failed": "red",
    "lost": "red",
    "blocked": "red",
    "open": "",
}
DEFAULT_HOME = "spolia-home"


def finite(value: float | None) -> float | None:
    """A number as it was given on the command line. Refuses `inf` and `nan`, which compare with
    nothing as one would expect.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def plain_console(**settings: Any) -> Console:
    """A console that shows text as it is: labels and names are their authors', and a label `[x]` or
    `:x:` is no markup. What is to look different is a `Text` with a style.
    """
    return Console(markup=False, emoji=False, highlight=False, **settings)


console = plain_console()
errors = plain_console(stderr=True)


# Members of a str enum, not of a StrEnum: typer shows their values.
class ExecutorName(str, Enum):  # noqa: UP042 - see above
    """Where trials run."""

    ray = "ray"
    inline = "inline"


class Stale(str, Enum):  # noqa: UP042 - see above
    """What to do with results that other code made."""

    keep = "keep"
    check = "check"
    rerun = "rerun"


class Retry(str, Enum):  # noqa: UP042 - see above
    """Outcomes that are results and can be tried again."""

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
        help="Folder with image sets.",
        show_default=False,
        rich_help_panel=PLACES,
    ),
]
SiteOption = Annotated[
    Path | None,
    typer.Option(
        "--site",
        envvar="SPOLIA_SITE",
        help="Settings of this machine or cluster.",
        show_default="spolia.toml here or above",
        rich_help_panel=PLACES,
    ),
]
Only = Annotated[
    str | None,
    typer.Option(help='Only cells with these values: "split=stage1 seed=0".', show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True)
class Setting:
    """Where things lie and how trials run, from the command line, the environment and the site
    file, in this order.
    """

    home: Home
    site: SiteFile


def setting(
    home_folder: str | None,
    store: str | None,
    tracking: str | None,
    data: str | None,
    site_file: Path | None,
) -> Setting:
    """The setting of a command. The data folder and the packages that the site allows go to
    variables, which workers inherit. Raises InputError for a wrong site file.
    """
    from orchestrator.executors.site import find_site, read_site
    from orchestrator.spec.classes import VARIABLE as PACKAGES
    from orchestrator.store.home import home

    path = find_site(site_file)
    site = read_site(path)
    base = path.parent if path else Path()  # relative folders in a site file are beside it
    data = data or _relative_to(base, site.data)
    if data is not None:
        is_address = "://" in data
        folder = data if is_address else str(Path(data).expanduser().absolute())
        os.environ["SPOLIA_DATA"] = folder
    if site.packages:
        # A variable, not an argument: it reaches every process
        # that this one starts, MLflow's writer too.
        listed = [*os.environ.get(PACKAGES, "").split(","), *site.packages]
        os.environ[PACKAGES] = ",".join(dict.fromkeys(filter(None, listed)))
    root = home_folder or _relative_to(base, site.home) or DEFAULT_HOME
    store = store or _relative_to(base, site.store)
    return Setting(home(Path(root), store, tracking or site.tracking), site)


def _relative_to(base: Path, folder: str | None) -> str | None:
    """A folder of a site file from here; an address stays as it is."""
    if folder is None or "://" in folder:
        return folder
    return str(base / Path(folder).expanduser())


def load(file: str, chosen: str | None = None) -> tuple[str, Sweep, Sweep]:
    """Name of a sweep, the whole of it, and the part that `--only` chooses."""
    from orchestrator.planning.choose import only
    from orchestrator.spec.sweep_file import load_sweep

    name, sweep = load_sweep(file)
    return name, sweep, only(sweep, chosen) if chosen else sweep


def print_json(value: Any) -> None:
    """JSON as it is: no colours, no folding."""
    typer.echo(json.dumps(value, indent=1, default=dict))  # a record is no dictionary itself


def short(path: Path) -> str:
    """A path relative to the current folder where it lies below that."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
