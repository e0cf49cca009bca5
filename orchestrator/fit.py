"""The training engine behind `run.fit`: one loop for every method, and what authors get wrong taken care of.

The law of resumption: `train` is executed again from the top. A fit that had finished hands its nets back from scratch; one that was under way goes
on from its last checkpoint; either way the bits are those of a run that was never stopped, because nothing random is carried along: every epoch
reseeds by name, and after every fit the global generator stands at `derive(seed, stage, "after")`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from orchestrator.canonical import derive
from orchestrator.capture import refuse_captured
from orchestrator.component import state_digest
from orchestrator.data.batches import Batch, Feed
from orchestrator.errors import Diverged, MethodError
from orchestrator.optim import OptimizerOf, Parameters, Schedule, check_coverage
from orchestrator.scratch import Scratch
from orchestrator.task import Data

Nets = Mapping[str, nn.Module]
Loss = Callable[[Any, Any], Tensor | Mapping[str, Tensor]]
Watch = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class CurvePoint:
    """A value on a curve: `step` counts epochs from 1, `time` is seconds since 1970."""

    name: str
    step: int
    value: float
    time: float


@dataclass(frozen=True)
class Fit:
    """What a finished fit reports. `frozen` holds the digests of the frozen nets, equal before and after."""

    stage: str
    epochs: int
    steps: int
    images: int
    seconds: float
    curves: tuple[CurvePoint, ...]
    frozen: Mapping[str, str]


@dataclass
class FitRequest:
    """One call of `run.fit`, checked and ready."""

    stage: str
    nets: Nets
    loss: Loss
    data: Mapping[str, Data]
    single: bool
    optimizer: OptimizerOf
    epochs: int
    batch: int
    length: Literal["longest", "shortest"]
    schedule: Schedule
    frozen: Nets
    watch: Watch | None
    every: int
    seed: int | None
    device: torch.device
    on_epoch: Callable[[str, int, int], None] | None = None

    def check(self) -> None:
        """Raises MethodError for what cannot be meant."""
        where = f"stage {self.stage!r}"
        for name, value in (("epochs", self.epochs), ("batch", self.batch), ("every", self.every)):
            if not isinstance(value, int) or value < 1:
                raise MethodError(f"{where}: {name} must be a whole number from 1, got {value!r}")
        if not self.nets or not self.data:
            raise MethodError(f"{where}: give at least one net and one data set")
        if both := sorted(set(self.nets) & set(self.frozen)):
            raise MethodError(f"{where}: {both} is in nets and in frozen")
        held = {id(p) for net in self.frozen.values() for p in net.parameters()}
        shared = [f"{k}.{n}" for k, net in self.nets.items() for n, p in net.named_parameters() if id(p) in held]
        if shared:
            raise MethodError(f"{where}: {shared[0]} is trained and frozen at once; a frozen net must not share layers with a trained one")
        for name, data in self.data.items():
            if data.part == "test" and not data.because:
                raise MethodError(f"{where}: data {name!r} is the test part; train on task.train, or say task.part('test', because='...')")
        refuse_captured(self.loss, self.stage)


def fit(request: FitRequest, scratch: Scratch) -> Fit:
    """Train as requested, from the last checkpoint if there is one. Raises Diverged at the end of the first epoch whose loss is not finite."""
    request.check()
    began = time.monotonic()
    training = _Training(request)
    training.resume(scratch.load(request.stage))
    while training.epoch < request.epochs:
        training.one_epoch()
        if request.on_epoch is not None:
            request.on_epoch(request.stage, training.epoch, request.epochs)
        if scratch.due:
            scratch.save(request.stage, training.state())
    result = training.finish(time.monotonic() - began)
    torch.manual_seed(derive(request.seed, request.stage, "after"))
    return result


class _Training:
    """The state of one fit under way."""

    def __init__(self, request: FitRequest) -> None:
        self.request, self.epoch = request, 0
        self.curves: list[CurvePoint] = []
        r = request
        self.feeds = {n: Feed(d, name=n, seed=r.seed, stage=r.stage, device=r.device) for n, d in r.data.items()}
        lengths = [len(feed) for feed in self.feeds.values()]
        length = max(lengths) if r.length == "longest" else min(lengths)
        self.batch = min(r.batch, length)
        self.steps = length // self.batch
        for net in (*r.nets.values(), *r.frozen.values()):
            net.to(r.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trainable_before = {id(p): p.requires_grad for net in r.frozen.values() for p in net.parameters()}
        self.certificate = {name: state_digest(net) for name, net in r.frozen.items()}
        for net in r.frozen.values():
            net.requires_grad_(False)
        named = {f"{k}.{n}": p for k, net in r.nets.items() for n, p in net.named_parameters() if p.requires_grad}
        self.parameters = Parameters(named)
        self.optimizer = r.optimizer(self.parameters)
        check_coverage(self.optimizer, self.parameters, r.stage)
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.all_nets = {**r.nets, **r.frozen}

    def state(self) -> dict[str, Any]:
        nets = {name: net.state_dict() for name, net in self.request.nets.items()}
        curves = [(p.name, p.step, p.value, p.time) for p in self.curves]
        return {"epoch": self.epoch, "nets": nets, "optimizer": self.optimizer.state_dict(), "curves": curves}

    def resume(self, state: dict[str, Any] | None) -> None:
        """Go on from a saved state. One that does not fit these nets is refused: resumption must never be a guess."""
        if state is None:
            return
        try:
            for name, net in self.request.nets.items():
                net.load_state_dict(state["nets"][name])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise MethodError(f"stage {self.request.stage!r}: the checkpoint is of other nets; is train deterministic up to here? {error}") from error
        self.epoch = state["epoch"]
        self.curves = [CurvePoint(*p) for p in state["curves"]]

    def one_epoch(self) -> None:
        r = self.request
        for net in r.nets.values():
            net.train()
        for net in r.frozen.values():
            net.eval()
        torch.manual_seed(derive(r.seed, r.stage, self.epoch))
        sums: dict[str, Tensor] = {}
        feeds = [feed.epoch(self.epoch, self.steps, self.batch) for feed in self.feeds.values()]
        for step, batches in enumerate(zip(*feeds, strict=True)):
            for name, value in self.one_step(step, dict(zip(self.feeds, batches, strict=True))).items():
                sums[name] = sums[name] + value if name in sums else value
        self.epoch += 1
        self.record({name: float(total) / self.steps for name, total in sums.items()})
        if r.watch is not None and (self.epoch % r.every == 0 or self.epoch == r.epochs):
            self.observe(r.watch)

    def one_step(self, step: int, batches: dict[str, Batch]) -> dict[str, Tensor]:
        r = self.request
        factor = r.schedule((self.epoch * self.steps + step) / (r.epochs * self.steps))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad()
        terms = r.loss(self.all_nets, next(iter(batches.values())) if r.single else batches)
        named = terms if isinstance(terms, Mapping) else {"loss": terms}
        for name, value in named.items():
            if not isinstance(value, Tensor) or value.ndim:
                got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise MethodError(f"stage {r.stage!r}: loss {name!r} must be a tensor with one number, got {got}")
        total = torch.stack(list(named.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {name: value.detach() for name, value in named.items()}

    def record(self, values: Mapping[str, float]) -> None:
        now = time.time()
        self.curves += [CurvePoint(f"{self.request.stage}/{name}", self.epoch, value, now) for name, value in values.items()]
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        # The last step of an epoch may spoil the weights with every loss still finite.
        if not torch.stack([p.detach().isfinite().all() for p in self.parameters.values()]).all():
            bad = bad or ["a weight"]
        if bad:
            raise Diverged(
                f"{', '.join(bad)} is not finite in epoch {self.epoch} of {self.request.epochs} of stage {self.request.stage!r}", self.curves
            )

    def observe(self, watch: Watch) -> None:
        """Evaluate what is watched without a trace in the training."""
        generator = torch.random.get_rng_state()
        try:
            values = {name: float(value) for name, value in watch().items()}
        finally:
            torch.random.set_rng_state(generator)
        now = time.time()
        self.curves += [CurvePoint(f"{self.request.stage}/{name}", self.epoch, value, now) for name, value in values.items()]

    def finish(self, seconds: float) -> Fit:
        """Give the nets back in eval mode, the frozen ones as they came, with their bits compared."""
        r = self.request
        for net in r.nets.values():
            net.eval()
        for name, net in r.frozen.items():
            if state_digest(net) != self.certificate[name]:
                raise MethodError(f"stage {r.stage!r}: the frozen net {name!r} changed during the fit; the loss writes to it")
            for parameter in net.parameters():
                parameter.requires_grad_(self.trainable_before[id(parameter)])
        images = r.epochs * self.steps * self.batch * len(self.feeds)
        return Fit(r.stage, r.epochs, r.epochs * self.steps, images, seconds, tuple(self.curves), self.certificate)
