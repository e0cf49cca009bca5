"""What is asked of MLflow again, and for how long, where it does not answer or refuses."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import requests
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from orchestrator.errors import CorruptError, SpoliaError, StoreError, TrackingError

# What ends the writing, or that of one run; the training goes on.
ERRORS = (MlflowException, SQLAlchemyError, SpoliaError, OSError, ImportError)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds between tries
LAST_TRIES = 30.0  # seconds without an answer, after all was said, until nobody waits any more
REFUSED = 3  # tries of what an MLflow that answers refuses: what changed meanwhile is seen by then
STUBBORN = 6  # tries of what looks like an outage, until MLflow is asked whether it is one

# What is, or may be, over some day. A connection that breaks and a server that stumbles over one
# request are both an INTERNAL_ERROR.
_OUTAGES = frozenset(
    {
        "ABORTED",
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "INTERNAL_ERROR",
        "IO_ERROR",
        "REQUEST_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "TEMPORARILY_UNAVAILABLE",
    }
)

# What a request to a server may be told that is over some day: it took too long, or came too often.
_LATER = frozenset({408, 425, 429})

# What no file system takes, today or later.
_NEVER = frozenset({errno.ENAMETOOLONG, errno.EINVAL})

# What the user has set goes before it.
SETTINGS = {
    # Asking again is `Patience`'s; MLflow's own takes minutes a request.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Two lines for each run, and a request for what they say.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


class ArtifactsError(TrackingError):
    """What keeps the artifacts does not take or give them."""


@contextlib.contextmanager
def of_artifacts() -> Iterator[None]:
    """Where artifacts are put, fetched or removed: whatever goes wrong is one of `ERRORS`. They may
    lie in a bucket, and errors of its client are neither MLflow's nor an OSError.
    """
    try:
        yield
    except ERRORS:
        raise
    except Exception as error:
        raise ArtifactsError(f"{type(error).__name__}: {first_line(error)}") from error


def is_refusal(error: BaseException) -> bool:
    """Whether asking again is of no use; else it may be an outage, and is over some day."""
    if isinstance(error, MlflowException):
        return error.error_code not in _OUTAGES
    if isinstance(error, ArtifactsError):
        return False
    if isinstance(error, SpoliaError):
        # A store that cannot be reached; not a record that was altered, nor one that says something
        # strange.
        return isinstance(error, CorruptError) or not isinstance(error, StoreError)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        code = error.response.status_code
        return 400 <= code < 500 and code not in _LATER
    if isinstance(error, OSError):
        return error.errno in _NEVER
    return isinstance(error, ImportError)  # a database's driver that is not installed


def _is_of_tracking(error: BaseException | None) -> bool:
    """Whether it is MLflow, or what keeps its artifacts, that stumbles; not our store."""
    kinds = (MlflowException, SQLAlchemyError, ArtifactsError, OSError)
    return isinstance(error, kinds) and not isinstance(error, StoreError)


class Patience:
    """Asks again with growing pauses: while more may come as long as it takes, and after `is_last`
    is set until there has been no answer for `longest` seconds. `is_there` asks whether MLflow
    answers at all.
    """

    def __init__(self, is_last: threading.Event, longest: float = LAST_TRIES) -> None:
        self._is_last, self._longest = is_last, longest
        # Since when nothing was answered. Not since the last answer: what is asked may take long.
        self._silent_since: float | None = None
        self._has_seen_last = is_last.is_set()
        self.is_there: Callable[[], bool] = lambda: False

    def ask(
        self, request: Callable[[], Answer], before_again: Callable[[], object] = lambda: None
    ) -> Answer:
        """What `request` returns, which must change nothing when it is made twice; `before_again`
        is called before it is. Raises the last error, one of `ERRORS`.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(ERRORS),
            wait=wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            stop=self._gives_up,
            sleep=self._pause,
            before_sleep=_note,
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                if attempt.retry_state.attempt_number > 1:
                    before_again()
                answer = request()
                self._silent_since = None
        return answer

    def _gives_up(self, state: RetryCallState) -> bool:
        assert state.outcome is not None
        error = state.outcome.exception()
        if error is not None and is_refusal(error):
            self._silent_since = None
            return state.attempt_number >= REFUSED
        # One request over which MLflow stumbles each time does not keep all others.
        if _is_of_tracking(error) and state.attempt_number >= STUBBORN and self.is_there():
            return True
        now = time.monotonic()
        since = now if self._silent_since is None else self._silent_since
        if self._is_last.is_set() and not self._has_seen_last:
            # The end wakes whoever pauses, and begins the last tries anew.
            self._has_seen_last, since = True, now
        self._silent_since = since
        return self._is_last.is_set() and now - since > self._longest

    def _pause(self, seconds: float) -> None:
        if self._is_last.is_set():
            time.sleep(min(seconds, max(FIRST_PAUSE, self._longest / 5)))
        else:
            self._is_last.wait(seconds)


def _note(state: RetryCallState) -> None:
    assert state.outcome is not None
    error = state.outcome.exception()
    pause = state.next_action.sleep if state.next_action else 0.0
    _log.warning("MLflow: %s: %s; again in %.1f s", type(error).__name__, first_line(error), pause)


def first_line(error: object) -> str:
    return next(iter(str(error).splitlines()), "")


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """MLflow's settings, which it reads from the environment, as long as we write."""
    set_here = [name for name in SETTINGS if name not in os.environ]
    os.environ.update({name: SETTINGS[name] for name in set_here})
    try:
        yield
    finally:
        for name in set_here:
            del os.environ[name]
