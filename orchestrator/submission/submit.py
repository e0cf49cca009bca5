"""A sweep as a job: checked here, handed in once, and how it ended."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from orchestrator.errors import InputError
from orchestrator.session.cells import KnownCells
from orchestrator.session.checking import refuse_stale
from orchestrator.session.session import Session
from orchestrator.spec.naming import class_paths
from orchestrator.submission.arrival import left_probe, this_machine
from orchestrator.submission.head import Head, Job
from orchestrator.submission.packing import SWEEP_FOLDER, Package, package_of
from orchestrator.submission.places import Given, options_there

# Ray's three seconds between "stop" and the end by force do not bring MLflow level.
TIME_TO_STOP = {"RAY_JOB_STOP_WAIT_TIME_S": "120"}
NOT_FOUND = 127  # the shell's exit status for a program that is not on its path


@dataclass(frozen=True)
class Submission:
    """A sweep that can be handed in: the command that the head runs, in a folder with what the
    package holds. By `about` a job is known again: its sweep and store, and a hash of all that was
    handed in. `notes` are worth knowing before.
    """

    name: str
    command: str
    package: Package
    about: Mapping[str, str]
    notes: Sequence[str]

    def new_id(self) -> str:
        """A name for its job, which nobody has used."""
        # It stands in addresses and names of files.
        return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', self.name)}-{uuid.uuid4().hex[:6]}"


def prepare(
    session: Session, given: Given, options: Sequence[str], only: str | None = None
) -> Submission:
    """What is handed in of a session's sweep, to run with these options of `spolia run`. Raises
    InputError, and PlanError, for all that can be known here to be wrong.
    """
    assert session.file is not None
    places = options_there(given, session.places)
    known = session.known_cells(only)  # whatever keeps the sweep from being planned is told now
    is_smoke = "--smoke" in options
    if known.plan is not None and not is_smoke and "--stale" not in options:
        refuse_stale(known.plan)
    trials = [cell.trial for cell in session.sweep.trials()]
    needs = [] if known.plan is None else list(known.plan.trials.values())
    classes = {path for trial in (*trials, *needs) for path in class_paths(trial)}
    says = this_machine(classes)
    pack = partial(package_of, session.file, classes, session.places.file)
    file = f"{SWEEP_FOLDER}/{session.file.name}"
    # A smoke run is of the machine that it starts on, and goes without an address.
    where = [] if is_smoke else ["--address", "auto"]
    words = ["spolia", "run", file, *options, *where]
    command = f"{shlex.join(words)} {places}"
    # Without the probe: the first job of a sweep may make the store that it would lie in.
    request = sha256(command.encode() + pack(says).packed()).hexdigest()
    store = "none" if is_smoke else session.store.name
    return Submission(
        session.name,
        command,
        pack({**says, **left_probe(session.store)}),
        {"spolia": session.name, "store": store, "request": request},
        _notes(session, known),
    )


def _notes(session: Session, known: KnownCells) -> list[str]:
    """What may be as it should, and may not."""
    notes = [
        f"{one.name}: the store has no record of it yet, so the head needs its images"
        for one in known.missing
    ]
    if session.store.is_local and not session.store.exists:
        notes.append(
            f"{session.store.name} is a folder that this machine does not have, or that is empty: "
            "`spolia status` and `results` see what is in it only where they see the folder"
        )
    return notes


def running_already(submission: Submission, head: Head) -> Job | None:
    """The job that is just this and still runs, if there is one. Raises InputError where another
    job runs the same sweep into the same store, with other files or options.
    """
    about = submission.about
    others = [
        job
        for job in head.jobs()
        if not job.has_ended
        and all(job.about.get(name) == about[name] for name in ("spolia", "store"))
    ]
    for job in others:
        if job.about.get("request") == about["request"]:
            return job
    if not others:
        return None
    raise InputError(
        f"{others[0].id} runs {submission.name} already, as it was handed in at "
        f"{others[0].since}; its files or options were others. Follow that job "
        f"(spolia submit --follow {others[0].id}), or stop it (--stop {others[0].id}), which keeps "
        "what is done, and hand the sweep in again"
    )


def hand_in(submission: Submission, head: Head, job: str, columns: int) -> None:
    """Have the head run it, under this id. What it prints is `columns` wide."""
    variables = {**TIME_TO_STOP, "COLUMNS": str(columns)}
    head.hand_in(job, submission.command, submission.package.packed(), submission.about, variables)


def how_it_failed(job: Job) -> str:
    """Why a job ended otherwise than `spolia run` ends, in a sentence; empty where it did not."""
    if job.status == "STOPPED":
        return f"{job.id} was stopped. What is done is kept; the same command goes on from there."
    if job.exit_code == NOT_FOUND:
        return (
            f"{job.id}: the head knows no program `spolia`. Its Ray has to be started from the "
            "environment in which Spolia is installed (`source .venv/bin/activate` before "
            "`ray start`)."
        )
    if job.status == "FAILED" and job.exit_code is not None and job.exit_code < 0:
        return f"{job.id} was killed there (signal {-job.exit_code}). The same command goes on."
    if job.status == "FAILED" and job.exit_code is None:
        lines = job.message.strip().splitlines() or ["Ray does not say why"]
        return f"{job.id} did not run: {lines[-1] if len(lines) > 1 else lines[0]}"
    return ""
