"""A method that leaves a little of all that the page of a sweep shows, in no time."""

from __future__ import annotations

from typing import Literal

from orchestrator import MatrixSpec, Method, Metric, Run, axis


class Paged(Method):
    """Scores that fall along the split, more so without help.

    Departs from the paper: there is none.
    """

    name = "paged"
    uses = frozenset({"seed"})
    metrics = (
        Metric("score", headline=True, chance=0.1, help="The share that it <b>got</b> right."),
        Metric("cost", higher_is_better=False),
    )
    matrices = (
        MatrixSpec("fits", "front", "back", headline=True, help="How well two pieces fit."),
        MatrixSpec("kept", "front", "back"),
    )

    split: Literal["early", "middle", "late"] = axis("early", over=("early", "middle", "late"))
    helped: bool = axis(False, over=(False, True))
    width: int = axis(2)

    def train(self, run: Run) -> None:
        place = ("early", "middle", "late").index(self.split)
        score = 0.9 - (0.1 if self.helped else 0.3) * place + 0.011 * (run.seed or 0)
        for _ in run.epochs("train", 4):
            run.curve(loss=1 - score)
        run.log(score=score, cost=10.0 * place + 1)
        labels = [f"r{i}" for i in range(self.width)]
        values = [[score if i == j else score / 2 for i in labels] for j in labels]
        values[0][-1] = float("nan")
        reason = {(0, self.width - 1): "they are <i>not</i> of one size"}
        run.matrix(
            "fits", rows=labels, columns=labels, values=values, count=50, chance=0.1, notes=reason
        )
        run.matrix("kept", rows=labels, columns=labels, values=[[1e6] * len(labels)] * len(labels))
