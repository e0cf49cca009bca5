"""What a method with one mask a task logs, keeps and tabulates: accuracy, bytes, and which weights
each task keeps.

Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519, section 4 of its specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch

from methods.pieces.attached import Attached
from methods.pieces.task_orders import ACCURACY, PLACED, accuracy_table
from methods.piggyback.masking import PackedMasks
from orchestrator import MatrixSpec, Metric, Network, Run, Task

METRICS = (
    Metric("accuracy", by=("task",), headline=True),
    Metric("val_accuracy", by=("task",), optional=True),
    Metric("zeroed", by=("task",), headline=True),
    Metric("mask_bytes", by=("task",), higher_is_better=False),
    Metric("task_bytes", by=("task",), higher_is_better=False),
    Metric("bytes_share", by=("task",), higher_is_better=False),
    Metric("late_bias", by=("task",)),
    Metric("storage_share", higher_is_better=False),
    PLACED,
)
MATRICES = (
    ACCURACY,
    MatrixSpec("kept", "layer", "task"),
    MatrixSpec("overlap", "task", "task"),
)


def backbone_bytes(base: Network) -> int:
    """Bytes of a network's tensors without its classifier, as the paper counts."""
    return sum(
        t.numel() * t.element_size()
        for n, t in base.state_dict().items()
        if not n.startswith(base.stage_names[-1] + ".")
    )


def own_bytes(packed: PackedMasks) -> int:
    """Bytes of all that is a task's own: masks, classifier, batch norms."""
    return sum(t.numel() * t.element_size() for t in packed.state_dict().values())


def keep_packed(run: Run, task: Task, packed: PackedMasks, base: Network) -> PackedMasks:
    """Log and keep one task: what is scored is the packed mask, as it will be loaded."""
    packed = packed.to(run.device)
    net, by = Attached(packed, base), {"task": task.name}
    first, *later = [float((packed.mask(layer) == 0).float().mean()) for layer in packed.masked]
    run.log(
        accuracy=run.accuracy(net, task.test),
        zeroed=packed.zeroed,
        mask_bytes=packed.payload,
        task_bytes=own_bytes(packed),
        bytes_share=own_bytes(packed) / backbone_bytes(base),
        late_bias=float(np.mean(later or first)) - first,
        by=by,
    )
    if task.held_out:
        run.log(val_accuracy=run.accuracy(net, task.validation_part), by=by)
    run.keep(
        "mask",
        packed,
        by=by,
        requires=run.need("base").component("network", task=run.tasks[0].name),
    )
    return packed


def each_target(run: Run, learn: Callable[[Run, Task, Network], PackedMasks]) -> None:
    """With one target learn it on the base; with several pass on what the trial of each of them
    left. Either way, tabulate.
    """
    source, *targets = run.tasks
    if len(targets) > 1:
        run.adopt(*(target.name for target in targets))
        tables(
            run,
            {
                t.name: cast(PackedMasks, run.need(t.name).module("mask", task=t.name))
                for t in targets
            },
        )
    else:
        base = cast(Network, run.need("base").module("network", task=source.name)).to(run.device)
        tables(run, {targets[0].name: learn(run, targets[0], base)})


def tables(run: Run, packed: Mapping[str, PackedMasks]) -> None:
    """After each task the accuracy on every task so far, the base's included; weights kept by layer
    and task; and their overlap between tasks (kept by both as a share of kept by either); and the
    bytes of base and all tasks as a share of those of separate networks."""
    names = list(packed)
    accuracy_table(run, names)
    base = cast(Network, run.need("base").module("network", task=run.tasks[0].name))
    heads = {
        name: sum(4 * p.numel() for p in one.head.parameters()) for name, one in packed.items()
    }
    base_head = sum(4 * p.numel() for p in base.last_layer.parameters())
    separate = (len(names) + 1) * backbone_bytes(base) + sum(heads.values()) + base_head
    run.log(
        storage_share=(
            backbone_bytes(base) + base_head + sum(own_bytes(one) for one in packed.values())
        )
        / separate
    )
    layers = next(iter(packed.values())).masked
    kept = {
        name: [(one.mask(layer) != 0).flatten() for layer in layers] for name, one in packed.items()
    }
    shares = [[float(kept[name][i].float().mean()) for name in names] for i in range(len(layers))]
    run.matrix(
        "kept",
        rows=[layer.removesuffix(".weight") for layer in layers],
        columns=names,
        values=np.array(shares),
    )
    whole = {name: torch.cat(masks) for name, masks in kept.items()}
    overlap = [
        [
            float((whole[a] & whole[b]).sum() / (whole[a] | whole[b]).sum().clamp_min(1))
            for b in names
        ]
        for a in names
    ]
    run.matrix("overlap", rows=names, columns=names, values=np.array(overlap))
