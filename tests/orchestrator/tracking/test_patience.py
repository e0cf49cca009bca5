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


def raising(error):
    def request():
        raise error

    return request


def test_whatever_a_store_of_artifacts_raises_may_be_over_some_day():
    from orchestrator.tracking.patience import ArtifactsError, is_refusal, of_artifacts

    with pytest.raises(ArtifactsError, match="KeyError: 'token'") as raised, of_artifacts():
        raise KeyError("token")
    assert not is_refusal(raised.value)


@pytest.mark.parametrize(("code", "is_one"), [(413, True), (403, True), (429, False), (502, False)])
def test_what_a_server_of_artifacts_refuses(code, is_one):
    import requests

    from orchestrator.tracking.patience import is_refusal

    response = requests.Response()
    response.status_code = code
    assert is_refusal(requests.HTTPError(response=response)) == is_one


def test_a_file_that_cannot_be_written_keeps_nobody_where_mlflow_answers(monkeypatch):
    from orchestrator.tracking import patience as module

    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    patience, _ = made(1000.0, is_last=False)
    patience.is_there = lambda: True
    with pytest.raises(OSError, match="no space left"):
        patience.ask(raising(OSError(28, "no space left")))
    with pytest.raises(OSError, match="name too long"):
        patience.ask(raising(OSError(36, "name too long")))


def test_our_own_store_is_waited_for_though_mlflow_answers(monkeypatch):
    from orchestrator import StoreError
    from orchestrator.tracking import patience as module

    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    patience, _ = made(0.0, is_last=False)
    patience.is_there = lambda: True
    left = [StoreError("away")] * (module.STUBBORN + 2)

    def request():
        if left:
            raise left.pop()
        return "answer"

    assert patience.ask(request) == "answer"
