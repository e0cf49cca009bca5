"""ui: MLflow's pages on a home, at the view that answers the question."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Where, console, with_places

Sweeps = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SWEEP...]",
        help="Sweep files or names: one is shown, several are compared.",
        show_default=False,
    ),
]


@with_places("home", "tracking", "site")
def ui(
    where: Where,
    sweeps: Sweeps = None,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open a browser where there is a screen.")
    ] = True,
) -> None:
    """Show a sweep in MLflow. Starts MLflow's pages on this home, on a free port, until Ctrl-C, and
    opens the settings of a sweep; of several sweeps their comparison.
    """
    from orchestrator.errors import InputError
    from orchestrator.tracking import pages

    home = where.session().home
    if home.tracking is None:
        raise InputError("nothing is tracked here: --tracking is none")
    names = [Path(one).name.removesuffix(".py") for one in sweeps or ()]
    if pages.is_served(home.tracking):
        _show(pages.link(home.tracking.rstrip("/"), names), browser)
        return
    database = pages.path_of_database(home.tracking)
    if database is not None and not database.exists():
        raise InputError(f"no sweep has been tracked in {database} yet; `spolia run` does it")
    with pages.serving(home.tracking, home.root / "ui.log") as address:
        _show(pages.link(address, names), browser)
        console.print("Ctrl-C ends it.")
        while True:
            time.sleep(3600)


def _show(link: str, browser: bool) -> None:
    console.print(link, soft_wrap=True)
    has_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    # Without a screen, Python would start a browser in this terminal.
    if browser and has_screen and console.is_terminal:
        webbrowser.open(link)
