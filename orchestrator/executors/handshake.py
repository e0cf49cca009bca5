"""Before a cluster starts work: does every node see the same store, and would it run the same code
as the driver?
"""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from orchestrator.errors import SpoliaError
from orchestrator.spec.trial import locate
from orchestrator.store.code import sources_digest
from orchestrator.store.store import Store

PACKAGES = ("torch", "torchvision", "ray", "spolia")
MUST_AGREE = ("python", "torch", "torchvision", "spolia")


@dataclass(frozen=True)
class Greeting:
    """What a node says of itself. `problem` is why it could not write to the store or see the
    driver's probe in it, or empty.
    """

    node: str
    versions: Mapping[str, str]
    sources: Mapping[str, str]
    files: Mapping[str, str]
    gpus: Sequence[str]
    cpus: int
    data: str
    problem: str


def greet(store: str, probe: str, methods: Sequence[str], variables: Mapping[str, str]) -> Greeting:
    """Run on a node: look for the driver's probe in the store, leave one of its own, and import the
    methods.
    """
    os.environ.update(variables)
    problem = ""
    try:
        here = Store(store)
        if probe and not here.sees_probe(probe):
            problem = f"it does not see the driver's store at {here.name}; a store for several machines is a shared folder or an s3:// address"
        elif probe:
            here.leave_probe(own := f"{probe}-{platform.node()}-{os.getpid()}")
            here.take_probe(own)
    except SpoliaError as error:
        problem = str(error)
    return Greeting(
        platform.node(),
        versions(),
        {path: _sources(path) for path in methods},
        _files(),
        _gpus(),
        os.cpu_count() or 1,
        _data_folder(),
        problem,
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a trial's bits may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _sources(path: str) -> str:
    try:
        return sources_digest(locate(path))
    except SpoliaError as error:
        return f"cannot be imported: {error}"


def _files() -> dict[str, str]:
    """Which file each package is imported from: the first thing to know where a change seems to
    have no effect.
    """
    found = {}
    for name in ("orchestrator", "methods", "torch", "torchvision", "ray", "mlflow", "pyarrow"):
        spec = importlib.util.find_spec(name)
        found[name] = str(spec.origin) if spec is not None else "cannot be imported: not installed"
    return found


def _gpus() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [
        f"{torch.cuda.get_device_name(i)}, {torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB"
        for i in range(torch.cuda.device_count())
    ]


def _data_folder() -> str:
    folder = os.environ.get("SPOLIA_DATA", "")
    if not folder:
        return "none named"
    return folder if os.path.isdir(folder) else f"{folder} (not there)"


def disagreements(driver: Greeting, others: Sequence[Greeting]) -> list[str]:
    """Everything that would make a node compute something else than the driver planned, or nothing
    at all.
    """
    found = []
    for other in others:
        if other.problem:
            found.append(f"node {other.node}: {other.problem}")
        found += [
            f"node {other.node}: {name} {other.versions.get(name)}, the driver has {driver.versions[name]}"
            for name in MUST_AGREE
            if other.versions.get(name) != driver.versions[name]
        ]
        for path, digest in driver.sources.items():
            if (theirs := other.sources.get(path, "")) != digest:
                what = (
                    theirs
                    if "imported" in theirs
                    else f"other sources (from {other.files.get('methods')})"
                )
                found.append(
                    f"node {other.node}: {path} {'' if 'imported' in theirs else 'has '}{what}; install the same version on every node"
                )
    return list(dict.fromkeys(found))


def to_json(greeting: Greeting) -> dict[str, Any]:
    return {
        k: dict(v) if isinstance(v, Mapping) else list(v) if isinstance(v, list | tuple) else v
        for k, v in vars(greeting).items()
    }
