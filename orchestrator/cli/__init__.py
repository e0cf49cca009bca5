"""The command `spolia`: a thin skin that reads options, calls the rooms below, and prints.

Imports every other room, late, so that `spolia --help` takes no second. Promise: bad input gets one
message that names it, never a traceback.

Exit status: 0 every cell that was asked for is done; 1 a cell has no result (it failed, was lost,
is blocked or still open), MLflow is behind, or there is nothing to show; 2 bad input; 3 every cell
has ended, but some diverged or are infeasible; 130 interrupted. Where a method accepts needs that
diverged (`accepts_diverged`), its own cell counts, not the need.
"""

from __future__ import annotations

import io
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from rich.text import Text

from orchestrator.cli import (
    authors,
    beginning,
    looking,
    methods,
    pages,
    runs,
    stores,
    submissions,
    sweeps,
)
from orchestrator.cli.options import BAD_INPUT, FAILED, INTERRUPTED, errors
from orchestrator.errors import CorruptError, InputError, MethodError, SpoliaError, StoreError

# Click's class, which newer versions of typer bring along under a private name.
UsageError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help="Sweeps of experiments on neural networks whose parts can be reused.\n\n"
    "A sweep is a Python file that asks one question. Begin with: spolia init",
    no_args_is_help=True,
    # Two columns, which leave the words room at 80 columns; boxes of rich do not.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order in which a user comes to need them.
COMMANDS: tuple[Callable[..., None], ...] = (
    beginning.init,
    sweeps.plan,
    runs.run,
    submissions.submit,
    sweeps.status,
    looking.list_trials,
    stores.logs,
    sweeps.results,
    looking.compare,
    sweeps.report,
    sweeps.track,
    pages.ui,
    methods.methods,
    authors.new_method,
    authors.check_method,
    stores.export,
    pages.promote,
    stores.gc,
    stores.doctor,
)
for command in COMMANDS:
    # `list` would hide Python's own in its module.
    app.command("list" if command is looking.list_trials else None)(command)
app.add_typer(stores.data_app, name="data")
app.callback()(beginning.common)


def show_what_can_be_shown(*streams: object) -> None:
    """Let streams write a question mark for a letter that their encoding does not have: nobody's
    run ends for a line on the screen. Streams of another kind, and None, stay as they are.
    """
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _meant_by_extra(error: Any, given: Sequence[str]) -> str:
    """What arguments may have been meant for that a command does not take, by all that were
    `given`; an empty string where the error is another, or nobody knows.
    """
    found = re.search(r"Got unexpected extra argument\S* \((.*)\)", error.format_message())
    if found is None or error.ctx is None:
        return ""
    extra = found[1].split()
    names = {name for one in error.ctx.command.params for name in one.opts}
    if all("=" in word for word in extra) and "--only" in names:
        return f'Cells are chosen by --only "{" ".join(extra)}".'
    # The rest of an option's values, where it takes one.
    for option, value, following in zip(given, given[1:], given[2:], strict=False):
        if option in names and option.startswith("--") and following == extra[0]:
            return f"One value: {option} {','.join([value, *extra])}"
    return ""


def main() -> None:
    """The command's entry: errors as messages, not tracebacks."""
    # A preempted driver stops like an interrupted one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    show_what_can_be_shown(sys.stdout, sys.stderr)
    try:
        # Click's own mode would print other errors than ours and choose the status itself.
        sys.exit(app(standalone_mode=False) or 0)
    except UsageError as error:
        error.show()
        if hint := _meant_by_extra(error, sys.argv[1:]):
            errors.print(Text(hint), soft_wrap=True)
        sys.exit(BAD_INPUT)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        errors.print("Interrupted.")
        sys.exit(INTERRUPTED)
    except SpoliaError as error:
        # Whole lines for logs and programs; a terminal would break them within words.
        errors.print(Text(f"error: {error}", style="red"), soft_wrap=not errors.is_terminal)
        is_bad_input = isinstance(error, InputError | MethodError | StoreError)
        if isinstance(error, CorruptError):  # a store error that no other input would avoid
            is_bad_input = False
        sys.exit(BAD_INPUT if is_bad_input else FAILED)
