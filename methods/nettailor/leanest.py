"""Choosing among prunings of one tailored student, on validation images.

Morgado, Vasconcelos: NetTailor, CVPR 2019, arXiv:1907.00274, section 4.1: of several numbers of
removed blocks, the leanest network within half a point of the teacher's accuracy is the result.

Departs from the paper: it chooses on the test images; here the choice is made on the validation
part and the test part is read once. Where no pruning is good enough, the answer is the fine-tuned
network itself, at its whole cost. `area` is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Self

import numpy as np

from methods.fine_tune import FineTune
from methods.nettailor.nettailor import NetTailor
from orchestrator import Kept, MatrixSpec, Method, Metric, Result, Run, Trial, axis, roles

COLUMNS = ("val_accuracy", "accuracy", "flops_share", "parameters_share")
BUDGETS = np.linspace(0.25, 1.0, 16)  # shares of the whole network's multiply-accumulates


class Leanest(Method):
    """The leanest of a student's prunings whose validation accuracy is within `drop` of the
    fine-tuned network's; or, with `parameters_at_most`, the one of best validation accuracy among
    those that are small enough."""

    name = "leanest"
    tasks = roles("source", "target")
    accepts_diverged = True
    metrics = (
        Metric("accuracy", headline=True),
        Metric("drop", higher_is_better=False, headline=True),
        Metric("flops_share", higher_is_better=False, headline=True),
        Metric("parameters_share", higher_is_better=False, headline=True),
        Metric("task_share", higher_is_better=False, optional=True),
        Metric("blocks", higher_is_better=False, optional=True),
        Metric("latency_share", higher_is_better=False, optional=True, timing=True),
        Metric("tailored"),
        Metric("area"),
    )
    components = (Kept("student", optional=True),)
    matrices = (MatrixSpec("candidates", "removed", "property"),)

    of: NetTailor = axis(
        NetTailor(),
        smoke=NetTailor.smoke(),
        help="whose prunings; its own `removed` makes no difference",
    )
    removed: tuple[int, ...] = axis(
        (1, 2, 3, 4, 5), smoke=(0, 1), help="numbers of removed blocks to choose from"
    )
    against: FineTune = axis(
        FineTune(),
        smoke=FineTune(epochs=1),
        help="how the network it is held against is fine-tuned",
    )
    drop: float = axis(
        0.01,
        over=(0.005, 0.01, 0.02),
        smoke=1.0,
        help="validation accuracy that may be lost (the paper: 0.005)",
    )
    by: Literal["flops", "parameters"] = axis(
        "flops", over=("flops", "parameters"), help="what leanest means"
    )
    parameters_at_most: int | None = axis(
        None, over=(None, 20_000), help="choose the most accurate of this size instead"
    )

    def canonical(self) -> Self:
        idle = () if self.parameters_at_most is None else ("drop", "by")
        return self.replace(
            of=self.of.replace(removed=1), removed=tuple(sorted(set(self.removed)))
        ).reset(*idle)

    def check(self, trial: Trial) -> Iterable[str]:
        if not self.removed:
            yield "removed is empty: name at least one number of blocks"
        if not trial.tasks[1].held_out:
            yield f"{trial.tasks[1].name} holds out no validation images to choose on; write .validation(0.2)"
        if self.against.base is not None:
            yield "against.base is set; the fine-tuned network starts from the universal one, which `of.base` says how to train"
        yield from dict.fromkeys(
            problem
            for count in self.removed
            for problem in self.of.replace(removed=count).check(trial)
        )

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        prunings = {
            str(count): trial.replace(method=self.of.replace(removed=count))
            for count in self.removed
        }
        return {
            "fine_tuned": trial.replace(method=self.against.replace(base=self.of.base)),
            **prunings,
        }

    def train(self, run: Run) -> None:
        target = run.tasks[1].name
        whole, found = (
            run.need("fine_tuned"),
            {str(k): run.need(str(k)) for k in self.removed if run.need(str(k)).outcome == "done"},
        )
        if whole.outcome != "done":
            run.infeasible(f"the fine-tuned network {whole.outcome}")
        values = [
            [found[str(k)].metric(c) if str(k) in found else float("nan") for c in COLUMNS]
            for k in self.removed
        ]
        run.matrix(
            "candidates",
            rows=[str(k) for k in self.removed],
            columns=COLUMNS,
            values=np.array(values),
        )
        accuracy = whole.metric("accuracy", task=target)
        chosen = self.choose(found, whole.metric("val_accuracy", task=target))
        if chosen is None and self.parameters_at_most is not None:
            run.infeasible(f"no pruning has at most {self.parameters_at_most:,} parameters")
        if chosen is None:
            run.log(accuracy=accuracy, drop=0.0, flops_share=1.0, parameters_share=1.0, tailored=0)
        else:
            run.adopt(chosen)
            run.log(drop=accuracy - found[chosen].metric("accuracy"), tailored=1)
        run.log(area=area(list(found.values()), 1 / run.tasks[1].num_classes))

    def choose(self, found: Mapping[str, Result], best: float) -> str | None:
        """Name of the chosen pruning, or None; `best` is the fine-tuned network's validation
        accuracy.
        """
        if self.parameters_at_most is not None:
            small = [
                name
                for name, r in found.items()
                if r.metric("parameters") <= self.parameters_at_most
            ]
            return max(
                small,
                key=lambda name: (found[name].metric("val_accuracy"), int(name)),
                default=None,
            )
        bar = (
            best - self.drop - 1e-9
        )  # exactly `drop` lost is still within it, whatever the last digit
        good = [name for name, r in found.items() if r.metric("val_accuracy") >= bar]
        return min(
            good,
            key=lambda name: (found[name].metric(f"{self.by}_share"), -int(name)),
            default=None,
        )


def area(prunings: list[Result], chance: float) -> float:
    """Test accuracy that a budget of multiply-accumulates buys, averaged over budgets from a
    quarter to the whole of the network: at each, that of the pruning within it whose validation
    accuracy is best, or `chance` where none fits."""
    bought = []
    for budget in BUDGETS:
        fitting = [r for r in prunings if r.metric("flops_share") <= budget]
        best = max(fitting, key=lambda r: r.metric("val_accuracy"), default=None)
        bought.append(chance if best is None else best.metric("accuracy"))
    return float(np.mean(bought))
