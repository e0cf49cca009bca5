"""Where the things of a session lie, and how its trials run: from what is said, the environment and
the site file, in this order.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.data.root import users_root
from orchestrator.errors import InputError, option
from orchestrator.executors.site import Site, SiteFile, read_site, unknown_methods
from orchestrator.session.choices import ExecutorName, refuse_no_count
from orchestrator.spec.classes import VARIABLE as PACKAGES
from orchestrator.spec.declarations import is_finite_number
from orchestrator.store.home import DEFAULT_HOME, Home, find_site, home, relative_to


@dataclass(frozen=True)
class Places:
    """The home, what the site file says, where that file is (None: there is none), and the folder
    of image sets (None: none is named).
    """

    home: Home
    site: SiteFile
    file: Path | None
    data: str | None = None

    def within(self, root: Path) -> Places:
        """The same machine with a home in another folder, in which nothing is tracked. Trials run
        on this machine whatever the site says: its other nodes may not see that folder.
        """
        here = Home(root, str(root / "store"), None)
        site = replace(self.site, address=None, device="auto", slots=None)
        return replace(self, home=here, site=site)

    def site_of_run(
        self,
        executor: ExecutorName,
        *,
        address: str | None = None,
        slots: int | None = None,
        checkpoint_every: float | None = None,
    ) -> Site:
        """Where and how trials run: what is said here goes before the site file. Raises InputError
        for methods in the site file that do not exist, for less than one slot, and for seconds
        below 0.
        """
        from orchestrator.spec.registry import discover

        file = self.site
        # Finding methods imports them all, so only where the file names some.
        problems = unknown_methods(file, discover()) if file.gpus or file.cpus else []
        if problems:
            raise InputError("the site file names methods that are not there:", problems)
        if slots is not None:
            refuse_no_count("slots", slots, "how many trials run at once")
        if checkpoint_every is not None:
            _refuse_no_seconds(checkpoint_every)
        cluster = address or file.address
        # One process runs one trial at a time, whatever number is said.
        if executor is ExecutorName.inline:
            slots = 1
        elif cluster:
            slots = slots or file.slots  # None on a cluster: as many as it has CPUs
        else:
            slots = slots or file.slots or os.cpu_count() or 1
        every = file.checkpoint_every if checkpoint_every is None else checkpoint_every
        return Site(
            scratch=self.home.scratch,
            slots=slots,
            checkpoint_every=every,
            hold_back_after=file.hold_back_after,
            address=cluster,
            device=file.device,
            gpus=file.gpus,
            cpus=file.cpus,
        )


def places(
    *,
    home_folder: str | Path | None = None,
    store: str | Path | None = None,
    tracking: str | None = None,
    data: str | Path | None = None,
    site_file: str | Path | None = None,
) -> Places:
    """The places that are named; where one is not, that of the variable SPOLIA_HOME, SPOLIA_STORE,
    SPOLIA_TRACKING, SPOLIA_DATA or SPOLIA_SITE, else that of the site file, else the usual one.

    The packages that the site allows are added to those that this process and its workers may load.
    Raises InputError for a wrong site file, and for a home that is a file.
    """
    named_site = _given(site_file, "SPOLIA_SITE")
    path = find_site(Path(named_site) if named_site else None)
    site = read_site(path)
    base = path.parent if path else Path()  # relative folders in a site file are beside it
    said = str(data) if data else users_root()
    folder = _absolute(said or relative_to(base, site.data))
    root = _given(home_folder, "SPOLIA_HOME") or relative_to(base, site.home) or DEFAULT_HOME
    if "://" in root:
        raise InputError(
            f"{option('home', root)}: a home is a folder of this machine. An address is that of a "
            f"store ({option('store')}) or of MLflow ({option('tracking')})"
        )
    if Path(root).is_file():
        raise InputError(f"{option('home', str(root))}: a home is a folder, and this is a file")
    address = _given(store, "SPOLIA_STORE") or relative_to(base, site.store)
    tracked = _given(tracking, "SPOLIA_TRACKING") or site.tracking
    _allow_packages(site)
    return Places(home(Path(root), address, tracked), site, path, folder)


def _given(value: str | Path | None, variable: str) -> str | None:
    """What is said here, else in the environment; None where it is not said."""
    # A variable that is set to nothing says nothing, as in a shell script that leaves one blank.
    return (str(value) if value else os.environ.get(variable)) or None


def _absolute(data: str | None) -> str | None:
    """The data folder as it is called from everywhere: workers may start in another folder."""
    if data is None or "://" in data:
        return data
    return str(Path(data).expanduser().absolute())


def _allow_packages(site: SiteFile) -> None:
    """A variable, not an argument: it reaches every process that this one starts, MLflow's writer,
    too.
    """
    if site.packages:
        # Added, not replaced: what the user's variable allows, or another session's site, stays
        # allowed, for results outlive the session that opened them. Each once, since a notebook may
        # come here many times.
        listed = [*os.environ.get(PACKAGES, "").split(","), *site.packages]
        os.environ[PACKAGES] = ",".join(dict.fromkeys(filter(None, listed)))


def _refuse_no_seconds(every: object) -> None:
    if not is_finite_number(every) or every < 0:
        said = option("checkpoint_every", every)
        raise InputError(f"{said}: seconds between a trial's checkpoints, from 0")
