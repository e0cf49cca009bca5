"""What share of a GPU the trials of a plan want, by the memory that trials like them took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.planning.plan import Plan
from orchestrator.spec.canonical import show

CONTEXT = 700 * 2**20  # bytes of a GPU that CUDA and its libraries take in a process, beside torch
SPARE = 1.15  # of the highest that was seen: allocations of the next trial leave other gaps
MOST = 16  # trials that are proposed for one GPU at once: each is a process that wants a CPU, too


@dataclass(frozen=True)
class Workload:
    """What decides how much memory a trial takes: its `method`, the `batch` of it, its `network`,
    the `images` of its first task, and its `numerics`; each in words, empty where there is no such.
    """

    method: str
    batch: str
    network: str
    images: str
    numerics: str


@dataclass(frozen=True)
class Wanted:
    """What trials of one workload took: `num_measured` results from a GPU, the highest memory of
    them, and of the smallest GPU that any workload was measured on (bytes); and how many are to
    run.
    """

    workload: Workload
    num_measured: int
    peak: int
    gpu_memory: int
    num_todo: int

    @property
    def share(self) -> float | None:
        """The share of one such GPU; None where nothing was measured."""
        return share_for(self.peak, self.gpu_memory) if self.num_measured else None


def share_for(peak: int, gpu_memory: int) -> float:
    """The share of a GPU that leaves each of the trials on it `peak` bytes and something to spare;
    1.0 where two do not fit.
    """
    at_once = int(gpu_memory // (SPARE * peak + CONTEXT))
    at_once = max(1, min(MOST, at_once))
    # Rounded down: three thirds have to fit into one.
    return int(1000 / at_once) / 1000


def wanted(plan: Plan, records: Iterable[Mapping[str, Any]]) -> list[Wanted]:
    """What the trials of a plan that use GPUs want, by workload, as results show it that come from
    a GPU: of this sweep or of any other.
    """
    todo = {trial.key for trial in plan.todo}
    num_todo: dict[Workload, int] = {}
    for key, trial in plan.trials.items():
        if trial.method.resources(trial).gpus:
            of = workload_of(trial.to_json())
            num_todo[of] = num_todo.get(of, 0) + (key in todo)
    peaks: dict[Workload, list[int]] = {}
    gpus: set[int] = set()  # how much memory they have
    for record in records:
        peak = record.get("memory", {}).get("gpu_reserved", 0)
        if not peak:
            continue
        of = workload_of(record["trial"])
        if of in num_todo:
            peaks.setdefault(of, []).append(peak)
            gpus.add(record["provenance"]["gpu_memory"])
    smallest = min(gpus, default=0)
    return [
        Wanted(of, len(peaks.get(of, [])), max(peaks.get(of, [0])), smallest, number)
        for of, number in num_todo.items()
    ]


def workload_of(trial: Mapping[str, Any]) -> Workload:
    """The workload of a trial, as `Trial.to_json` gives it and records hold it."""
    settings, network, tasks = trial["method"]["settings"], trial["network"], trial["tasks"]
    return Workload(
        method=trial["method"]["method"],
        batch=str(settings.get("batch", "")),
        network="" if network is None else _network_in_words(network),
        # In whatever order: what is largest decides, and a peak is a trial's, not a task's.
        images=" + ".join(sorted({_images_in_words(task) for task in tasks})),
        numerics=trial["numerics"],
    )


def _network_in_words(network: Mapping[str, Any]) -> str:
    """`resnet8(width=4)`: the name, and the settings that are not at their defaults."""
    defaults = network["defaults"]
    changed = [
        f"{name}={show(value)}"
        for name, value in network["settings"].items()
        if name not in defaults or value != defaults[name]
    ]
    return f"{network['name']}({', '.join(changed)})" if changed else str(network["name"])


def _images_in_words(task: Mapping[str, Any]) -> str:
    """The data set, which decides how large its images are, or the size that they are brought
    to.
    """
    return str(task["data"]) if task["size"] is None else f"{task['size']} pixels"


def proposals(found: Iterable[Wanted]) -> dict[str, float]:
    """The share of each method that has been measured: the largest that a workload of it wants."""
    shares: dict[str, float] = {}
    for one in found:
        if one.share is not None:
            name = one.workload.method
            shares[name] = max(one.share, shares.get(name, 0.0))
    return shares
