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

from orchestrator.errors import SpoliaError
from orchestrator.spec.classes import class_at
from orchestrator.store.code import Code, code_in_use, listed
from orchestrator.store.patience import asking_again
from orchestrator.store.store import Store

PACKAGES = ("torch", "torchvision", "ray", "spolia")
SAME_VERSION = "install the same version on every node"
MUST_AGREE = ("python", "torch", "torchvision", "spolia")


@dataclass(frozen=True)
class Greeting:
    """What a node says of itself. `modules` are the digests of the code that the trials of a run
    execute, `unimportable` says of classes why they cannot be imported. `problem` is why the node
    could not write to the store or see the driver's probe in it, or empty.
    """

    node: str
    versions: Mapping[str, str]
    modules: Mapping[str, str]
    unimportable: Mapping[str, str]
    files: Mapping[str, str]
    gpus: Sequence[str]
    cpus: int
    data: str
    problem: str


def greet(store: str, probe: str, classes: Sequence[str], variables: Mapping[str, str]) -> Greeting:
    """Run on a node: look for the driver's probe in the store, leave one of its own, import the
    classes and read the code behind them. With an empty `probe` the store is not looked at.
    """
    # Before anything is imported: packages and data folders go by them.
    os.environ.update(variables)
    return Greeting(
        node=platform.node(),
        versions=versions(),
        modules=code_in_use(tuple(classes)).modules,
        unimportable=_unimportable(classes),
        files=_files(),
        gpus=_gpus(),
        cpus=os.cpu_count() or 1,
        data=_data_folder(),
        problem=problem_with_store(store, probe),
    )


def problem_with_store(address: str, probe: str, patience: float = 0.0) -> str:
    """Why this node does not share the store with the driver, or an empty string. A store that does
    not answer is asked again for so many seconds.
    """
    try:
        return str(asking_again(patience)(_look_into_store, address, probe))
    except SpoliaError as error:
        return str(error)


def _look_into_store(address: str, probe: str) -> str:
    """The same; raises where the store does not answer, or nothing can be written to it."""
    store = Store(address)
    if not probe:
        return ""
    if not store.sees_probe(probe):
        return (
            f"it does not see the driver's store at {store.name}; "
            "a store for several machines is a shared folder or an s3:// address"
        )
    # Seeing is not enough: a node that cannot write would train and then have nowhere to put it.
    own_probe = f"{probe}-{platform.node()}-{os.getpid()}"
    store.leave_probe(own_probe)
    store.take_probe(own_probe)
    return ""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a trial's bits may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def other_versions(drivers: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """In which versions that bits may depend on a node differs from the driver."""
    return [
        f"{name} {theirs.get(name)}, the driver has {drivers[name]}"
        for name in MUST_AGREE
        if theirs.get(name) != drivers[name]
    ]


def problem_with_gpu(share: float = 1.0) -> str:
    """Why the GPU of this process, which has such a `share` of it, cannot compute; an empty string
    where it can or there is none.
    """
    import torch

    from orchestrator.training.arithmetic import arithmetic
    from orchestrator.training.faults import fault_of

    if not torch.cuda.is_available():
        return ""
    cuda = torch.device("cuda")
    try:
        # As a trial computes: what a library reads when it begins stays for the process's life.
        with arithmetic(torch.get_num_threads(), "fp32", cuda):
            (torch.ones(8, 8, device=cuda) @ torch.ones(8, 8, device=cuda)).sum().item()
    except RuntimeError as error:
        # Full of others who share it, who may have taken more than theirs: no fault of the GPU's.
        # A trial that finds no room there says so itself, and gets a larger share.
        if share < 1 and fault_of(error) == "memory":
            return ""
        return f"its GPU cannot compute: {str(error).strip().splitlines()[0]}"
    return ""


def _unimportable(classes: Sequence[str]) -> dict[str, str]:
    """Why classes cannot be imported here, by path."""
    problems = {}
    for path in classes:
        try:
            class_at(path, object)
        except SpoliaError as error:
            problems[path] = str(error)
    return problems


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
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [f"{device.name}, {device.total_memory / 2**30:.0f} GiB" for device in devices]


def _data_folder() -> str:
    folder = os.environ.get("SPOLIA_DATA", "")
    if not folder:
        return "none named"
    return folder if os.path.isdir(folder) else f"{folder} (not there)"


def disagreements(driver: Greeting, others: Sequence[Greeting]) -> list[str]:
    """Everything that would make a node compute something else than the driver planned, or nothing
    at all.
    """
    problems = []
    for other in others:
        node = f"node {other.node}"
        if other.problem:
            problems.append(f"{node}: {other.problem}")
        problems += [f"{node}: {what}" for what in other_versions(driver.versions, other.versions)]
        missing = [f"{path} cannot be imported: {why}" for path, why in other.unimportable.items()]
        problems += [f"{node}: {what}; {SAME_VERSION}" for what in missing]
        changed = Code(driver.modules).differences(other.modules)
        # What cannot be imported has no code to compare; one message is enough.
        if changed and not missing:
            places = f"{other.files.get('orchestrator')}, {other.files.get('methods')}"
            what = f"has other code of {listed(changed)} (from {places})"
            problems.append(f"{node} {what}; {SAME_VERSION}")
    return list(dict.fromkeys(problems))
