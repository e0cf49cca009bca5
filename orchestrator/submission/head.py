"""The head of a cluster, as Ray's job interface shows it over HTTP.

Every request ends within a minute: Ray's own client waits for ever for a machine that is gone, and
a laptop that has slept would not notice. The log is read in whole pieces, not followed through
Ray's web socket, which ends early now and then without a word (Ray's issues 51601 and 60665).
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenacity

from orchestrator.errors import InputError, SpoliaError, UnreachableError, nearest
from orchestrator.submission.places import VARIABLES

WITHIN = (5.0, 60.0)  # seconds to connect, and between two bytes of an answer
RUNNING = ("PENDING", "RUNNING")
BEGINNING = "Running entrypoint for job "  # the line of Ray's behind which the log is the job's
WITHOUT_RAY = (
    "spolia submit needs Ray's job interface, which is not installed: pip install 'spolia[submit]'"
)
TOKEN = "set RAY_AUTH_MODE=token and have the head's token in ~/.ray/auth_token"


@dataclass(frozen=True)
class Job:
    """A job as the head tells it. `about` is what it was handed in with."""

    id: str
    status: str
    exit_code: int | None
    message: str
    started: float  # seconds since 1970
    about: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        return self.status not in RUNNING

    @property
    def since(self) -> str:
        """When it was handed in, in words."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.started))


class Head:
    """The head at an address (http://HOST:PORT).

    Raises InputError where Ray's job interface is not installed here, where what answers is no head
    or refuses us; here and in every method UnreachableError where nobody answers.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = _client(address)

    def jobs(self) -> list[Job]:
        """All jobs that were handed in there, those of others, too."""
        with _answers():
            return [_job(one) for one in self._client.list_jobs() if one.submission_id]

    def job(self, job: str) -> Job:
        """One of them, as it stands now. Raises InputError where there is none."""
        with _answers():
            try:
                return _job(self._client.get_job_info(job))
            except RuntimeError as error:
                if "does not exist" not in str(error):
                    raise
        names = [one.id for one in self.jobs()]
        raise InputError(
            f"{self.address} has no job {job!r}. {nearest(job, names)} A head that was started "
            "again has forgotten its jobs; what they had done is in the store"
        )

    def log(self, job: str) -> str:
        """What a job has printed so far."""
        with _answers():
            text = str(self._client.get_job_logs(job))
        _, _, behind = text.partition(BEGINNING)
        return behind.partition("\n")[2]

    def hand_in(
        self,
        job: str,
        command: str,
        package: bytes,
        about: Mapping[str, str],
        variables: Mapping[str, str],
    ) -> None:
        """Have a command run there as a job, in a folder with what is in the package."""
        with tempfile.TemporaryDirectory(prefix="spolia-submit-") as folder:
            archive = Path(folder, "package.zip")  # Ray knows it again by what is in it
            archive.write_bytes(package)
            try:
                _once_it_is_up(
                    self._client.submit_job,
                    entrypoint=command,
                    submission_id=job,
                    runtime_env={"working_dir": str(archive), "env_vars": dict(variables)},
                    metadata=dict(about),
                )
            except (RuntimeError, ValueError) as error:
                raise InputError(
                    f"{self.address} does not take the job: {_first_line(error)}"
                ) from error

    def stop(self, job: str) -> None:
        """Have a job end; it is given time to leave everything in order."""
        with _answers():
            self._client.stop_job(job)


def _client(address: str) -> Any:
    """Ray's client for a head. Raises as `Head` does."""
    kind = _kind_of_client(address)
    try:
        with _without_variables():
            return kind(address)
    except UnreachableError as error:
        raise UnreachableError(
            f"{error}. Is it the head's Ray dashboard (which needs `spolia[submit]` there), and "
            "does the way to it (VPN, tunnel) stand?"
        ) from error
    except InputError:
        raise
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(
            f"what answers at {address} is no Ray dashboard ({_first_line(error)})"
        ) from error


def _kind_of_client(address: str) -> Any:
    """Ray's class, with limits in time and errors of ours. Raises InputError where it is not
    installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import aiohttp  # noqa: F401 - without it, Ray's client says so later and in other words
        import requests
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise InputError(WITHOUT_RAY) from error
    # It would say that it looks through variables, packs and uploads.
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Client(JobSubmissionClient):  # type: ignore[misc]  # Ray has no types
        def __init__(self, at: str) -> None:
            try:
                super().__init__(at)
            except AuthenticationError as error:  # there is no token here
                raise InputError(f"{address}: {TOKEN}") from error

        def _do_request(self, method: str, endpoint: str, **given: Any) -> Any:
            try:
                answer = super()._do_request(method, endpoint, timeout=WITHIN, **given)
            except requests.RequestException as error:
                raise UnreachableError(f"{address} does not answer ({_why(error)})") from error
            except AuthenticationError as error:
                raise InputError(f"{address} does not let us in: {TOKEN}") from error
            if answer.status_code >= 500:
                lines = answer.text.strip().splitlines() or [""]
                raise UnreachableError(f"{address} answers {answer.status_code}, {lines[-1]}")
            return answer

    return Client


@contextlib.contextmanager
def _answers() -> Iterator[None]:
    """Whatever answers in a way that a head does not (a proxy, the page of a hotel) is no head."""
    try:
        yield
    except SpoliaError:
        raise
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise UnreachableError(f"what answers is no head ({_first_line(error)})") from error


# A head answers before it can run anything. Nothing else is tried again: it might run twice.
_once_it_is_up = tenacity.Retrying(
    retry=tenacity.retry_if_exception_message(match=r".*No available agent.*"),
    wait=tenacity.wait_fixed(2.0),
    stop=tenacity.stop_after_delay(60.0),
    reraise=True,
)


@contextlib.contextmanager
def _without_variables() -> Iterator[None]:
    """For Ray, its variables go before an address that is given (Ray's issue 36064)."""
    taken = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def _job(details: Any) -> Job:
    return Job(
        id=details.submission_id,
        status=getattr(details.status, "value", str(details.status)),
        exit_code=details.driver_exit_code,
        message=details.message or "",
        started=(details.start_time or 0) / 1000,
        about=details.metadata or {},
    )


def _why(error: Exception) -> str:
    """Why a request failed, in a few words: the innermost reason of a library's many layers."""
    if "timed out" in str(error):
        return "no answer in time"
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return getattr(cause, "strerror", None) or str(cause).strip().splitlines()[0]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
