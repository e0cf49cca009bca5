"""A module for a new category joined to a task module that was trained for other categories, by a
small adapter.

Zhang, Yang, Yu, Wu: Network Transplanting, 2018, arXiv:1804.10272. Only the adapter is learned,
with no or few samples: back-distillation makes the gradient of the output with respect to the
features agree with that of the network that was trained for the category.

Departs from the paper: the text could not be read, nor was code found. `dummy` is our
reconstruction of its gradients without images, `lin` the same without gates; `noise` (gradients at
synthetic features, the default) and `real` (at features of images) are our own, as are the
adapter's shape, weights, steps and calibration. Two outputs and cross entropy stand for one output
and logistic loss.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.network_transplanting.back_distillation import (
    Gradients,
    Labels,
    both_gradients,
    impassable,
    sources,
)
from methods.network_transplanting.margins import logits_of, margins
from methods.network_transplanting.report import (
    MATRICES,
    METRICS,
    PLOTS,
    calibrated,
    join_in_turn,
    laid_out,
    report,
    tabulate,
    unfit,
)
from methods.network_transplanting.transplant_network import Start, Transplanted, adapter_for
from orchestrator import Kept, Method, Network, Run, Task, Trial, adam, axis, one_cycle, roles
from orchestrator.errors import nearest

TRAINING = ("weight", "scale", "spread", "gates", "steps", "batch", "lr", "everything")


class NetworkTransplanting(Method):
    """Join the front of each guest's network to the back of the host's. All networks start from the
    one of the first task. Every guest is a trial of its own, which all orders of guests share."""

    name = "network_transplanting"
    tasks = roles("pretrain", "host", "guests", at_least=3)
    metrics = METRICS
    components = (Kept("transplanted", by=("category",)), Kept("network", optional=True))
    matrices, plots = MATRICES, PLOTS

    split: str = axis("stage2", over=("stage1", "stage2"), help="where the networks are cut")
    depth: int = axis(3, over=(0, 1, 3), help="convolutions of the adapter; 0 is no adapter")
    start: Start = axis(
        "he", over=("he", "dirac"), help="the adapter's first weights: drawn, or the identity"
    )
    gradients: Gradients = axis(
        "noise",
        over=("none", "lin", "dummy", "noise", "real"),
        help="where the gradients are compared",
    )
    labels: Labels = axis(
        "none",
        over=("none", "direct", "distill", "both", "synthetic"),
        help="what outputs are compared with; see the paper's baselines",
    )
    samples: int = axis(
        0,
        over=(0, 10, 20, 50, 100),
        help="images of the category's task that the adapter may see; the 10 are among the 20",
    )
    weight: float = axis(1.0, over=(0.1, 1.0, 10.0), help="of the gradients' term beside outputs")
    scale: Literal["one", "fitted"] = axis(
        "one", over=("one", "fitted"), help="factor on the category's own gradient"
    )
    spread: float = axis(
        1.0, over=(0.5, 1.0, 2.0), help="standard deviation of synthetic features before their ReLU"
    )
    gates: float = axis(0.5, over=(0.25, 0.5, 0.75), help="share of ReLUs that `dummy` lets pass")
    calibrate: Literal["none", "labels", "teacher"] = axis(
        "none", over=("none", "labels", "teacher"), help="one output bias from the samples"
    )
    everything: bool = axis(
        False,
        help="train both modules, too, which breaks the rule that nothing old may change: a reference",
    )
    steps: int = axis(600, over=(200, 600), smoke=5)
    batch: int = axis(64, over=(32, 64))
    lr: float = axis(
        1e-2, over=(1e-3, 1e-2), help="highest learning rate of Adam's one-cycle schedule"
    )
    specific: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how the categories' own networks are trained"
    )
    jointly: CompatibleFeatures | None = axis(
        None,
        help="how host and guest are trained instead, together and from scratch, for one guest",
    )

    @property
    def trained(self) -> bool:
        return self.depth > 0 and (self.gradients != "none" or self.labels != "none")

    def canonical(self) -> Self:
        idle = (["start"] if not self.depth else []) + (["specific"] if self.jointly else [])
        idle += [*TRAINING] if not self.trained else []
        idle += {"none": ["gates", "scale"], "dummy": []}.get(self.gradients, ["gates"])
        idle += ["weight"] if "none" in (self.gradients, self.labels) else []
        idle += ["spread"] if self.gradients != "noise" and self.labels != "synthetic" else []
        return (
            self.reset(*idle)
            if self.trained
            else self.reset(*idle).replace(gradients="none", labels="none")
        )

    def check(self, trial: Trial) -> Iterable[str]:
        if trial.network and self.split not in trial.network.splits:
            yield f"{trial.network.name} has no split point {self.split!r}. {nearest(self.split, trial.network.splits)}"
        seen = (
            self.labels in ("direct", "distill", "both")
            or self.gradients == "real"
            or self.calibrate != "none"
        )
        if seen and not self.samples:
            yield f"gradients={self.gradients}, labels={self.labels}, calibrate={self.calibrate} need images, and samples is 0"
        if self.samples and not seen:
            yield f"samples={self.samples}, but nothing here looks at them (gradients={self.gradients}, labels={self.labels})"
        if self.jointly is not None and len(trial.tasks) > 3:
            yield "jointly trains the host with one guest, so several guests have no host in common"
        yield from unfit(trial.tasks[1], trial.tasks[2:])
        if trial.network and self.gradients in ("lin", "dummy"):
            yield from impassable(trial.network, self.split)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        first, host, *guests = trial.tasks
        own = {
            n: trial.replace(
                method=self.jointly or self.specific,
                tasks=(host, guests[0]) if self.jointly else (first, t),
            )
            for n, t in (("host", host), ("guest", guests[0]))
        }
        return (
            own
            if len(guests) == 1
            else {
                "host": own["host"],
                **{g.name: trial.replace(tasks=(first, host, g)) for g in guests},
            }
        )

    def train(self, run: Run) -> None:
        if len(run.tasks) == 3:
            self.transplant(run, run.tasks[2])
        else:
            run.keep("network", join_in_turn(run))
        tabulate(run)

    def transplant(self, run: Run, guest: Task) -> None:
        """One guest's adapter."""
        host = run.tasks[1]
        own, origin = (
            laid_out(run, cast(Network, run.need(n).module("network", task=t.name)))
            for n, t in (("guest", guest), ("host", host))
        )
        category, teacher, task = (
            copy.deepcopy(own).extractor(self.split),
            own.head(self.split),
            origin.head(self.split),
        )
        shape = own.shape(self.split, run.image(guest))
        adapter = adapter_for(shape, self.depth, self.start, run.seed)
        few = guest.train.few(self.samples, seed=run.seed) if self.samples else None
        bare, before = (
            margins(run, torch.nn.Sequential(category, task), guest.test),
            logits_of(run, origin, host.test)[0],
        )
        if self.trained:
            old, moving = {"category": category, "task": task}, {"adapter": adapter.to(run.device)}
            nets, frozen = (
                ({**moving, **old}, {"teacher": teacher})
                if self.everything
                else (moving, {**old, "teacher": teacher})
            )
            data = sources(self.gradients, self.labels, few, task, shape)
            run.fit(
                "adapter",
                nets,
                self.loss,
                data,
                frozen=frozen,
                optimizer=adam(self.lr),
                schedule=one_cycle(),
                steps=self.steps,
                batch=self.batch,
            )
        joined = laid_out(run, Transplanted.of(category, adapter, task))
        if few is not None and self.calibrate != "none":
            joined.adapter.move(calibrated(run, joined, own, few, self.calibrate))
        report(run, joined, own, bare, guest)
        run.log(samples=self.samples)
        run.log(
            retention=float(abs(logits_of(run, origin, host.test)[0] - before).max()),
            by={"category": host.name},
        )
        run.keep("transplanted", joined, by={"category": guest.name})

    def loss(self, nets: Any, batch: Any) -> dict[str, Tensor]:
        """Section 3.2: gradients of the adapted task module against those of the category's own,
        and outputs.
        """
        student = torch.nn.Sequential(nets["adapter"], nets["task"])
        synthetic = F.relu(self.spread * batch["noise"].x) if "noise" in batch else None
        real = nets["category"](batch["few"].x) if "few" in batch else None
        terms = {}
        if self.gradients != "none":
            own, theirs = both_gradients(
                self.gradients,
                nets,
                student,
                batch,
                synthetic if self.gradients == "noise" else real,
                self.gates,
            )
            factor = (
                ((theirs * own).mean() / own.square().mean()).clamp(0.1, 10.0).detach()
                if self.scale == "fitted"
                else 1.0
            )
            terms["back"] = (
                self.weight
                * (theirs - factor * own).square().mean()
                / own.square().mean().clamp_min(1e-12)
            )
        if self.labels in ("direct", "both"):
            terms["labels"] = F.cross_entropy(student(real), batch["few"].y)
        if self.labels in ("distill", "both", "synthetic"):
            x = synthetic if self.labels == "synthetic" else real
            terms["outputs"] = F.mse_loss(
                _centred(student(x)), _centred(nets["teacher"](x)).detach()
            )
        return terms


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)
