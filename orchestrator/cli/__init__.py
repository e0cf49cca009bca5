"""The command `spolia`: a thin skin that reads options, calls the rooms below, and prints.

Imports every other room, late, so that `spolia --help` takes no second. Promise: bad input gets one
message that names it, never a traceback.

Exit status: 0 all that was asked for is done; 1 something failed, is blocked or not tracked; 2 bad
input; 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.text import Text

from orchestrator.cli import methods, runs, stores, sweeps
from orchestrator.cli.options import BAD_INPUT, FAILED, INTERRUPTED, errors
from orchestrator.errors import CorruptError, InputError, MethodError, SpoliaError, StoreError

UsageError: Any = typer.BadParameter.__mro__[
    1
]  # click's, which newer typers bring along under a private name

app = typer.Typer(
    help="Sweeps of experiments on neural networks whose parts can be reused.\n\n"
    "A sweep is a Python file that asks one question. Begin with: spolia plan sweeps/quickstart.py",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "A sweep": (sweeps.plan, runs.run, sweeps.status, sweeps.results, sweeps.report, sweeps.track),
    "What there is": (methods.methods, stores.logs, stores.export, stores.gc, stores.doctor),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(stores.data_app, name="data", rich_help_panel="What there is")


def main() -> None:
    """The command's entry: errors as messages, not tracebacks."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # a preempted driver stops like an interrupted one
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UsageError as error:
        error.show()
        sys.exit(BAD_INPUT)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        errors.print("Interrupted.")
        sys.exit(INTERRUPTED)
    except SpoliaError as error:
        errors.print(Text(f"error: {error}", style="red"), soft_wrap=True)
        wrong = isinstance(error, InputError | MethodError | StoreError) and not isinstance(
            error, CorruptError
        )
        sys.exit(BAD_INPUT if wrong else FAILED)
