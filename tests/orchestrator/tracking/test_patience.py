"""What is asked of MLflow again, and for how long."""

from __future__ import annotations

import threading
import time

import pytest

pytestmark = [pytest.mark.mlflow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def made(longest, *, is_last):
    from orchestrator.tracking.patience import Patience

    event = threading.Event()
    if is_last:
        event.set()
    return Patience(event, longest), event


def failing(times, seconds=0.0):
    """A request that takes some seconds and fails so many times, and who asked."""
    asked = []

    def request():
        asked.append(1)
        time.sleep(seconds)
        if len(asked) <= times:
            raise ConnectionError("away")
        return "answer"

    return request, asked


def test_what_took_long_and_failed_is_asked_again():
    patience, _ = made(0.1, is_last=True)
    request, _ = failing(1, seconds=0.3)
    assert patience.ask(request) == "answer"


def test_an_outage_is_waited_for_while_more_may_come():
    patience, _ = made(0.0, is_last=False)
    request, asked = failing(3)
    assert patience.ask(request) == "answer"
    assert len(asked) == 4


def test_after_the_end_nobody_waits_for_long():
    patience, event = made(0.3, is_last=False)
    threading.Timer(0.5, event.set).start()
    request, _ = failing(1000)
    with pytest.raises(ConnectionError, match="away"):
        patience.ask(request)
    # Nor does what comes after it.
    request, asked = failing(1000)
    with pytest.raises(ConnectionError, match="away"):
        patience.ask(request)
    assert len(asked) == 1
