"""Options that several commands share, each said once."""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
import json
import math
import os
import shlex
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer
from rich.console import Console

from orchestrator.errors import for_shell
from orchestrator.session.choices import Retry, Stale
from orchestrator.store.home import DEFAULT_HOME

if TYPE_CHECKING:
    from orchestrator.session.session import Session

# Exit statuses; what they promise is told in `orchestrator.cli`. 130 is a shell's own for Ctrl-C.
FAILED, BAD_INPUT, ENDED_OTHERWISE, INTERRUPTED = 1, 2, 3, 130

# Colours of how cells and trials stand (`orchestrator.planning.standing.STANDINGS`).
STYLES = {
    "done": "green",
    "diverged": "yellow",
    "infeasible": "yellow",
    "failed": "red",
    "lost": "red",
    "blocked": "red",
    "open": "",
}


def finite(value: float | None) -> float | None:
    """A number as it was given on the command line. Refuses `inf` and `nan`, which compare with
    nothing as one would expect.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def plain_console(*, stderr: bool = False) -> Console:
    """A console that shows text as it is: labels and names are their authors', and a label `[x]` or
    `:x:` is no markup. What is to look different is a `Text` with a style.
    """
    return Console(markup=False, emoji=False, highlight=False, stderr=stderr)


console = plain_console()
errors = plain_console(stderr=True)

SweepFile = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="A sweep file, such as sweeps/quickstart.py.", show_default=False
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help='Only cells with these values: "split=stage1 seed=0".',
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

# How a sweep is run, here or by a job.
Limit = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Run at most N unfinished cells.", show_default=False),
]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke", help="Try every method at its smoke values on 256 images, in a temporary store."
    ),
]
SeedsFirst = Annotated[
    bool,
    typer.Option("--seeds-first", help="One seed of every setting before the next seed of any."),
]
StaleOption = Annotated[
    Stale | None,
    typer.Option(
        help="Results made with other code: keep them, run one of each kind again to check whether "
        "its bits agree, or rerun all.",
        show_default=False,
    ),
]
RetryOption = Annotated[
    list[Retry] | None,
    typer.Option(
        metavar="OUTCOME",
        help="Also rerun trials that have ended so: diverged, infeasible.",
        show_default=False,
    ),
]
Slots = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Trials to run at once.", show_default="one per CPU"),
]
CheckpointEvery = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        callback=finite,
        help="Seconds between a trial's checkpoints.",
        show_default="60",
    ),
]


@dataclass(frozen=True)
class Where:
    """Where things lie, as the command line says it; what it leaves open the environment and the
    site file say (`orchestrator.session.places`).
    """

    home: Annotated[
        str | None,
        typer.Option(
            "--home",
            metavar="FOLDER",
            envvar="SPOLIA_HOME",
            help="Folder for store, MLflow database, tables and scratch.",
            show_default=DEFAULT_HOME,
        ),
    ] = None
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="ADDRESS",
            envvar="SPOLIA_STORE",
            help="Folder or s3:// address of the store.",
            show_default="HOME/store",
        ),
    ] = None
    tracking: Annotated[
        str | None,
        typer.Option(
            "--tracking",
            metavar="ADDRESS",
            envvar="SPOLIA_TRACKING",
            help="MLflow address, or 'none'.",
            show_default="sqlite:///HOME/mlflow.db",
        ),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            envvar="SPOLIA_DATA",
            help="Folder with image sets.",
            show_default=False,
        ),
    ] = None
    site: Annotated[
        Path | None,
        typer.Option(
            "--site",
            metavar="FILE",
            envvar="SPOLIA_SITE",
            help="Settings of this machine or cluster.",
            show_default="spolia.toml here or above",
        ),
    ] = None

    def session(self, sweep: str | None = None) -> Session:
        """The session of a command. Raises InputError for a wrong site file, SweepError for a wrong
        sweep file.
        """
        from orchestrator.session.session import Session

        return Session(
            sweep,
            home=self.home,
            store=self.store,
            tracking=self.tracking,
            data=self.data,
            site=self.site,
        )


Command = Callable[..., None]

_GIVEN: ContextVar[str] = ContextVar("given", default="")


def again(command: str, *arguments: str) -> str:
    """A command to paste that looks where this one does: `spolia results a.py --home h2`. What the
    environment says it says to the next command, too.
    """
    return " ".join(["spolia", command, *arguments]) + _GIVEN.get()


def _as_given(where: Where) -> str:
    """The options that say where results lie, as the command line has them; others change nothing
    of what is found there.
    """
    said = {"home": where.home, "store": where.store, "site": where.site}
    return "".join(
        f" --{name} {shlex.quote(str(value))}"
        for name, value in said.items()
        if value is not None and str(value) != os.environ.get(f"SPOLIA_{name.upper()}")
    )


def with_places(*names: str) -> Callable[[Command], Command]:
    """Gives a command the options of `Where` that are called so, behind its own. It takes them as
    one argument, `where`, in which the others are open.
    """
    hints = get_type_hints(Where, include_extras=True)
    options = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=one.default,
            annotation=hints[one.name],
        )
        for one in fields(Where)
        if one.name in names
    ]

    def give(command: Command) -> Command:
        # Annotations are text in these modules, and typer would look for the names in this one.
        signature = inspect.signature(command, eval_str=True)
        own = [one for name, one in signature.parameters.items() if name != "where"]

        @functools.wraps(command)
        def called(
            *,
            home: str | None = None,
            store: str | None = None,
            tracking: str | None = None,
            data: str | None = None,
            site: Path | None = None,
            **given: object,
        ) -> None:
            where = Where(home, store, tracking, data, site)
            _GIVEN.set(_as_given(where))
            with for_shell():
                command(where=where, **given)

        # What typer reads: it makes an option of every parameter.
        called.__dict__["__signature__"] = signature.replace(parameters=[*own, *options])
        return called

    return give


def short_lived(command: Command) -> Command:
    """A command that reads, shows and ends. Python looks for no garbage meanwhile: nearly all that
    there is, modules of torch above all, lives until the end, and is gone through again and again.
    """

    @functools.wraps(command)
    def called(*given: object, **named: object) -> None:
        gc.disable()
        atexit.unregister(leave_memory)  # once, however many commands one process is asked for
        atexit.register(leave_memory)
        try:
            command(*given, **named)
        finally:
            gc.enable()  # who calls this in a process that goes on has it back

    return called


def leave_memory() -> None:
    """Let Python end without going through its memory once more: the process takes it along, and
    all of torch takes more than half a second.
    """
    # Triton's bindings would complain of what is left. Commands that only read do not load it,
    # unless a method of theirs does.
    if "triton" not in sys.modules:
        gc.freeze()


def print_json(value: object) -> None:
    """JSON as it is: no colours, no folding."""
    typer.echo(json.dumps(value, indent=1, default=dict))  # a record is no dictionary itself
