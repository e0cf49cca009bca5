"""What a NetTailor trial logs of its graph: accuracy, ledger, latency, and the graph itself as
data.
"""

from __future__ import annotations

import numpy as np
import torch

from methods.nettailor.cost import complexities, edge_costs, latency_share, ledger
from methods.nettailor.export import plain
from methods.nettailor.graph import TailoredGraph
from methods.nettailor.pruning import stages_lost
from methods.pieces.attached import Attached
from orchestrator import Metric, Run, Task

METRICS = (
    Metric("accuracy", headline=True),
    Metric("val_accuracy", optional=True),
    Metric("accuracy_before_retraining", optional=True),
    Metric("parameters", higher_is_better=False),
    Metric("parameters_share", higher_is_better=False),
    Metric("task_share", higher_is_better=False),
    Metric("flops", higher_is_better=False),
    Metric("flops_share", higher_is_better=False, headline=True),
    Metric("flops_paper", higher_is_better=False),
    Metric("attended_complexity", higher_is_better=False),
    Metric("blocks", higher_is_better=False, headline=True),
    Metric("late_bias"),
    Metric("restored", higher_is_better=False, optional=True),
    Metric("latency_share", higher_is_better=False, timing=True),
)
LATENCY_BATCH = 32  # images a pass when latency is measured


def report(run: Run, graph: TailoredGraph, net: Attached, target: Task) -> None:
    """Log everything of the finished graph. Shares are of the whole universal network with the
    target's classifier: the fine-tuned network.
    """
    true, paper = ledger(graph, "true"), ledger(graph, "paper")
    lost = list(stages_lost(graph.kept_blocks, graph.backbone.stages()).values())
    attended = float(
        (
            graph.attention().detach()
            * complexities(graph, "flops", "true").to(graph.scores.device)
        ).sum()
    )
    run.log(
        accuracy=run.accuracy(net, target.test),
        parameters=true.parameters,
        parameters_share=true.parameters / true.whole.parameters,
        task_share=true.task / true.whole.parameters,
        flops=true.flops,
        flops_share=true.flops / true.whole.flops,
        flops_paper=paper.flops,
        attended_complexity=attended,
        blocks=len(graph.kept_blocks),
        late_bias=lost[-1] - lost[0],
    )
    if target.held_out:
        run.log(val_accuracy=run.accuracy(net, target.validation_part))
    _matrices(run, graph)
    _latency(run, graph, net, target)


def _latency(run: Run, graph: TailoredGraph, net: Attached, target: Task) -> None:
    """How long the exported network takes on the trial's device, as a share of the whole universal
    network's time.
    """
    images = torch.randn(LATENCY_BATCH, *run.image(target), device=run.device).contiguous(
        memory_format=torch.channels_last
    )
    exported = plain(graph, net.base).to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run.log(latency_share=latency_share(exported, net.base.eval(), images))


def _matrices(run: Run, graph: TailoredGraph) -> None:
    names, costs = [e.name for e in graph.edges], edge_costs(graph)
    columns = {
        "attention": graph.attention().tolist(),
        "flops": [costs[e].flops for e in graph.edges],
        "parameters": [costs[e].parameters for e in graph.edges],
    }
    run.matrix(
        "graph", rows=names, columns=list(columns), values=np.array(list(columns.values())).T
    )
    points = {
        (p.name.rpartition("/")[2], p.step): p.value
        for fitted in run.fits.values()
        for p in fitted.curves
        if "attention/" in p.name
    }
    epochs = sorted({step for _, step in points})
    run.matrix(
        "attention",
        rows=names,
        columns=[str(e) for e in epochs],
        values=np.array([[points[n, e] for e in epochs] for n in names]),
    )
