"""Where things lie on the head: what of this machine's options, variables and site file counts
there, and what cannot.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.executors.site import SiteFile
from orchestrator.session.places import Places
from orchestrator.store.home import SITE_FILE

# Said by the head's own environment, else beside the user's other things; never in the folder of
# the job, which Ray removes.
HOME_THERE = '"${SPOLIA_HOME:-$HOME/spolia-home}"'
VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")  # in which Ray looks for a head
EXAMPLE = "http://HEAD:8265"


@dataclass(frozen=True)
class Given:
    """Where things lie as it was said for this command, by option or variable; None where it was
    not.
    """

    home: str | None = None
    store: str | None = None
    tracking: str | None = None
    data: str | None = None

    @classmethod
    def without_own_folders(cls, **said: str | None) -> Given:
        """What counts for the head, too: variables for home and images name this machine's own
        folders.
        """
        for name in ("home", "data"):
            if said[name] and said[name] == os.environ.get(f"SPOLIA_{name.upper()}"):
                said[name] = None
        return cls(**said)


def address_of_head(given: str | None, places: Places) -> str:
    """Where the head takes jobs: what is given, else what the site file says, else Ray's own
    variables. Raises InputError where nobody says it, or it is no address of that kind.
    """
    values = [os.environ.get(name, "") for name in VARIABLES]
    dashboards = [value for value in values if "://" in value]  # HOST:PORT is where Ray itself is
    said = next(filter(None, [given, places.site.head, *dashboards]), None)
    if said is None:
        raise InputError(
            f'nothing says where the head is: head = "{EXAMPLE}" in {SITE_FILE}, or '
            f"--address {EXAMPLE}, the address of its Ray dashboard"
        )
    address = said if "://" in said else f"http://{said}"
    scheme, _, rest = address.partition("://")
    if scheme not in ("http", "https") or said == "auto":
        raise InputError(
            f"{said!r} is no address to hand a sweep in at: that of the head's Ray dashboard is, "
            f"such as {EXAMPLE}"
        )
    return f"{scheme}://{rest.rstrip('/')}"


def options_there(given: Given, places: Places) -> str:
    """The options that say where things lie, for the shell of the head, to which the site file goes
    along. Raises InputError that lists every place that is none there.
    """
    site = places.site
    problems = [*_problems(given, site), *_problem_with_store(given, site)]
    if problems:
        raise InputError("the head cannot use these places:", problems)
    options = {"store": given.store, "tracking": given.tracking, "data": given.data}
    said = {name: value for name, value in options.items() if value}
    if places.file is not None:
        said["site"] = SITE_FILE
    words = [word for name, value in said.items() for word in (f"--{name}", value)]
    if given.home:
        words += ["--home", given.home]
    elif not (site.home and _is_from_root(site.home)):
        return shlex.join(words) + f" --home {HOME_THERE}"
    return shlex.join(words)


def _problems(given: Given, site: SiteFile) -> list[str]:
    """Of home, tracking and images, which are said and mean a folder of this machine."""
    said: Mapping[str, str | None] = {
        "--home": given.home,
        "--tracking": given.tracking,
        "tracking in the site file": None if given.tracking else site.tracking,
        "--data": given.data,
        "data in the site file": None if given.data else site.data,
    }
    return [
        f"{name} {value}: a folder beside this command or the site file; write an address, or a "
        "path from the root that the head and every node have"
        for name, value in said.items()
        if value and not _is_from_root(value) and value not in ("none", "databricks")
    ]


def _problem_with_store(given: Given, site: SiteFile) -> list[str]:
    home = given.home or site.home
    said = given.store or site.store
    if said is None and home and _is_from_root(home):
        return []  # the store is a folder in it
    if said is not None and _is_from_root(said) and not said.startswith("~"):
        return []
    what = "it would be a folder" if said is None else f"{said} is a folder"
    return [
        f"the store: {what} on this machine, which the head does not see. "
        f'Name one that both see, store = "s3://BUCKET/spolia" in {SITE_FILE} (or --store), or '
        "the path from the root of a shared folder"
    ]


def _is_from_root(place: str) -> bool:
    """Whether a place has a meaning on every machine: an address, a path from the root or from the
    user's folder.
    """
    if place.startswith("sqlite:"):
        return place.startswith("sqlite:////")
    return "://" in place or Path(place).expanduser().is_absolute()
