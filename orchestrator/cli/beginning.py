"""init and --version: the first minute of a new user."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import console
from orchestrator.spec.wording import short

FIRST = "first_sweep.py"


def init(
    folder: Annotated[
        Path, typer.Argument(help="Where to write it.", show_default="this folder")
    ] = Path(),
) -> None:
    """Write a first sweep file. It runs in a minute or two, and needs no images of yours. It does
    not overwrite a file.
    """
    from orchestrator.errors import InputError

    target = folder / FIRST
    content = Path(__file__).with_name("first_sweep.txt").read_text()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("x") as file:  # never over somebody's work
            file.write(content)
    except FileExistsError as error:
        raise InputError(f"{target} is there already; nothing was written") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{target} cannot be written: {reason}") from error
    console.print(f"Wrote {short(target)}, a sweep of 12 cells on handwritten digits. Now:")
    for command in ("plan", "run", "report"):
        console.print(f"  spolia {command} {short(target)}", soft_wrap=True)


def show_version(is_asked: bool) -> None:
    """Print the version, and that of what results depend on most, and end."""
    if is_asked:
        packages = " ".join(f"{name} {version(name)}," for name in ("torch", "ray", "mlflow"))
        console.print(f"spolia {version('spolia')} ({packages} Python {platform.python_version()})")
        raise typer.Exit


def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=show_version,
            is_eager=True,
            help="Show versions and end.",
            show_default=False,
        ),
    ] = False,
) -> None:
    """Options of the program itself."""
