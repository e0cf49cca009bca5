"""Rows of a classifier, matched by the names of their classes."""

from __future__ import annotations

import torch

from orchestrator import Network, Task


@torch.no_grad()
def copy_class_rows(source: Network, source_task: Task, net: Network, task: Task) -> None:
    """Copy the rows (weights and bias) of the classes that both tasks have from the last layer of
    `source` to that of `net`. Rows of other classes stay as they are.
    """
    # By name: the same class is another row in a task with other classes. Weights are [classes, C].
    for row, name in enumerate(task.class_names):
        if name in source_task.class_names:
            source_row = source_task.class_names.index(name)
            net.last_layer.weight[row] = source.last_layer.weight[source_row]
            net.last_layer.bias[row] = source.last_layer.bias[source_row]
