"""What a NetTailor trial logs about its graph: accuracy, ledger, latency, and the graph itself as
data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from methods.nettailor.cost import complexities, edge_costs, latency_share, ledger
from methods.nettailor.edges import stages_lost
from methods.nettailor.export import plain
from orchestrator import Metric, PartWithBase, Run, Task

if TYPE_CHECKING:  # signatures name the graph, whose training ends with this report
    from methods.nettailor.nettailor import TailoredGraph

METRICS = (
    Metric("accuracy", headline=True, help="Accuracy of the tailored network on test images."),
    Metric(
        "val_accuracy",
        optional=True,
        help="Accuracy on validation images, for choosing among settings.",
    ),
    Metric(
        "accuracy_before_retraining",
        optional=True,
        help="Accuracy on test images after pruning, before retraining.",
    ),
    Metric(
        "parameters",
        higher_is_better=False,
        help="Parameters in use: blocks that are left, proxies, classifier, statistics.",
    ),
    Metric(
        "parameters_share",
        higher_is_better=False,
        help="Parameters in use, as a share of the whole universal network's.",
    ),
    Metric(
        "task_share",
        higher_is_better=False,
        help="Parameters that only this task uses, as a share of the universal network's.",
    ),
    Metric("flops", higher_is_better=False, help="Multiply-accumulates for one image."),
    Metric(
        "flops_share",
        higher_is_better=False,
        headline=True,
        help="Multiply-accumulates, as a share of the whole universal network's.",
    ),
    Metric(
        "flops_paper",
        higher_is_better=False,
        help="Multiply-accumulates as the paper counts them: stem after pooling, no classifier.",
    ),
    Metric(
        "attended_complexity",
        higher_is_better=False,
        help="Attention times complexity, summed over edges: the size that it asks for.",
    ),
    Metric(
        "blocks",
        higher_is_better=False,
        headline=True,
        help="Blocks of the universal network that are left.",
    ),
    Metric(
        "late_bias", help="Share of blocks removed from the last stage, less that of the first."
    ),
    Metric(
        "restored",
        higher_is_better=False,
        optional=True,
        help="Weak proxies that the guard kept, because a path needs them.",
    ),
    Metric(
        "latency_share",
        higher_is_better=False,
        timing=True,
        help="Time for images, as a share of the whole universal network's.",
    ),
)
LATENCY_BATCH = 32  # images per pass when latency is measured


def report(run: Run, graph: TailoredGraph, net: PartWithBase, target: Task) -> None:
    """Log everything about the finished graph. Shares are relative to the whole universal network
    with the target's classifier, which is the fine-tuned network.
    """
    true, paper = ledger(graph, "true"), ledger(graph, "paper")
    run.log(
        accuracy=run.accuracy(net, target.test),
        parameters=true.parameters,
        parameters_share=true.parameters / true.untailored.parameters,
        task_share=true.task / true.untailored.parameters,
        flops=true.flops,
        flops_share=true.flops / true.untailored.flops,
        flops_paper=paper.flops,
        attended_complexity=attended_complexity(graph),
        blocks=len(graph.kept_blocks),
        late_bias=late_bias(graph),
    )
    if target.held_out:
        run.log(val_accuracy=run.accuracy(net, target.validation_part))
    graph_as_data(run, graph)
    attention_over_time(run, graph)
    run.log(latency_share=latency(run, graph, net, target))


def attended_complexity(graph: TailoredGraph) -> float:
    """The sum over edges of attention times complexity: the size that attention asks for."""
    complexity = complexities(graph, "flops", "true").to(graph.scores.device)
    return float((graph.attention().detach() * complexity).sum())


def late_bias(graph: TailoredGraph) -> float:
    """Share of blocks removed from the last stage, minus that of the first stage."""
    # By stage, first to last
    lost = list(stages_lost(graph.kept_blocks, graph.backbone.stages()).values())
    return lost[-1] - lost[0]


def latency(run: Run, graph: TailoredGraph, net: PartWithBase, target: Task) -> float:
    """How long the exported network takes on the trial's device, as a share of the whole universal
    network's time.
    """
    # Time does not depend on what is in the images. [B, C, H, W]
    images = torch.randn(LATENCY_BATCH, *run.image(target), device=run.device)
    images = images.contiguous(memory_format=torch.channels_last)
    exported = plain(graph, net.base).to(run.device)
    exported.to(memory_format=torch.channels_last)
    return latency_share(exported, net.base.eval(), images)


def graph_as_data(run: Run, graph: TailoredGraph) -> None:
    """The matrix `graph`: attention and costs of each edge that is left."""
    costs = edge_costs(graph)
    columns = {
        "attention": graph.attention().tolist(),
        "flops": [costs[edge].flops for edge in graph.edges],
        "parameters": [costs[edge].parameters for edge in graph.edges],
    }
    names = [edge.name for edge in graph.edges]
    values = np.array(list(columns.values())).T  # [edges, properties]
    run.matrix("graph", rows=names, columns=list(columns), values=values)


def attention_over_time(run: Run, graph: TailoredGraph) -> None:
    """The matrix `attention`: of each edge after each epoch, from the curves of the fit."""
    alpha: dict[tuple[str, int], float] = {}
    for fitted in run.fits.values():
        for point in fitted.curves:
            # `train/attention/block3`: stage, what is watched, edge.
            stage_and_label, _, edge = point.name.rpartition("/")
            if stage_and_label.endswith("attention"):
                alpha[edge, point.step] = point.value
    names = [edge.name for edge in graph.edges]
    epochs = sorted({epoch for _, epoch in alpha})
    # [edges, epochs]
    values = np.array([[alpha[name, epoch] for epoch in epochs] for name in names])
    run.matrix("attention", rows=names, columns=[str(e) for e in epochs], values=values)
