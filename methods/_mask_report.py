"""What a method with one mask a task logs, keeps and tabulates: accuracy, bytes, and which weights each task keeps.

Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519, section 4 of its specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import nn

from methods._masking import PackedMasks
from methods._sequence import ACCURACY, accuracy_table
from methods._task_network import TaskNetwork
from orchestrator.method import MatrixSpec, Metric
from orchestrator.network import Network
from orchestrator.run import Run
from orchestrator.task import Task

METRICS = (
    Metric("accuracy", by=("task",), headline=True),
    Metric("val_accuracy", by=("task",), optional=True),
    Metric("zeroed", by=("task",), headline=True),
    Metric("mask_bytes", by=("task",), higher_is_better=False),
    Metric("task_bytes", by=("task",), higher_is_better=False),
    Metric("bytes_share", by=("task",), higher_is_better=False),
)
MATRICES = (
    ACCURACY,
    MatrixSpec("kept", "layer", "task"),
    MatrixSpec("overlap", "task", "task"),
)


class OnBase(nn.Module):
    """A task's part together with the base."""

    def __init__(self, part: TaskNetwork, base: Network) -> None:
        super().__init__()
        self.part, self.base = part, base

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.part(x, self.base)  # type: ignore[no-any-return]


def keep_packed(run: Run, task: Task, packed: PackedMasks, base: Network) -> PackedMasks:
    """Log and keep one task: what is scored is the packed mask, as it will be loaded."""
    packed = packed.to(run.device)
    net, by = OnBase(packed, base), {"task": task.name}
    backbone = 4 * sum(p.numel() for n, p in base.named_parameters() if not n.startswith(packed.classifier + "."))
    own = packed.payload + 4 * sum(t.numel() for t in (*packed.parameters(), *(packed.norm.buffers() if packed.norm is not None else ())))
    run.log(accuracy=run.accuracy(net, task.test), zeroed=packed.zeroed, mask_bytes=packed.payload, task_bytes=own,
            bytes_share=own / backbone, by=by)  # fmt: skip
    if task.held_out:
        run.log(val_accuracy=run.accuracy(net, task.validation_part), by=by)
    run.keep("mask", packed, by=by, requires=run.need("base").component("network", task=run.tasks[0].name))
    return packed


def each_target(run: Run, learn: Callable[[Run, Task, Network], PackedMasks]) -> None:
    """With one target learn it on the base; with several pass on what the trial of each of them left. Either way, tabulate."""
    source, *targets = run.tasks
    if len(targets) > 1:
        run.adopt(*(target.name for target in targets))
        tables(run, {t.name: cast(PackedMasks, run.need(t.name).module("mask", task=t.name)) for t in targets})
    else:
        base = cast(Network, run.need("base").module("network", task=source.name)).to(run.device)
        tables(run, {targets[0].name: learn(run, targets[0], base)})


def tables(run: Run, packed: Mapping[str, PackedMasks]) -> None:
    """After each task the accuracy on every task so far, the base's included; weights kept by layer and task; and their overlap between tasks (kept
    by both as a share of kept by either)."""
    names = list(packed)
    accuracy_table(run, names)
    layers = next(iter(packed.values())).masked
    kept = {name: [(one.mask(layer) != 0).flatten() for layer in layers] for name, one in packed.items()}
    shares = [[float(kept[name][i].float().mean()) for name in names] for i in range(len(layers))]
    run.matrix("kept", rows=[layer.removesuffix(".weight") for layer in layers], columns=names, values=np.array(shares))
    whole = {name: torch.cat(masks) for name, masks in kept.items()}
    overlap = [[float((whole[a] & whole[b]).sum() / (whole[a] | whole[b]).sum().clamp_min(1)) for b in names] for a in names]
    run.matrix("overlap", rows=names, columns=names, values=np.array(overlap))
