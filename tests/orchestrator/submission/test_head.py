"""The head over HTTP, by Ray's own client: a server here that pretends to be one, is away at times,
or is something else.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from orchestrator.errors import InputError, UnreachableError
from orchestrator.submission import head as heads
from orchestrator.submission.following import follow
from orchestrator.submission.head import Head

pytestmark = pytest.mark.process  # Ray is imported, and nothing of it started

JOB = {
    "type": "SUBMISSION",
    "submission_id": "asked-1",
    "entrypoint": "spolia run asked.py",
    "start_time": 1_700_000_000_000,
    "metadata": {"spolia": "asked"},
}
LOG = "Runtime env is setting up.\nRunning entrypoint for job asked-1: spolia run asked.py\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answer = self.server.answer(self.path)
        if answer is None:  # as if the way to it were gone
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, body = answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET  # noqa: N815 - the name is Python's

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server; `server.answers` are its answers by path, each a list that is used up but for its
    last one.
    """
    # The proxy of a machine is none for its own address.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{made.server_port}"
    made.answers = {"/api/version": [(200, json.dumps({"ray_version": "2.60.0"}))]}

    def answer(path):
        answers = made.answers.get(path, [(404, "nothing")])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    made.answer = answer
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def job(status, **more):
    return 200, json.dumps({**JOB, "status": status, **more})


def log(text):
    return 200, json.dumps({"logs": LOG + text})


def test_a_job_is_followed_over_whatever_happens_to_the_connection(server, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    head = Head(server.address)
    server.answers["/api/jobs/asked-1"] = [
        job("PENDING"),
        None,
        (503, "no upstream"),
        (200, "<html>Welcome to our hotel</html>"),
        (500, "Traceback\nRuntimeError: no agent"),
        job("RUNNING"),
        job("RUNNING"),
        job("FAILED", driver_exit_code=3),
    ]
    server.answers["/api/jobs/asked-1/logs"] = [
        (200, json.dumps({"logs": ""})),
        log("one\n"),
        None,
        log("one\ntwo\n"),
    ]
    written, said = [], []
    ended = follow(head, "asked-1", written.append, said.append)
    assert (ended.status, ended.exit_code, "".join(written)) == ("FAILED", 3, "one\ntwo\n")
    lost = f"The connection is lost: {server.address} does not answer"
    assert [line.partition(" (")[0] for line in said] == [lost, "Connected again."] * 2


def test_a_server_that_accepts_and_says_nothing_is_left_after_a_while(server, monkeypatch):
    head = Head(server.address)
    monkeypatch.setattr(heads, "WITHIN", (0.2, 0.2))
    server.answer = lambda path: time.sleep(1.0)
    with pytest.raises(UnreachableError, match="no answer in time"):
        head.job("asked-1")


def test_a_job_that_is_not_there_is_told_with_those_that_are(server):
    server.answers["/api/jobs/asked-2"] = [(404, "Job asked-2 does not exist")]
    driver = {"type": "DRIVER", "status": "RUNNING", "entrypoint": "python"}
    server.answers["/api/jobs/"] = [(200, json.dumps([{**JOB, "status": "RUNNING"}, driver]))]
    with pytest.raises(InputError, match=r"has no job 'asked-2'\. Did you mean 'asked-1'"):
        Head(server.address).job("asked-2")


def test_a_head_that_is_just_starting_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    head = Head(server.address)
    answers = [(500, "No available agent to submit job")] * 2
    answers += [(200, json.dumps({"job_id": "asked-1", "submission_id": "asked-1"}))]
    server.answer = lambda path: (200, "") if "packages" in path else answers.pop(0)
    head.hand_in("asked-1", "spolia run", b"zip", {}, {})
    assert answers == []


def test_what_is_given_goes_before_rays_own_variables(server, monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.answers["/api/jobs/"] = [(200, "[]")]
    assert Head(server.address).jobs() == []


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (None, UnreachableError, r"http://127.0.0.1:\d+ does not answer .*\. Is it the head's"),
        ((503, "no upstream"), UnreachableError, "answers 503, no upstream"),
        ((404, "nothing"), InputError, "is no Ray dashboard .Version check returned 404"),
        ((200, "<html>"), InputError, "is no Ray dashboard"),
        (
            (401, "Unauthorized"),
            InputError,
            "^http://[0-9.:]+ does not let us in: set RAY_AUTH_MODE=token",
        ),
        ((403, "Forbidden"), InputError, "does not let us in"),
    ],
)
def test_what_is_no_head_is_told_in_a_sentence(server, answer, error, words):
    server.answers["/api/version"] = [answer]
    with pytest.raises(error, match=words) as refused:
        Head(server.address)
    assert "\n" not in str(refused.value)


def test_nobody_at_the_address_is_told_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UnreachableError, match="Connection refused"):
            Head(address)
