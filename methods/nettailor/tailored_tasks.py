"""What the tailored networks of several tasks share: the blocks that each keeps, and the storage
for all of them.

Morgado, Vasconcelos: NetTailor, CVPR 2019, arXiv:1907.00274, sections 1 and 4 (storage: the
universal network once, and what each task adds).

What it costs: no training of its own, but one `leanest` with all that it needs for each target.

Departs from the paper: it counts the whole universal network; here only the blocks that at least
one task uses. The matrices are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np

from methods.nettailor.cost import ledger
from methods.nettailor.edges import stages_lost
from methods.nettailor.leanest import Leanest
from methods.nettailor.nettailor import TailoredGraph
from methods.pieces.residual import Backbone
from orchestrator import MatrixSpec, Method, Metric, Run, Trial, axis, roles


class TailoredTasks(Method):
    """Compare the chosen tailored networks of all targets. A target for which no pruning was good
    enough stores its fine-tuned network: it shares nothing and has no scores in the matrices.
    """

    name = "tailored_tasks"
    tasks = roles("source", "targets", at_least=2)
    base_role = "source"
    accepts_diverged = True
    metrics = (
        Metric(
            "accuracy",
            by=("task",),
            headline=True,
            optional=True,
            help="Accuracy of the network chosen for each task, on test images.",
        ),
        Metric(
            "flops_share",
            by=("task",),
            higher_is_better=False,
            headline=True,
            optional=True,
            help="Multiply-accumulates of each task's network, as a share of the whole network's.",
        ),
        Metric(
            "storage_parameters",
            higher_is_better=False,
            help="Parameters to store for all tasks, shared blocks once.",
        ),
        Metric(
            "storage_share",
            higher_is_better=False,
            headline=True,
            help="Parameters to store for all tasks, as a share of a fine-tuned network for each.",
        ),
    )
    matrices = (
        MatrixSpec(
            "kept",
            "task",
            "block",
            headline=True,
            help="1 where a task keeps a block, 0 where not.",
        ),
        MatrixSpec(
            "shared",
            "task",
            "task",
            help="Share of all blocks that both tasks keep; on the diagonal, those of one task.",
        ),
        MatrixSpec(
            "lost_by_stage",
            "task",
            "stage",
            help="Share of a stage's blocks that a task does without.",
        ),
    )

    of: Leanest = axis(Leanest(), smoke=Leanest.smoke(), help="how each task's network is chosen")

    def check(self, trial: Trial) -> Iterable[str]:
        source, *targets = trial.tasks
        problems: list[str] = []
        for target in targets:
            problems += self.of.check(trial.replace(method=self.of, tasks=(source, target)))
        yield from dict.fromkeys(problems)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        source, *targets = trial.tasks
        needs = {}
        for target in targets:
            needs[target.name] = trial.replace(method=self.of, tasks=(source, target))
        return needs

    def train(self, run: Run) -> None:
        targets = run.tasks[1:]
        graphs: dict[str, TailoredGraph] = {}
        for task in targets:
            students = run.need(task.name).components("student")
            if students:  # `leanest` keeps none where it fell back on the fine-tuned network
                graphs[task.name] = cast(TailoredGraph, students[0].module())
        if not graphs:
            run.infeasible("for no task was a tailored network chosen")
        for task in targets:
            answer = run.need(task.name)
            if answer.outcome == "done":
                accuracy, flops = answer.metric("accuracy"), answer.metric("flops_share")
                run.log(accuracy=accuracy, flops_share=flops, by={"task": task.name})
        backbone = next(iter(graphs.values())).backbone  # the same for all: one universal network
        others = [task.num_classes for task in targets if task.name not in graphs]
        stored, separate = storage(backbone, graphs, others)
        run.log(storage_parameters=stored, storage_share=stored / separate)

        names = [task.name for task in targets]
        blocks = {name: graph.kept_blocks for name, graph in graphs.items()}
        kept = kept_blocks(names, blocks, backbone.num_blocks)
        run.matrix("kept", rows=names, columns=backbone.labels, values=kept)
        stages = list(dict.fromkeys(backbone.stages()))
        lost = lost_by_stage(names, blocks, backbone)
        run.matrix("lost_by_stage", rows=names, columns=stages, values=lost)
        both = shared(names, blocks, backbone.num_blocks)
        run.matrix("shared", rows=names, columns=names, values=both)


def kept_blocks(names: Sequence[str], kept: Mapping[str, set[int]], num_blocks: int) -> np.ndarray:
    """[tasks, blocks]: 1 where a task keeps a block, 0 where not; NaN for a task without a tailored
    network.
    """
    values = np.full((len(names), num_blocks), np.nan)
    for row, name in enumerate(names):
        if name in kept:
            values[row] = [block in kept[name] for block in range(1, num_blocks + 1)]
    return values


def lost_by_stage(
    names: Sequence[str], kept: Mapping[str, set[int]], backbone: Backbone
) -> np.ndarray:
    """[tasks, stages]: share of a stage's blocks that a task does without; NaN for a task without a
    tailored network.
    """
    stages = backbone.stages()
    values = np.full((len(names), len(set(stages))), np.nan)
    for row, name in enumerate(names):
        if name in kept:
            values[row] = list(stages_lost(kept[name], stages).values())
    return values


def shared(names: Sequence[str], kept: Mapping[str, set[int]], num_blocks: int) -> np.ndarray:
    """[tasks, tasks]: share of all blocks that both tasks keep; on the diagonal what a task keeps
    itself. NaN for a task without a tailored network.
    """
    values = np.full((len(names), len(names)), np.nan)
    for row, name in enumerate(names):
        for column, other in enumerate(names):
            if name in kept and other in kept:
                values[row, column] = len(kept[name] & kept[other]) / num_blocks
    return values


def storage(
    backbone: Backbone, graphs: Mapping[str, TailoredGraph], others: Sequence[int]
) -> tuple[int, int]:
    """Parameters to store for all tasks together, and for as many fine-tuned networks. `others` are
    the numbers of classes of tasks that store a fine-tuned network in any case.
    """
    ledgers = [ledger(graph) for graph in graphs.values()]
    # A block that several tasks keep is stored once; one that none keeps is not stored.
    used = {block for graph in graphs.values() for block in graph.kept_blocks}
    universal = backbone.stem_cost.parameters
    universal += sum(backbone.block_costs[block - 1].parameters for block in used)
    body = sum(backbone.block_costs, backbone.stem_cost).parameters
    # A classifier has a weight per feature and a bias, for each class.
    fine_tuned = sum(body + (backbone.features + 1) * classes for classes in others)
    together = universal + sum(entry.task for entry in ledgers) + fine_tuned
    separate = sum(entry.untailored.parameters for entry in ledgers) + fine_tuned
    return together, separate
