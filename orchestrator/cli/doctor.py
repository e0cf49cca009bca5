"""Is this site ready for work? Each check says what it found; those that fail say what to do."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.data.root import data_root
from orchestrator.errors import MethodError, SpoliaError
from orchestrator.executors.by_name import executor
from orchestrator.executors.handshake import Greeting, disagreements, greet
from orchestrator.executors.site import Site, SiteFile, unknown_methods
from orchestrator.session.places import Places
from orchestrator.spec.registry import discover, installed
from orchestrator.store.home import Home
from orchestrator.store.store import Store

OLDEST = {"python": (3, 11), "torch": (2, 11)}


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is as it should be, and what was found."""

    subject: str
    is_fine: bool
    finding: str


def examine(places: Places, address: str | None) -> Iterator[Check]:
    """All checks, one after another; none of them raises."""
    home, site = places.home, places.site
    found = str(places.file) if places.file else "none (spolia.toml here or above would be one)"
    yield Check("site file", True, found)
    # What a node of a cluster says of itself before work starts, asked of this one.
    this_node = greet(home.store, "", [], {})
    yield from _versions(this_node)
    yield Check("GPUs", True, ", ".join(this_node.gpus) or "none: trials run on the CPU")
    yield from _traps(site, len(this_node.gpus))
    yield from _methods(site)
    yield _store(home.store)
    yield _tracking(home.tracking)
    yield from _data(home.store)
    if site.head:
        yield _head(places)
    if address:
        yield from _cluster(address, home, site)


def _versions(node: Greeting) -> Iterator[Check]:
    """Versions of packages, and the files that they are imported from."""
    for name, version in node.versions.items():
        # No version is older than an empty one, so other packages pass as they are.
        oldest = OLDEST.get(name, ())
        is_installed = version != "not installed"
        is_too_old = is_installed and _first_two(version) < oldest
        needed = f" (needs {'.'.join(map(str, oldest))} or newer)" if is_too_old else ""
        yield Check(name, is_installed and not is_too_old, version + needed)
    yield _torch_pair(node)
    for name, path in node.files.items():
        yield Check(f"{name} from", "cannot be imported" not in path, path)


def _first_two(version: str) -> tuple[int, ...]:
    """Major and minor number of a version such as 2.11.0+cpu; empty where it has none."""
    numbers = version.split("+", maxsplit=1)[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())


def _torch_pair(node: Greeting) -> Check:
    torch, vision = node.versions["torch"], node.versions["torchvision"]
    try:
        import torchvision.ops  # noqa: F401 - the import is the check
    except (ImportError, RuntimeError, AttributeError) as error:
        return Check(
            "torch pair",
            False,
            f"torch {torch} and torchvision {vision} are no pair: {error}. "
            "Install both from one release",
        )
    return Check("torch pair", True, f"torch {torch} with torchvision {vision}")


def _traps(site: SiteFile, num_gpus: int) -> Iterator[Check]:
    """What works, and wastes time or machines without a word; see docs/running-on-a-cluster.md."""
    variables = os.environ
    if "UV_RUN_RECURSION_DEPTH" in variables and _is_on("RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        yield Check(
            "launcher",
            False,
            "`uv run`: Ray would have every worker install an environment of its own. Start "
            ".venv/bin/spolia, or set RAY_ENABLE_UV_RUN_RUNTIME_ENV=0",
        )
    waits_long = "RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT" in variables
    if int(variables.get("SLURM_NNODES", "1")) > 1 and not waits_long:
        yield Check(
            "Slurm",
            False,
            "nodes of `ray symmetric-run` wait only 30 s for each other: "
            "set RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600",
        )
    share = site.gpus.get("default", 1.0)
    if site.slots and not site.address and site.slots * share < num_gpus:
        yield Check(
            "slots",
            False,
            f"{site.slots} trials at once with {share:g} of a GPU each leave some of {num_gpus} "
            "GPUs idle: raise slots, or [gpus] default",
        )


def _is_on(variable: str) -> bool:
    """Whether a switch of Ray's that is on by default was left on."""
    return os.environ.get(variable, "1").lower() not in ("0", "false")


def _methods(site: SiteFile) -> Iterator[Check]:
    try:
        all_found = installed()
    except MethodError as error:
        yield Check("methods", False, str(error))
        return
    methods = all_found.methods
    yield Check("methods", True, ", ".join(methods))
    for reason in all_found.broken.values():
        yield Check("methods", False, reason)
    if site.gpus or site.cpus:
        problems = unknown_methods(site, methods)
        found = "; ".join(problems) or "[gpus] and [cpus] name methods that there are"
        yield Check("shares", not problems, found)


def _store(address: str) -> Check:
    try:
        # This is what a run begins with: it makes the store where there is none, and leaves and
        # takes a file.
        Store(address).prepare()
    except SpoliaError as error:
        return Check("store", False, str(error))
    return Check("store", True, f"{Store(address).name} (written and read)")


def _tracking(address: str | None) -> Check:
    if address is None:
        return Check("tracking", True, "none")
    if address.startswith("sqlite:///"):
        path = Path(address.removeprefix("sqlite:///"))
        # The database may not be made yet; its folder can tell.
        existing = next(p for p in (path, *path.parents) if p.exists())
        can_write = os.access(existing, os.W_OK)
        return Check("tracking", can_write, address + ("" if can_write else " cannot be written"))
    if not address.startswith("http"):
        return Check("tracking", True, f"{address} (not tried)")
    try:
        with urllib.request.urlopen(address.rstrip("/") + "/version", timeout=10) as answer:
            version = answer.read(40).decode(errors="replace")
    except urllib.error.HTTPError as error:
        problem = f"answers {error.code}"
    except (OSError, ValueError) as error:  # URLError is an OSError
        problem = f"does not answer: {getattr(error, 'reason', error)}"
    else:
        return Check("tracking", True, f"{address} (MLflow {version})")
    advice = "Training goes on without it; spolia track catches up"
    return Check("tracking", False, f"{address} {problem}. {advice}")


def _data(address: str) -> Iterator[Check]:
    root = data_root()
    folder = None if root is None else str(root)
    if folder is None:
        yield Check("data", True, "no folder named (--data); digits need none")
    else:
        yield Check("data", "://" in folder or Path(folder).is_dir(), folder)
    try:
        records = Store(address).data_records()
    except SpoliaError as error:
        yield Check("data records", False, str(error))
        return
    names = ", ".join(record.name for record in records)
    yield Check("data records", True, names or "none yet (spolia data add)")


def _head(places: Places) -> Check:
    """Whether sweeps can be handed in at the head that the site file names."""
    from orchestrator.submission.head import Head
    from orchestrator.submission.places import address_of_head

    try:
        head = Head(address_of_head(None, places))
        jobs = head.jobs()
    except SpoliaError as error:
        return Check("head", False, str(error))
    num_running = sum(not job.has_ended for job in jobs)
    return Check("head", True, f"{head.address} takes jobs; {num_running} of {len(jobs)} run")


def _cluster(address: str, home: Home, site: SiteFile) -> Iterator[Check]:
    """Every node of a Ray cluster, and the shapes of workers on it."""
    try:
        paths = [f"{method.__module__}:{method.__qualname__}" for method in discover().values()]
        # The very handshake of a run, so that what is fine here is fine there.
        driver, *nodes = executor("ray").greetings(
            Store(home.store), Site(home.scratch, address=address), paths
        )
    except SpoliaError as error:
        yield Check("cluster", False, str(error))
        return
    for node in nodes:
        problems = disagreements(driver, [node])
        about = (
            f"{node.cpus} CPUs, {', '.join(node.gpus) or 'no GPU'}, data {node.data}, "
            f"methods from {node.files.get('methods')}"
        )
        found = "; ".join(problems) or f"sees the store, has the driver's code; {about}"
        yield Check(f"node {node.node}", not problems, found)
    yield _gpus_of_cluster(site, nodes)
    yield _worker_shapes(site, nodes)


def _gpus_of_cluster(site: SiteFile, nodes: Sequence[Greeting]) -> Check:
    """Whether trials would compute on CPUs although the site shares out GPUs: none is up, and not
    every cluster says what it would start.
    """
    count = sum(len(node.gpus) for node in nodes)
    if count or site.device != "auto":
        return Check("cluster GPUs", True, f"{count} up; device = {site.device!r}")
    found = (
        "none is up, so trials compute on CPUs. A cluster that starts nodes with GPUs when they "
        'are asked for, and does not say so to Ray (KubeRay), needs device = "gpu" and slots'
    )
    return Check("cluster GPUs", not site.gpus, found)


def _worker_shapes(site: SiteFile, nodes: Sequence[Greeting]) -> Check:
    """How many different workers the site's shares ask for: each change of shape restarts one."""
    num_cpus = sum(node.cpus for node in nodes)
    num_gpus = sum(len(node.gpus) for node in nodes)
    # All pairs, though a method has one share of each: an upper bound. A method that is not named
    # has a whole GPU and one CPU.
    num_shapes = len({*site.gpus.values(), 1.0}) * len({*site.cpus.values(), 1})
    return Check(
        "worker shapes",
        num_shapes <= 6,
        f"up to {num_shapes} from [gpus] and [cpus], on {num_cpus} CPUs and {num_gpus} GPUs",
    )
