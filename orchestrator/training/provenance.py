"""Where a result comes from, as its record tells: code, versions, commit, device, machine."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial
from orchestrator.store.checkout import git
from orchestrator.store.code import code_of, own_files


def provenance(trial: Trial, device: torch.device) -> dict[str, Any]:
    """Versions of packages, the digest of the trial's code and of each of its modules, where the
    modules of its classes lie that belong to no package, the commit of our checkout (`changed`:
    whether files differ from it; both absent where there is none), the class of device (of a GPU,
    its memory, too) and the machine.
    """
    code = code_of(trial)
    return {
        **_versions(),
        **_checkout(),
        "code": code.digest,
        "modules": dict(code.modules),
        "files": dict(own_files(class_paths(trial))),
        "device": device_class(device),
        **_gpu_memory(device),
        "host": platform.node(),
    }


def device_class(device: torch.device) -> str:
    """The name of the GPU, or `cpu x86_64`: equal bits are promised within one class."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu {platform.machine()}"


def _gpu_memory(device: torch.device) -> dict[str, int]:
    """Bytes that the GPU has in all; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    return {"gpu_memory": int(torch.cuda.get_device_properties(device).total_memory)}


@lru_cache(maxsize=1)
def _versions() -> Mapping[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("spolia", "torchvision", "numpy", "pillow"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@lru_cache(maxsize=1)
def _checkout() -> Mapping[str, Any]:
    """Asked once a process: starting Git takes longer than a short trial."""
    ours = Path(__file__).resolve().parent
    commit = git(ours, "rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"commit": commit, "changed": bool(git(ours, "status", "--porcelain", "-uno"))}
