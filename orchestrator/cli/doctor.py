"""Is this site ready for work? Each check says what it found; those that fail say what to do."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import ExecutorError, MethodError, SpoliaError
from orchestrator.executors.by_name import executor
from orchestrator.executors.handshake import Greeting, disagreements, greet
from orchestrator.executors.site import Shapes, Site, SiteFile, unknown_methods
from orchestrator.spec.registry import discover
from orchestrator.store.store import Store

OLDEST = {"python": (3, 11), "torch": (2, 11)}


@dataclass(frozen=True)
class Check:
    what: str
    fine: bool
    found: str


def examine(setting: Any, file: Path | None, address: str | None) -> Iterator[Check]:
    """All checks, one after another; none of them raises."""
    home, site = setting.home, setting.site
    yield Check(
        "site file", True, str(file) if file else "none (spolia.toml here or above would be one)"
    )
    me = greet(home.store, "", [], {})
    yield from _versions(me)
    yield Check("GPUs", True, ", ".join(me.gpus) or "none: trials run on the CPU")
    yield from _methods(site)
    yield _store(home.store)
    yield _tracking(home.tracking)
    yield from _data(home.store)
    if address:
        yield from _cluster(address, home, site)


def _versions(me: Greeting) -> Iterator[Check]:
    for name, version in me.versions.items():
        oldest = OLDEST.get(name)
        old = (
            oldest is not None
            and tuple(int(p) for p in version.split("+")[0].split(".")[:2]) < oldest
        )
        yield Check(
            name,
            version != "not installed" and not old,
            version + (f" (needs {'.'.join(map(str, oldest or ()))} or newer)" if old else ""),
        )
    yield _pair(me)
    yield from (
        Check(f"{name} from", "cannot be imported" not in path, path)
        for name, path in me.files.items()
    )


def _pair(me: Greeting) -> Check:
    torch, vision = me.versions["torch"], me.versions["torchvision"]
    try:
        import torchvision.ops  # noqa: F401
    except (ImportError, RuntimeError, AttributeError) as error:
        return Check(
            "torch pair",
            False,
            f"torch {torch} and torchvision {vision} are no pair: {error}. Install both from one release",
        )
    return Check("torch pair", True, f"torch {torch} with torchvision {vision}")


def _methods(site: SiteFile) -> Iterator[Check]:
    try:
        found = discover()
    except MethodError as error:
        yield Check("methods", False, str(error))
        return
    yield Check("methods", True, ", ".join(found))
    if site.gpus or site.cpus:
        problems = unknown_methods(site, found)
        yield Check(
            "shares",
            not problems,
            "; ".join(problems) or "[gpus] and [cpus] name methods that there are",
        )


def _store(address: str) -> Check:
    try:
        Store(address).prepare()
    except SpoliaError as error:
        return Check("store", False, str(error))
    return Check("store", True, f"{Store(address).name} (written and read)")


def _tracking(address: str | None) -> Check:
    if address is None:
        return Check("tracking", True, "none")
    if address.startswith("sqlite:///"):
        path = Path(address.removeprefix("sqlite:///"))
        folder = path if path.exists() else next(p for p in path.parents if p.exists())
        return Check(
            "tracking",
            os.access(folder, os.W_OK),
            f"{address}" + ("" if os.access(folder, os.W_OK) else " cannot be written"),
        )
    if not address.startswith("http"):
        return Check("tracking", True, f"{address} (not tried)")
    try:
        with urllib.request.urlopen(address.rstrip("/") + "/version", timeout=10) as answer:
            return Check(
                "tracking", True, f"{address} (MLflow {answer.read(40).decode(errors='replace')})"
            )
    except (urllib.error.URLError, OSError, ValueError) as error:
        why = (
            f"answers {error.code}"
            if isinstance(error, urllib.error.HTTPError)
            else f"does not answer: {getattr(error, 'reason', error)}"
        )
        return Check(
            "tracking",
            False,
            f"{address} {why}. Training goes on without it; spolia track catches up",
        )


def _data(address: str) -> Iterator[Check]:
    folder = os.environ.get("SPOLIA_DATA")
    if folder is None:
        yield Check("data", True, "no folder named (--data); digits need none")
    else:
        yield Check("data", "://" in folder or Path(folder).is_dir(), folder)
    try:
        records = Store(address).data_records()
    except SpoliaError as error:
        yield Check("data records", False, str(error))
    else:
        yield Check(
            "data records", True, ", ".join(r.name for r in records) or "none yet (spolia data add)"
        )


def _cluster(address: str, home: Any, site: SiteFile) -> Iterator[Check]:
    paths = [f"{m.__module__}:{m.__qualname__}" for m in discover().values()]
    try:
        driver, *nodes = executor("ray").greetings(
            Store(home.store), Site(home.scratch, address=address), paths
        )
    except (ExecutorError, SpoliaError) as error:
        yield Check("cluster", False, str(error))
        return
    for node in nodes:
        wrong = disagreements(driver, [node])
        about = f"{node.cpus} CPUs, {', '.join(node.gpus) or 'no GPU'}, data {node.data}, methods from {node.files.get('methods')}"
        yield Check(
            f"node {node.node}",
            not wrong,
            "; ".join(wrong) or f"sees the store, has the driver's code; {about}",
        )
    yield _shares(site, home, nodes)


def _shares(site: SiteFile, home: Any, nodes: list[Greeting]) -> Check:
    """How many different workers the site's shares ask for: each change of shape restarts one."""
    shapes = Shapes(
        Site(home.scratch, gpus=site.gpus, cpus=site.cpus),
        sum(n.cpus for n in nodes),
        sum(len(n.gpus) for n in nodes),
    )
    count = len({*site.gpus.values(), 1.0}) * len({*site.cpus.values(), 1})
    return Check(
        "worker shapes",
        count <= 6,
        f"up to {count} from [gpus] and [cpus], on {shapes.cpus:g} CPUs and {shapes.gpus:g} GPUs",
    )
