"""The training engine behind `run.fit`: one loop for every method, and what authors get wrong taken
care of.

The law of resumption: `train` is executed again from the top. A fit that had finished hands its
nets back from scratch; one that was under way goes on from its last checkpoint; either way the bits
are those of a run that was never stopped, because nothing random is carried along: every epoch
reseeds by name, and after every fit the global generator stands at `derive(seed, stage, "after")`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from orchestrator.data.batches import Batch, Feed
from orchestrator.errors import Diverged, MethodError, nearest
from orchestrator.parts.component import state_digest
from orchestrator.spec.canonical import derive
from orchestrator.spec.draws import Noise
from orchestrator.spec.task import Data
from orchestrator.training.capture import refuse_captured
from orchestrator.training.checkpoints import Scratch
from orchestrator.training.optimisers import OptimizerOf, Parameters, Schedule, all_of
from orchestrator.training.stopping import Best, Until

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
class Moment:
    """The end of an epoch, as listeners hear of it: `epoch` of `epochs` of a stage, and all curves
    of the stage so far.
    """

    stage: str
    epoch: int
    epochs: int
    curves: Sequence[CurvePoint]


OnEpoch = Callable[[Moment], None]


@dataclass(frozen=True)
class Fit:
    """What a finished fit reports. `frozen` holds the digests of the frozen nets, equal before and
    after; `selected` is the epoch whose state was kept (None: the last)."""

    stage: str
    epochs: int
    steps: int
    images: int
    seconds: float
    curves: tuple[CurvePoint, ...]
    frozen: Mapping[str, str]
    selected: int | None = None


@dataclass
class FitRequest:
    """One call of `run.fit`, checked and ready."""

    stage: str
    nets: Nets
    loss: Loss
    data: Mapping[str, Data | Noise]
    single: bool
    optimizer: OptimizerOf
    epochs: int | None
    steps: int | None
    batch: int
    length: Literal["longest", "shortest"]
    schedule: Schedule
    frozen: Nets
    watch: Watch | None
    every: int
    select: Best | None
    until: Until | None
    numerics: str
    seed: int | None
    device: torch.device
    on_epoch: OnEpoch | None = None

    def check(self) -> None:
        """Raises MethodError for what cannot be meant."""
        where = f"stage {self.stage!r}"
        if (self.epochs is None) == (self.steps is None):
            raise MethodError(f"{where}: give either epochs= or steps=")
        length = ("epochs", self.epochs) if self.steps is None else ("steps", self.steps)
        for name, value in (length, ("batch", self.batch), ("every", self.every)):
            if not isinstance(value, int) or value < 1:
                raise MethodError(f"{where}: {name} must be a whole number from 1, got {value!r}")
        if not self.nets or not self.data:
            raise MethodError(f"{where}: give at least one net and one data set")
        if both := sorted(set(self.nets) & set(self.frozen)):
            raise MethodError(f"{where}: {both} is in nets and in frozen")
        held = {id(p) for net in self.frozen.values() for p in net.parameters()}
        shared = [
            f"{k}.{n}"
            for k, net in self.nets.items()
            for n, p in net.named_parameters()
            if id(p) in held
        ]
        if shared:
            raise MethodError(
                f"{where}: {shared[0]} is trained and frozen at once; a frozen net must not share layers with a trained one"
            )
        for name, data in self.data.items():
            if data.part == "test" and not data.because:
                raise MethodError(
                    f"{where}: data {name!r} is the test part; train on task.train, or say task.part('test', because='...')"
                )
        refuse_captured(self.loss, self.stage)
        refuse_captured(self.until, self.stage, "condition `until`")


def fit(request: FitRequest, scratch: Scratch) -> Fit:
    """Train as requested, from the last checkpoint if there is one. Raises Diverged at the end of
    the first epoch whose loss is not finite.
    """
    request.check()
    began = time.monotonic()
    training = _Training(request)
    training.resume(scratch.load(request.stage))
    while not training.is_finished:
        training.one_epoch()
        if request.on_epoch is not None:
            request.on_epoch(
                Moment(request.stage, training.epoch, training.epochs, training.curves)
            )
        if scratch.due:
            scratch.save(request.stage, training.state())
    result = training.finish(time.monotonic() - began)
    torch.manual_seed(derive(request.seed, request.stage, "after"))
    return result


class _Training:
    """The state of one fit under way."""

    def __init__(self, request: FitRequest) -> None:
        self.request, self.epoch, self.stopped = request, 0, False
        self.curves: list[CurvePoint] = []
        self.best: dict[str, Any] | None = None
        r = request
        self.feeds = {
            n: Feed(d, name=n, seed=r.seed, stage=r.stage, device=r.device)
            for n, d in r.data.items()
        }
        lengths = [len(feed) for feed in self.feeds.values()]
        length = max(lengths) if r.length == "longest" else min(lengths)
        self.batch = min(r.batch, length)
        self.steps = length // self.batch
        self.total = r.steps or self.steps * (r.epochs or 0)
        self.epochs = -(-self.total // self.steps)
        for net in (*r.nets.values(), *r.frozen.values()):
            net.to(r.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trainable_before = {
            id(p): p.requires_grad for net in r.frozen.values() for p in net.parameters()
        }
        self.certificate = {name: state_digest(net) for name, net in r.frozen.items()}
        for net in r.frozen.values():
            net.requires_grad_(False)
        named = {
            f"{k}.{n}": p
            for k, net in r.nets.items()
            for n, p in net.named_parameters()
            if p.requires_grad
        }
        # Layers that several nets have in common are trained once, under their first name.
        first = {id(p): name for name, p in reversed(named.items())}
        self.parameters = Parameters({name: p for name, p in named.items() if first[id(p)] == name})
        self.optimizers = all_of(r.optimizer(self.parameters), self.parameters, r.stage)
        self.groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self.rates = [float(group["lr"]) for group in self.groups]
        self.all_nets = {**r.nets, **r.frozen}

    def state(self) -> dict[str, Any]:
        nets = {name: net.state_dict() for name, net in self.request.nets.items()}
        curves = [(p.name, p.step, p.value, p.time) for p in self.curves]
        about = {"epoch": self.epoch, "stopped": self.stopped, "curves": curves, "best": self.best}
        return {
            **about,
            "nets": nets,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def resume(self, state: dict[str, Any] | None) -> None:
        """Go on from a saved state. One that does not fit these nets is refused: resumption must
        never be a guess.
        """
        if state is None:
            return
        try:
            for name, net in self.request.nets.items():
                net.load_state_dict(state["nets"][name])
            for optimizer, held in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(held)
            self.groups = [
                group for optimizer in self.optimizers for group in optimizer.param_groups
            ]  # load_state_dict makes new ones
        except (KeyError, RuntimeError, ValueError) as error:
            raise MethodError(
                f"stage {self.request.stage!r}: the checkpoint is of other nets; is train deterministic up to here? {error}"
            ) from error
        self.epoch, self.stopped, self.best = state["epoch"], state["stopped"], state["best"]
        self.curves = [CurvePoint(*p) for p in state["curves"]]

    @property
    def is_finished(self) -> bool:
        return self.stopped or self.epoch >= self.epochs

    def one_epoch(self) -> None:
        r = self.request
        for net in r.nets.values():
            net.train()
        for net in r.frozen.values():
            net.eval()
        torch.manual_seed(derive(r.seed, r.stage, self.epoch))
        sums: dict[str, Tensor] = {}
        steps = min(
            self.steps, self.total - self.epoch * self.steps
        )  # the last epoch of a fit by steps may be cut short
        feeds = [feed.epoch(self.epoch, steps, self.batch) for feed in self.feeds.values()]
        for step, batches in enumerate(zip(*feeds, strict=True)):
            for name, value in self.one_step(
                step, dict(zip(self.feeds, batches, strict=True))
            ).items():
                sums[name] = sums[name] + value if name in sums else value
        self.epoch += 1
        self.record({name: float(total) / steps for name, total in sums.items()})
        if r.watch is not None and (self.epoch % r.every == 0 or self.epoch == self.epochs):
            self.observe(r.watch)
        self.choose()

    def choose(self) -> None:
        """Remember the best state, and whether to stop."""
        r, prefix = self.request, f"{self.request.stage}/"
        if r.select is not None:
            points = [p for p in self.curves if p.name == prefix + r.select.curve]
            if not points and self.epoch >= r.every:
                raise MethodError(self._no_curve(r.select.curve))
            if (
                points
                and points[-1].step == self.epoch
                and r.select.beats(points[-1].value, self.best["value"] if self.best else None)
            ):
                nets = {name: copy.deepcopy(net.state_dict()) for name, net in r.nets.items()}
                self.best = {"value": points[-1].value, "epoch": self.epoch, "nets": nets}
        if (
            r.until is not None and self.epoch >= r.every
        ):  # before that, what is watched has no value yet
            curves: dict[str, list[float]] = {}
            for point in self.curves:
                curves.setdefault(point.name.removeprefix(prefix), []).append(point.value)
            try:
                self.stopped = bool(r.until(curves))
            except KeyError as error:
                raise MethodError(self._no_curve(str(error.args[0]))) from error

    def _no_curve(self, name: str) -> str:
        known = dict.fromkeys(p.name.removeprefix(f"{self.request.stage}/") for p in self.curves)
        return f"stage {self.request.stage!r}: there is no curve {name!r} to choose or stop by. {nearest(name, known)}"

    def one_step(self, step: int, batches: dict[str, Batch]) -> dict[str, Tensor]:
        r = self.request
        factor = r.schedule((self.epoch * self.steps + step) / self.total)
        for group, rate in zip(self.groups, self.rates, strict=True):
            group["lr"] = rate * factor
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        with torch.autocast(r.device.type, torch.bfloat16, enabled=r.numerics == "bf16"):
            terms = r.loss(self.all_nets, next(iter(batches.values())) if r.single else batches)
        named = terms if isinstance(terms, Mapping) else {"loss": terms}
        for name, value in named.items():
            if not isinstance(value, Tensor) or value.ndim:
                got = (
                    f"shape {tuple(value.shape)}"
                    if isinstance(value, Tensor)
                    else type(value).__name__
                )
                raise MethodError(
                    f"stage {r.stage!r}: loss {name!r} must be a tensor with one number, got {got}"
                )
        # Sums of losses, like weights and what the optimiser remembers, stay in fp32 whatever the
        # arithmetic in between.
        values = [value.float() for value in named.values()]
        total = values[0] if len(values) == 1 else torch.stack(values).sum()
        total.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
        return {name: value.detach() for name, value in named.items()}

    def record(self, values: Mapping[str, float]) -> None:
        now = time.time()
        self.curves += [
            CurvePoint(f"{self.request.stage}/{name}", self.epoch, value, now)
            for name, value in values.items()
        ]
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        # The last step of an epoch may spoil the weights with every loss still finite.
        if not torch.stack([p.detach().isfinite().all() for p in self.parameters.values()]).all():
            bad = bad or ["a weight"]
        if bad:
            raise Diverged(
                f"{', '.join(bad)} is not finite in epoch {self.epoch} of {self.epochs} of stage {self.request.stage!r}",
                self.curves,
            )

    def observe(self, watch: Watch) -> None:
        """Evaluate what is watched without a trace in the training."""
        generator = torch.random.get_rng_state()
        try:
            values = {name: float(value) for name, value in watch().items()}
        finally:
            torch.random.set_rng_state(generator)
        now = time.time()
        self.curves += [
            CurvePoint(f"{self.request.stage}/{name}", self.epoch, value, now)
            for name, value in values.items()
        ]

    def finish(self, seconds: float) -> Fit:
        """Give the nets back in eval mode, the frozen ones as they came, with their bits
        compared.
        """
        r = self.request
        for name, net in r.nets.items():
            if self.best is not None:
                net.load_state_dict(self.best["nets"][name])
            net.eval()
        for name, net in r.frozen.items():
            if state_digest(net) != self.certificate[name]:
                raise MethodError(
                    f"stage {r.stage!r}: the frozen net {name!r} changed during the fit; the loss writes to it"
                )
            for parameter in net.parameters():
                parameter.requires_grad_(self.trainable_before[id(parameter)])
        steps = min(self.epoch * self.steps, self.total)
        images = steps * self.batch * len(self.feeds)
        selected = self.best["epoch"] if self.best else None
        return Fit(
            r.stage,
            self.epoch,
            steps,
            images,
            seconds,
            tuple(self.curves),
            self.certificate,
            selected,
        )
