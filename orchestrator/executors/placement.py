"""Where a trial runs: what is set aside for it, and on which device it computes. Decided once, in
the driver; sent with the trial, and obeyed by its worker.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.errors import ExecutorError
from orchestrator.executors.site import Site
from orchestrator.spec.trial import Trial

HIDING = {"CUDA_VISIBLE_DEVICES": ""}  # what a process is told that is to see no GPU


@dataclass(frozen=True)
class Placement:
    """CPUs and GPUs that are set aside for a trial. Workers are of one placement all their lives,
    so few different ones keep them warm.
    """

    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        """Nothing reserved, nothing used: a trial without a share of a GPU computes on the CPU,
        whatever its worker sees.
        """
        return "cuda" if self.gpus else "cpu"

    @property
    def words(self) -> str:
        """`2 CPUs and 0.5 GPUs`"""
        return in_words(self.cpus, self.gpus)


@dataclass(frozen=True)
class Node:
    """A machine that is there, or a kind of machine that a cluster starts when it is asked, of
    which none need be `up` yet.
    """

    name: str
    cpus: float
    gpus: float
    up: int = 1

    @property
    def words(self) -> str:
        """`node-7 (8 CPUs and 1 GPU)`"""
        return f"{self.name} ({in_words(self.cpus, self.gpus)})"

    def room_for(self, placement: Placement) -> int:
        """How many trials of a placement run on it at once."""
        # A little more than there is: ten tenths of a GPU are one.
        shares = [(self.cpus, placement.cpus), (self.gpus, placement.gpus)]
        return min(int(has / wanted + 1e-6) for has, wanted in shares if wanted)


@dataclass(frozen=True)
class Nodes:
    """The machines that trials can be placed on, as far as they are `known`. Where it `may_grow`,
    the cluster can start others, of which nobody says what they have.
    """

    known: Sequence[Node]
    may_grow: bool = False


def place(trial: Trial, site: Site, nodes: Nodes) -> Placement:
    """What to set aside for a trial, and so its device. A method's own hint is limited to what the
    largest node has; what the site says is meant. Raises ExecutorError where no node has as much.
    """
    wanted = site.resources(trial)
    holders = [node for node in nodes.known if node.cpus]  # each trial sets a CPU aside
    has_gpu = any(node.gpus for node in holders)
    gpus = float(wanted.gpus) if has_gpu or site.device == "gpu" else 0.0
    if nodes.may_grow:
        return Placement(float(wanted.cpus), gpus)
    if not holders:
        raise ExecutorError(
            "no machine has a CPU, and none that the cluster starts: each trial sets one aside"
        )
    if gpus and not has_gpu:
        raise ExecutorError(
            'the site says device = "gpu" and no machine has one: '
            'name a cluster (address), or say device = "auto"'
        )
    if gpus:
        gpus = _held(trial, site, "gpus", gpus, holders)
        # A trial needs one node: what several have together says nothing.
        holders = [node for node in holders if node.gpus >= gpus]
    return Placement(_held(trial, site, "cpus", wanted.cpus, holders), gpus)


def _held(trial: Trial, site: Site, kind: str, wanted: float, nodes: Sequence[Node]) -> float:
    """As many CPUs or GPUs (`kind`) as one of these nodes has."""
    largest = max(nodes, key=lambda node: float(getattr(node, kind)))
    most = float(getattr(largest, kind))
    if wanted <= most:
        return float(wanted)
    said_for = site.said_for(kind, trial)
    if not said_for:
        return most
    name = trial.method.name
    of_whom = "" if said_for == name else f", for {name}"
    raise ExecutorError(
        f"[{kind}] {said_for} = {wanted:g}{of_whom}: no node that could run it has as many; "
        f"the largest is {largest.words}"
    )


def with_more_memory(placement: Placement, nodes: Nodes) -> Placement | None:
    """The placement with twice the share of a GPU, a whole one at most; None where that is no more
    than it has, or than any node is known to have.
    """
    most = max((node.gpus for node in nodes.known), default=0.0)
    most = 1.0 if nodes.may_grow else min(1.0, most)
    larger = replace(placement, gpus=min(most, 2 * placement.gpus))
    return larger if larger.gpus > placement.gpus else None


def place_all(trials: Iterable[Trial], site: Site, nodes: Nodes) -> dict[str, Placement]:
    """Where each trial runs, by key. Raises ExecutorError that lists what no node can hold."""
    placements, problems = {}, []
    for trial in trials:
        try:
            placements[trial.key] = place(trial, site, nodes)
        except ExecutorError as error:
            problems.append(str(error))
    if problems:
        raise ExecutorError("\n".join(dict.fromkeys(problems)))
    return placements


def cpus_for_slots(placements: Iterable[Placement], slots: int) -> float:
    """CPUs that a private Ray counts, so that `slots` trials run at once whatever each sets aside.
    That may be more than there are: how many run at once is what was asked for.
    """
    return slots * max(placement.cpus for placement in placements)


def at_once(placements: Collection[Placement], nodes: Nodes, slots: int) -> float:
    """How many trials run at once, `slots` at most, on the machines that are up; on average, where
    not all are of one placement.
    """
    turns = 0.0  # that trials take if each of them fills the machines with its like
    for placement, count in Counter(placements).items():
        room = sum(node.room_for(placement) for node in nodes.known if node.up)
        # Where nothing has room yet, machines are started until all slots have it.
        turns += count / min(slots, room or slots)
    return len(placements) / turns


def this_machine() -> Node:
    """What this process has; it is told which GPUs it may see by CUDA_VISIBLE_DEVICES."""
    import torch

    return Node(platform.node(), float(os.cpu_count() or 1), float(torch.cuda.device_count()))


def in_words(cpus: float, gpus: float) -> str:
    """`1 CPU and 0.5 GPUs`"""
    parts = [f"{cpus:g} CPU{'' if cpus == 1 else 's'}"]
    if gpus:
        parts.append(f"{gpus:g} GPU{'' if gpus == 1 else 's'}")
    return " and ".join(parts)
