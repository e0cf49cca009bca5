"""A method whose trial does nothing but leave what trials leave: 20 settings, 30 points on curves,
one matrix. For `orchestration.py`.

Departs from the paper: there is none.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from orchestrator import MatrixSpec, Method, Metric, Resources, Run, Trial, axis
from orchestrator.training.stage import CurvePoint, Fit

POINTS = 30


class Nothing(Method):
    """Leaves a metric, a curve and a matrix of 4 x 4, and takes no time over it."""

    name = "nothing"
    uses = frozenset({"seed"})
    metrics = (Metric("score", headline=True),)
    matrices = (MatrixSpec("scores", "extractor", "head", headline=True),)

    s01: float = axis(0.1)
    s02: float = axis(0.1)
    s03: float = axis(0.1)
    s04: float = axis(0.1)
    s05: float = axis(0.1)
    s06: float = axis(0.1)
    s07: float = axis(0.1)
    s08: float = axis(0.1)
    s09: float = axis(0.1)
    s10: float = axis(0.1)
    s11: float = axis(0.1)
    s12: float = axis(0.1)
    s13: float = axis(0.1)
    s14: float = axis(0.1)
    s15: float = axis(0.1)
    s16: float = axis(0.1)
    s17: float = axis(0.1)

    def resources(self, trial: Trial) -> Resources:
        return Resources(cpus=1, gpus=0)

    def train(self, run: Run) -> None:
        now = time.time()
        points = tuple(
            CurvePoint("train/loss", step, 1.0 / step, now + step * 1e-3)
            for step in range(1, POINTS)
        )
        run.fits["train"] = replace(Fit("train", POINTS, POINTS, 0, 0.0, points, {}))
        run.log(score=float(run.seed or 0))
        names = ["a", "b", "c", "d"]
        run.matrix("scores", rows=names, columns=names, values=np.eye(4) * (run.seed or 0) / 1e5)
