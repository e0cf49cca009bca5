"""What a method with one mask per task logs, keeps and tabulates: accuracy, storage, and which
weights each task keeps.

Mallya, Davis, Lazebnik: Piggyback, ECCV 2018, arXiv:1801.06519, tables 2 (storage) and 6
(sparsity).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from methods.pieces.accuracies import ACCURACIES, log_accuracies
from methods.pieces.task_orders import (
    ACCURACY_AFTER_EACH_TASK,
    ACCURACY_AT_PLACE,
    base_network,
    measure_accuracy_after_each_task,
)
from methods.piggyback.packed_masks import PackedMasks
from orchestrator import MatrixSpec, Metric, Network, PartWithBase, Run, Task

METRICS = (
    *ACCURACIES,
    Metric(
        "zeroed",
        by=("task",),
        headline=True,
        help="Share of the base's weights that a task's mask sets to zero.",
    ),
    Metric(
        "mask_bytes",
        by=("task",),
        higher_is_better=False,
        help="Bytes of a task's mask, packed to a bit a weight.",
    ),
    Metric(
        "task_bytes",
        by=("task",),
        higher_is_better=False,
        help="Bytes of all that a task adds: mask, classifier, batch norm.",
    ),
    Metric(
        "bytes_share",
        by=("task",),
        higher_is_better=False,
        help="Bytes that a task adds, as a share of the backbone's.",
    ),
    Metric(
        "late_bias",
        by=("task",),
        help="Share that is zeroed in later layers, less that in the first.",
    ),
    Metric(
        "storage_share",
        higher_is_better=False,
        help="Bytes of base and masks, as a share of a network for each task.",
    ),
    ACCURACY_AT_PLACE,
)
MATRICES = (
    ACCURACY_AFTER_EACH_TASK,
    MatrixSpec(
        "kept", "layer", "task", help="Share of a layer's weights that a task's mask keeps."
    ),
    MatrixSpec(
        "overlap",
        "task",
        "task",
        help="Weights that two masks keep, as a share of those that either keeps.",
    ),
)


def log_and_keep(run: Run, task: Task, packed: PackedMasks, base: Network) -> None:
    """Log one task's scores and keep its mask. The packed mask is what is scored, as it will be
    loaded.
    """
    packed.to(run.device)
    net, by = PartWithBase(packed, base), {"task": task.name}
    zeroed = [float((packed.mask(layer) == 0).float().mean()) for layer in packed.masked]
    first, *later = zeroed  # by layer, in the order of the network
    log_accuracies(run, net, task)
    run.log(
        zeroed=packed.zeroed,
        mask_bytes=packed.payload,
        task_bytes=task_bytes(packed),
        bytes_share=task_bytes(packed) / backbone_bytes(base),
        # How much more is masked out in later layers than in the first.
        late_bias=float(np.mean(later or first)) - first,
        by=by,
    )
    network = run.need("base").component("network", task=run.tasks[0].name)
    run.keep("mask", packed, by=by, requires=network)


def adopted_masks(run: Run) -> dict[str, PackedMasks]:
    """For a trial of several targets: pass on what each target's own trial left, and return the
    masks by the target's name.
    """
    _source, *targets = run.tasks
    names = [target.name for target in targets]
    run.adopt(*names)
    return {name: cast(PackedMasks, run.need(name).module("mask", task=name)) for name in names}


def backbone_bytes(base: Network) -> int:
    """Bytes of a network's tensors without its classifier, as the paper counts."""
    classifier = base.stage_names[-1] + "."
    state = base.state_dict()
    return num_bytes(value for name, value in state.items() if not name.startswith(classifier))


def task_bytes(packed: PackedMasks) -> int:
    """Bytes of everything that a task adds: masks, classifier, batch norms."""
    return num_bytes(packed.state_dict().values())


def num_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def log_storage(run: Run, packed: Mapping[str, PackedMasks]) -> None:
    """Log the bytes of the base and all tasks as a share of those of separate networks, one for the
    base's task and one for each of the others.
    """
    base = base_network(run)
    backbone, base_head = backbone_bytes(base), num_bytes(base.last_layer.parameters())
    heads = sum(num_bytes(masks.head.parameters()) for masks in packed.values())
    stored = backbone + base_head + sum(task_bytes(masks) for masks in packed.values())
    # Without masks every task would have a backbone of its own.
    separate = (1 + len(packed)) * backbone + base_head + heads
    run.log(storage_share=stored / separate)


def measure_tables(run: Run, packed: Mapping[str, PackedMasks]) -> None:
    """Measure three matrices: after each task the accuracy on every task so far, the base's
    included; the share of weights kept, by layer and task; and the overlap of any two tasks' masks,
    the weights that both keep as a share of those that either keeps."""
    names = list(packed)
    measure_accuracy_after_each_task(run, names)
    layers = packed[names[0]].masked
    shares = np.zeros((len(layers), len(names)))
    kept: dict[str, Tensor] = {}  # by task, [masked weights]
    for column, (name, masks) in enumerate(packed.items()):
        # Ternary: -1 keeps a weight, too
        by_layer = [(masks.mask(layer) != 0).flatten() for layer in layers]
        shares[:, column] = [float(layer.float().mean()) for layer in by_layer]
        kept[name] = torch.cat(by_layer)
    rows = [layer.removesuffix(".weight") for layer in layers]
    run.matrix("kept", rows=rows, columns=names, values=shares)
    # [tasks, tasks], 1 on the diagonal
    overlap = np.array([[jaccard(kept[a], kept[b]) for b in names] for a in names])
    run.matrix("overlap", rows=names, columns=names, values=overlap)


def jaccard(a: Tensor, b: Tensor) -> float:
    """Of two sets given as booleans: the size of their intersection over that of their union."""
    return float((a & b).sum() / (a | b).sum().clamp_min(1))
