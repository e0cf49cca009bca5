"""Do two machines mean the same? What one that submits says of itself, and the check of it on the
head, before the sweep runs there.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError, StoreError
from orchestrator.executors.handshake import versions
from orchestrator.session.session import Session
from orchestrator.spec.classes import allow_folder
from orchestrator.store.code import Code, code_in_use, listed
from orchestrator.store.origin import folder_of_submission, submission_in
from orchestrator.store.store import Store

SAID_OF = ("spolia", "python")  # whose versions are compared


def this_machine(classes: Iterable[str]) -> dict[str, Any]:
    """What a machine that submits says of itself: versions, and the code behind the classes of its
    trials.
    """
    paths = sorted(set(classes))
    return {
        "classes": paths,
        "modules": dict(code_in_use(tuple(paths)).modules),
        "versions": {name: version for name, version in versions().items() if name in SAID_OF},
    }


def left_probe(store: Store) -> dict[str, str]:
    """What it says of a store that is a folder here: the name of a file in it, by which the head
    sees whether it has the same. Empty where the store is none, or takes no file.
    """
    if not store.is_local or not store.exists:
        return {}
    # One for a machine, however often it submits.
    name = "submit" + sha256(f"{platform.node()} {store.address}".encode()).hexdigest()[:16]
    try:
        store.leave_probe(name)
    except StoreError:  # one that may only be read
        return {}
    return {"probe": name}


def check_arrival(session: Session) -> None:
    """Whether this machine would run what the one that submitted the session's sweep has planned;
    of a sweep that nobody submitted, nothing is asked. Raises InputError that says why not.
    """
    folder = folder_of_submission(session.file.absolute()) if session.file else None
    if folder is None:
        return
    said = submission_in(folder)
    allow_folder(folder)  # what lay beside the sweep lies there now
    different = Code(said["modules"]).differences(
        code_in_use(tuple(said["classes"])).modules  # read before it is executed, here as there
    )
    ours = versions()
    theirs = said["versions"]
    if theirs["spolia"] != ours["spolia"]:
        raise InputError(
            f"the head has version {ours['spolia']} of Spolia and the machine that submitted "
            f"{theirs['spolia']}: install the same on both"
        )
    if different:
        pythons = f"Python {ours['python']}, there {theirs['python']}"
        where = Path(__file__).parents[2]
        raise InputError(
            f"the head has other code of {listed(different)} (from {where}, {pythons}) than the "
            "machine that submitted: bring both to the same version of Spolia, or the same checkout"
        )
    if said.get("probe") and not session.store.sees_probe(said["probe"]):
        raise InputError(
            f"the store {session.store.name} is one folder on the machine that submitted and "
            'another one here: name one that both see, store = "s3://BUCKET/spolia" or the path of '
            "a shared folder"
        )
