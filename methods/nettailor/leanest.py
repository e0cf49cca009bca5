"""Choosing among prunings of one tailored student, on validation images.

Morgado, Vasconcelos: NetTailor, CVPR 2019, arXiv:1907.00274, section 4.1: of several numbers of
removed blocks, the leanest network within half a point of the teacher's accuracy is the result.

What it costs: no training of its own. It needs one student, a retraining for each of the numbers
`removed`, and one fine-tuned network; it keeps the chosen pruning.

Departs from the paper: it chooses on the test images; here the choice is made on the validation
part and the test part is read once. Where no pruning is good enough, the answer is the fine-tuned
network itself, at its whole cost. `area` and `flops_at_drop` are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Self

import numpy as np

from methods.fine_tune import FineTune
from methods.nettailor.nettailor import NetTailor
from orchestrator import Kept, MatrixSpec, Method, Metric, Result, Run, Trial, axis, roles

COLUMNS = ("val_accuracy", "accuracy", "flops_share", "parameters_share")
BUDGETS = np.linspace(0.25, 1.0, 16)  # shares of the whole network's multiply-accumulates


class Leanest(Method):
    """The leanest of a student's prunings whose validation accuracy is within `drop` of the
    fine-tuned network's; or, with `parameters_at_most`, the most accurate on validation images
    among those that are small enough.
    """

    name = "leanest"
    tasks = roles("source", "target")
    base_role = "source"
    accepts_diverged = True
    metrics = (
        Metric("accuracy", headline=True, help="Accuracy of the chosen network on test images."),
        Metric("val_accuracy", help="Accuracy of the chosen network on validation images."),
        Metric(
            "drop",
            higher_is_better=False,
            headline=True,
            help="Test accuracy of the fine-tuned network, less that of the chosen one.",
        ),
        Metric(
            "flops_share",
            higher_is_better=False,
            headline=True,
            help="Multiply-accumulates, as a share of the whole network's.",
        ),
        Metric(
            "parameters_share",
            higher_is_better=False,
            headline=True,
            help="Parameters in use, as a share of the whole network's.",
        ),
        Metric(
            "task_share",
            higher_is_better=False,
            optional=True,
            help="Parameters that only this task uses, as a share of the universal network's.",
        ),
        Metric(
            "blocks",
            higher_is_better=False,
            optional=True,
            help="Blocks of the universal network that are left.",
        ),
        Metric(
            "latency_share",
            higher_is_better=False,
            optional=True,
            timing=True,
            help="Time for images, as a share of the whole universal network's.",
        ),
        Metric(
            "tailored",
            help="1 where a pruning was good enough, 0 where the fine-tuned network is the answer.",
        ),
        Metric(
            "area",
            help="Test accuracy that a budget of multiply-accumulates buys, mean over budgets.",
        ),
        Metric(
            "flops_at_drop",
            higher_is_better=False,
            optional=True,
            help="Operations, as a share of the whole network's, at which validation accuracy has "
            "fallen by `drop`; on the line from one pruning to the next, so it depends less on the "
            "luck of a choice than `flops_share`.",
        ),
    )
    components = (Kept("student", optional=True),)
    matrices = (
        MatrixSpec(
            "candidates",
            "removed",
            "property",
            help="Accuracies and costs of the pruning with so many blocks removed.",
        ),
    )

    of: NetTailor = axis(
        NetTailor(),
        smoke=NetTailor.smoke(),
        help="the student whose prunings are compared; its own `removed` makes no difference",
    )
    removed: tuple[int, ...] = axis(
        (1, 2, 3, 4, 5),
        smoke=(0, 1),
        help="k of section 3.5, the numbers of removed blocks to choose from",
    )
    against: FineTune = axis(
        FineTune(),
        smoke=FineTune(epochs=1),
        help="how the network that it is compared with is fine-tuned",
    )
    drop: float = axis(
        0.01,
        over=(0.005, 0.01, 0.02),
        smoke=1.0,
        help="validation accuracy that may be lost (the paper: 0.005); the more, the leaner",
    )
    by: Literal["flops", "parameters"] = axis(
        "flops", over=("flops", "parameters"), help="what the leanest has fewest of"
    )
    parameters_at_most: int | None = axis(
        None,
        over=(None, 20_000),
        help="instead choose the most accurate with at most this many parameters",
    )

    def canonical(self) -> Self:
        # Its own `removed` is replaced by each of ours; any one value stands for all.
        of, removed = self.of.replace(removed=1), tuple(sorted(set(self.removed)))
        same = self.replace(of=of, removed=removed)
        return same if self.parameters_at_most is None else same.reset("drop", "by")

    def check(self, trial: Trial) -> Iterable[str]:
        target = trial.tasks[1]
        if not self.removed:
            yield "removed is empty: name at least one number of blocks"
        if not target.held_out:
            yield (
                f"{target.name} holds out no validation images to choose on; write .validation(0.2)"
            )
        if self.against.base is not None:
            yield (
                "against.base is set; the fine-tuned network starts from the universal one, "
                "which `of.base` says how to train"
            )
        problems: list[str] = []
        for count in self.removed:
            problems += self.of.replace(removed=count).check(trial)
        yield from dict.fromkeys(problems)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        needs = {"fine_tuned": trial.replace(method=self.against.replace(base=self.of.base))}
        for count in self.removed:
            needs[str(count)] = trial.replace(method=self.of.replace(removed=count))
        return needs

    def train(self, run: Run) -> None:
        target = run.tasks[1]
        fine_tuned = run.need("fine_tuned")
        if fine_tuned.outcome != "done":
            run.infeasible(f"the fine-tuned network {fine_tuned.outcome}")
        prunings = {str(count): run.need(str(count)) for count in self.removed}
        candidates = {name: p for name, p in prunings.items() if p.outcome == "done"}
        # [removed, property]; NaN: nothing was left
        values = np.full((len(prunings), len(COLUMNS)), np.nan)
        for row, name in enumerate(prunings):
            if name in candidates:
                values[row] = [candidates[name].metric(column) for column in COLUMNS]
        run.matrix("candidates", rows=list(prunings), columns=COLUMNS, values=values)
        accuracy = fine_tuned.metric("accuracy", task=target.name)
        reference = fine_tuned.metric("val_accuracy", task=target.name)
        chosen = self.choose(candidates, reference)
        if self.parameters_at_most is None:
            share = flops_at_drop(list(candidates.values()), reference, self.drop)
            run.log(flops_at_drop=share)
        if chosen is not None:
            run.adopt(chosen)
            run.log(drop=accuracy - candidates[chosen].metric("accuracy"), tailored=1)
        elif self.parameters_at_most is not None:
            run.infeasible(f"no pruning has at most {self.parameters_at_most:,} parameters")
        else:
            run.log(accuracy=accuracy, val_accuracy=reference, drop=0.0, tailored=0)
            run.log(flops_share=1.0, parameters_share=1.0)
        run.log(area=area(list(candidates.values()), chance=1 / target.num_classes))

    def choose(self, candidates: Mapping[str, Result], reference: float) -> str | None:
        """The name of the chosen pruning, or None; `reference` is the fine-tuned network's
        validation accuracy.
        """
        if self.parameters_at_most is not None:
            return most_accurate(candidates, self.parameters_at_most)
        # Losing exactly `drop` is allowed, whatever the rounding.
        bar = reference - self.drop - 1e-9
        good = [name for name, r in candidates.items() if r.metric("val_accuracy") >= bar]
        cost = f"{self.by}_share"
        # Of two that cost the same, the one with more blocks removed.
        return min(good, key=lambda name: (candidates[name].metric(cost), -int(name)), default=None)


def most_accurate(candidates: Mapping[str, Result], num_parameters: int) -> str | None:
    """The name of the pruning with the best validation accuracy among those with at most
    `num_parameters` parameters, or None.
    """
    small = [n for n, r in candidates.items() if r.metric("parameters") <= num_parameters]

    def accuracy_then_removed(name: str) -> tuple[float, int]:  # of two as accurate, the leaner
        return candidates[name].metric("val_accuracy"), int(name)

    return max(small, key=accuracy_then_removed, default=None)


def flops_at_drop(prunings: Sequence[Result], reference: float, drop: float) -> float:
    """From the whole network, with validation accuracy `reference`, down to leaner and leaner
    prunings: the share of its multiply-accumulates at which that accuracy first falls by `drop`, on
    straight lines between them; that of the leanest where it never does.
    """
    points = [(r.metric("flops_share"), r.metric("val_accuracy")) for r in prunings]
    # A student with all its proxies costs more than the whole network.
    leaner = sorted((point for point in points if point[0] < 1.0), reverse=True)
    share, accuracy = 1.0, reference
    for next_share, next_accuracy in leaner:
        if next_accuracy < reference - drop - 1e-9:
            way = (accuracy - (reference - drop)) / (accuracy - next_accuracy)
            return share - way * (share - next_share)
        share, accuracy = next_share, next_accuracy
    return share


def area(prunings: list[Result], chance: float) -> float:
    """Test accuracy that a budget of multiply-accumulates buys, averaged over budgets from a
    quarter to the whole of the network: at each, that of the pruning within it whose validation
    accuracy is best, or `chance` where none fits.
    """
    bought = []
    for budget in BUDGETS:
        fitting = [r for r in prunings if r.metric("flops_share") <= budget]
        best = max(fitting, key=lambda r: r.metric("val_accuracy"), default=None)
        # Chosen by validation accuracy, counted by test accuracy.
        bought.append(chance if best is None else best.metric("accuracy"))
    return float(np.mean(bought))
