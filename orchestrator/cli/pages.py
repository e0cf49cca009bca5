"""ui, promote: MLflow's pages on a home, at the view that answers the question, and what others are
to load from there.
"""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Where, console, with_places
from orchestrator.cli.stores import Key

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
    from orchestrator.tracking.moved_homes import path_of_database

    home = where.session().home
    if home.tracking is None:
        raise InputError("nothing is tracked here: --tracking is none")
    names = [Path(one).name.removesuffix(".py") for one in sweeps or ()]
    if pages.is_served(home.tracking):
        _show(pages.link(home.tracking, names), browser)
        return
    database = path_of_database(home.tracking)
    if database is not None and not database.exists():
        raise InputError(f"no sweep has been tracked in {database} yet; `spolia run` does it")
    with pages.serving(home.tracking, home.root / "ui.log") as address:
        for name in pages.moved(home.tracking, home.artifacts):
            console.print(
                f"{name}: this home was moved or copied since; `spolia track` with its sweep file "
                "writes anew what MLflow has, beside the files that are here",
                soft_wrap=True,
            )
        _show(pages.link(address, names, home.tracking), browser)
        console.print("Ctrl-C ends it.")
        while True:
            time.sleep(3600)


@with_places("home", "store", "tracking", "site")
def promote(
    where: Where,
    key: Key,
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Name of the registered model.")
    ],
    alias: Annotated[str, typer.Option(metavar="ALIAS", help="By which others load it.")] = "best",
    component: Annotated[
        str | None,
        typer.Option(help="Which component, where the trial kept several.", show_default=False),
    ] = None,
) -> None:
    """Register a network in MLflow, for others to use. From pixels to logits, as a file that needs
    torch and nothing of Spolia; loaded by models:/NAME@ALIAS.
    """
    from orchestrator.errors import InputError
    from orchestrator.parts.export import find_component
    from orchestrator.tracking.promoting import promote as promoted

    session = where.session()
    if session.home.tracking is None:
        raise InputError("there is no MLflow to register in: --tracking is none")
    chosen = find_component(session.open(key), component)
    made = promoted(chosen, session.home.tracking, name, alias)
    for line in (
        f"{chosen.record.title} of {chosen.result.key[:12]}: version {made.version} of {made.name}",
        f'mlflow.pyfunc.load_model("{made.address}").predict(pixels) gives logits',
    ):
        console.print(line, soft_wrap=True)


def _show(link: str, browser: bool) -> None:
    console.print(link, soft_wrap=True)
    has_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    # Without a screen, Python would start a browser in this terminal.
    if browser and has_screen and console.is_terminal:
        webbrowser.open(link)
