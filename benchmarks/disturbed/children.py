"""Something done in a forked process, which may be killed there.

The process that forks has imported torch and MLflow and has computed nothing, so that a child
begins within milliseconds with what would take it seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 120.0  # seconds; what takes longer counts as hanging


@dataclass(frozen=True)
class Ended:
    """How a child ended: by a `signal` (0: none), or with `value`, what the function returned, as
    JSON; or with an `error`. `hung` says that it was ended because it took too long.
    """

    value: Any = None
    error: str = ""
    error_type: str = ""
    is_ours: bool = False  # the error is one of the product's tree, which commands print
    signal: int = 0
    hung: bool = False


def in_child(function: Callable[[], Any], log: Path, longest: float = LONGEST) -> Ended:
    """What `function` returns (JSON), called in a forked process; what it prints goes to `log`."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_child(function, log, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        hung = not _wait_for(child, longest)
        answer = pipe.read()
    if hung:
        return Ended(hung=True)
    if not answer:
        return Ended(signal=signal.SIGKILL)
    return Ended(**json.loads(answer))


def _be_child(function: Callable[[], Any], log: Path, writer: int) -> None:
    """Call the function, say what came of it, and end: a child never returns."""
    os.setsid()  # so that what it started goes with it
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    answer: dict[str, Any]
    try:
        answer = {"value": function()}
    except BaseException as error:
        from orchestrator import SpoliaError

        traceback.print_exc()
        sys.stderr.flush()
        answer = {
            "error": str(error) or type(error).__name__,
            "error_type": type(error).__name__,
            "is_ours": isinstance(error, SpoliaError),
        }
    sys.stdout.flush()
    os.write(writer, json.dumps(answer).encode())
    os._exit(0)


def _wait_for(child: int, longest: float) -> bool:
    """Whether the child ended by itself in time. It is gone afterwards in any case."""
    deadline = time.monotonic() + longest
    while time.monotonic() < deadline:
        ended, _ = os.waitpid(child, os.WNOHANG)
        if ended:
            return True
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def must(ended: Ended) -> Any:
    """What a child returned that nobody disturbed."""
    if ended.value is None:
        raise RuntimeError(f"an undisturbed command failed: {ended}")
    return ended.value
