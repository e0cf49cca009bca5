"""What several tasks' tailored networks share: blocks that each keeps, and what it takes to store
them all.

Morgado, Vasconcelos: NetTailor, CVPR 2019, arXiv:1907.00274, sections 1 and 4 (storage: the
universal network once, and what each task adds).

Departs from the paper: it counts the whole universal network; here only the blocks that at least
one task uses. The matrices are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np

from methods.nettailor.cost import ledger
from methods.nettailor.graph import TailoredGraph
from methods.nettailor.leanest import Leanest
from methods.nettailor.pruning import stages_lost
from methods.pieces.residual import Backbone
from orchestrator import MatrixSpec, Method, Metric, Run, Trial, axis, roles


class TailoredTasks(Method):
    """Hold the chosen tailored networks of all targets beside each other. A target whose answer is
    its fine-tuned network shares nothing and has no scores in the matrices."""

    name = "tailored_tasks"
    tasks = roles("source", "targets", at_least=2)
    accepts_diverged = True
    metrics = (
        Metric("accuracy", by=("task",), headline=True, optional=True),
        Metric("flops_share", by=("task",), higher_is_better=False, headline=True, optional=True),
        Metric("storage_parameters", higher_is_better=False),
        Metric("storage_share", higher_is_better=False, headline=True),
    )
    matrices = (
        MatrixSpec("kept", "task", "block", headline=True),
        MatrixSpec("shared", "task", "task"),
        MatrixSpec("lost_by_stage", "task", "stage"),
    )

    of: Leanest = axis(Leanest(), smoke=Leanest.smoke(), help="how each task's network is chosen")

    def check(self, trial: Trial) -> Iterable[str]:
        pairs = [
            trial.replace(method=self.of, tasks=(trial.tasks[0], target))
            for target in trial.tasks[1:]
        ]
        yield from dict.fromkeys(problem for pair in pairs for problem in self.of.check(pair))

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        source, *targets = trial.tasks
        return {
            target.name: trial.replace(method=self.of, tasks=(source, target)) for target in targets
        }

    def train(self, run: Run) -> None:
        names = [task.name for task in run.tasks[1:]]
        chosen = {name: run.need(name).components("student") for name in names}
        graphs = {
            name: cast(TailoredGraph, found[0].module()) for name, found in chosen.items() if found
        }
        if not graphs:
            run.infeasible("no task's answer is a tailored network")
        backbone = next(iter(graphs.values())).backbone
        kept = {name: graph.kept_blocks for name, graph in graphs.items()}
        for name in names:
            if run.need(name).outcome == "done":
                run.log(
                    accuracy=run.need(name).metric("accuracy"),
                    flops_share=run.need(name).metric("flops_share"),
                    by={"task": name},
                )
        stored, separate = storage(
            backbone,
            graphs,
            others=[task.num_classes for task in run.tasks[1:] if task.name not in graphs],
        )
        run.log(storage_parameters=stored, storage_share=stored / separate)
        stages = list(dict.fromkeys(backbone.stages()))
        nothing = [np.nan] * backbone.num_blocks
        rows = [
            [float(b in kept[name]) for b in range(1, backbone.num_blocks + 1)]
            if name in kept
            else nothing
            for name in names
        ]
        run.matrix("kept", rows=names, columns=backbone.labels, values=np.array(rows))
        lost = [
            [
                stages_lost(kept[n], backbone.stages())[stage] if n in kept else np.nan
                for stage in stages
            ]
            for n in names
        ]
        run.matrix("lost_by_stage", rows=names, columns=stages, values=np.array(lost))
        run.matrix(
            "shared", rows=names, columns=names, values=shared(names, kept, backbone.num_blocks)
        )


def shared(names: list[str], kept: Mapping[str, set[int]], num_blocks: int) -> np.ndarray:
    """[tasks, tasks]: share of all blocks that both tasks keep; on the diagonal what a task keeps
    itself. NaN for a task without a tailored one.
    """
    rows = [
        [len(kept[a] & kept[b]) / num_blocks if a in kept and b in kept else np.nan for b in names]
        for a in names
    ]
    return np.array(rows)


def storage(
    backbone: Backbone, graphs: Mapping[str, TailoredGraph], others: Sequence[int]
) -> tuple[int, int]:
    """Parameters to store for all tasks together, and for as many fine-tuned networks. `others` are
    the numbers of classes of tasks that store a fine-tuned network in any case."""
    ledgers = [ledger(graph) for graph in graphs.values()]
    used = {block for graph in graphs.values() for block in graph.kept_blocks}
    universal = backbone.stem_cost.parameters + sum(
        backbone.block_costs[b - 1].parameters for b in used
    )
    body = sum(backbone.block_costs, backbone.stem_cost).parameters
    apart = sum(body + (backbone.features + 1) * classes for classes in others)
    return universal + sum(entry.task for entry in ledgers) + apart, sum(
        entry.whole.parameters for entry in ledgers
    ) + apart
