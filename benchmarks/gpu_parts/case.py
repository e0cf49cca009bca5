"""What all parts share: sizes, images, the engine's fit and the loop by hand, a clock, figures."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks import resnet8, resnet20, resnet56
from orchestrator import Method, Network, NetworkSpec, Run, Task, Trial, class_at, sgd
from orchestrator.data import sources
from orchestrator.data.batches import normaliser, tensors
from orchestrator.data.sources import Images
from orchestrator.spec.task import DataRecord
from orchestrator.training.arithmetic import arithmetic
from orchestrator.training.checkpoints import Checkpoints

LR, MOMENTUM, DECAY, MARGIN = 0.05, 0.9, 5e-4, 4
NAME = "made up"


@dataclass(frozen=True)
class Sizes:
    """How much is done: `seconds` is what one measurement takes about."""

    images: int
    networks: dict[str, NetworkSpec]
    batch: int
    seconds: float
    rounds: int
    matrix: tuple[int, int]  # networks, images
    models: tuple[int, ...]
    product: int  # rows of the matrices whose product shows the peak


ON_GPU = Sizes(
    images=50_000,
    networks={"resnet8": resnet8(), "resnet20": resnet20(), "resnet56": resnet56()},
    batch=128,
    seconds=1.5,
    rounds=3,
    matrix=(64, 10_000),
    models=(1, 2, 4, 8, 16, 32),
    product=8192,
)
ON_CPU = Sizes(
    images=64,
    networks={"resnet8": resnet8(width=8)},
    batch=8,
    seconds=0.2,
    rounds=1,
    matrix=(3, 50),
    models=(1, 2),
    product=256,
)


@dataclass
class Bench:
    """The device, the sizes, the time until which a part may go on, and the figures it found."""

    device: torch.device
    sizes: Sizes
    ends: float  # on time.monotonic's clock
    figures: Path

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def left(self) -> float:
        """Seconds that the part still has."""
        return self.ends - time.monotonic()

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def figure(
        self, name: str, value: float, *, least: float | None = None, most: float | None = None
    ) -> None:
        """A line of the end. Speeds have a bar on a GPU only: sizes for a CPU show that it runs."""
        with open(self.figures, "a") as file:
            file.write(json.dumps({"name": name, "value": value, "least": least, "most": most}))
            file.write("\n")

    def speed(self, name: str, value: float, least: float) -> None:
        self.figure(name, value, least=least if self.is_gpu else None)

    @contextmanager
    def computing(self, numerics: str) -> Iterator[None]:
        """As a trial of these numerics computes."""
        with arithmetic(torch.get_num_threads(), numerics, self.device):
            yield

    def rate(self, work: Callable[[], int]) -> float:
        """What `work` counts, a second."""
        self.wait()
        began = time.perf_counter()
        count = work()
        self.wait()
        return count / (time.perf_counter() - began)

    def steps_for(self, work: Callable[[int], int], seconds: float | None = None) -> int:
        """How many steps take as long as a measurement should, and warms up."""
        work(3)
        rate = self.rate(lambda: work(10))  # images/s
        steps = rate * (seconds or self.sizes.seconds) / self.sizes.batch
        return max(5, min(round(steps), 20_000))


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Of neighbours in time: a machine that slows down does so for both."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def table(*headings: str) -> Callable[..., None]:
    """Prints headings now and a row a call, each as it comes."""
    widths = [max(len(heading), 9) for heading in headings]

    def row(*values: object) -> None:
        shown = [f"{v:,.3f}" if isinstance(v, float) and abs(v) < 100 else v for v in values]
        shown = [f"{v:,.0f}" if isinstance(v, float) else str(v) for v in shown]
        print("  ".join(v.rjust(w) for v, w in zip(shown, widths, strict=True)), flush=True)

    row(*headings)
    return row


def made_up(count: int, shape: tuple[int, int, int] = (3, 32, 32)) -> Task:
    """Random images of CIFAR-10's size under a name that no other set has: `count` to train on and
    as many to test.
    """
    random = np.random.RandomState(0)
    x = random.randint(0, 256, (count, *shape), dtype=np.uint8)
    y = np.arange(count) % 10
    record = DataRecord(
        name=NAME,
        digest=NAME,
        classes=tuple(str(c) for c in range(10)),
        shape=shape,
        counts=(count, count),
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
    )
    images = Images((x, y), (x, y), record, Path())
    real: Any = {name: getattr(sources, name) for name in ("load", "load_verified")}
    # The engine reads by name; this name gives what was made up, all others what they are.
    sources.load = lambda name: images if name == NAME else real["load"](name)
    sources.load_verified = lambda task: (
        images if task.data == NAME else real["load_verified"](task)
    )
    return Task(data=NAME).resolve(record).validation(0)


def built(spec: NetworkSpec, seed: int = 0, *, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    return class_at(spec.path, Network)(**dict(spec.settings), channels=3, classes=classes)


def loss(nets: Any, batch: Any) -> Tensor:
    return F.cross_entropy(nets["net"](batch.x), batch.y)


class Timed(Method):
    """Stands for a method; its fit is called from here."""

    name = "timed"
    uses = frozenset({"tasks", "seed"})

    def train(self, run: Run) -> None:
        raise NotImplementedError


def run_of(
    bench: Bench, task: Task, numerics: str, checkpoints: Checkpoints | None = None, **options: Any
) -> Run:
    trial = Trial(method=Timed(), tasks=(task,), seed=0, numerics=numerics)
    return Run(trial, {}, device=bench.device, checkpoints=checkpoints, **options)


def by_engine(bench: Bench, task: Task, net: nn.Module, numerics: str, steps: int) -> int:
    """Images that `run.fit` has trained a net on."""
    with bench.computing(numerics):
        report = run_of(bench, task, numerics).fit(
            "train",
            {"net": net},
            loss,
            task.train.augmented("crop and flip"),
            optimizer=sgd(LR, momentum=MOMENTUM, weight_decay=DECAY),
            steps=steps,
            batch=bench.sizes.batch,
        )
    return report.images


class ByHand:
    """What somebody writes who has a GPU and one network: images on the device, drawn changes of
    an epoch at once, nothing else. `step` trains on the images of these positions.
    """

    def __init__(self, bench: Bench, task: Task, spec: NetworkSpec, numerics: str, seed: int = 0):
        pixels, self.y = tensors(task.train, bench.device)
        x = pixels.take(slice(0, len(self.y)))
        self.x = F.pad(x, (MARGIN,) * 4)
        self.size = x.shape[-1]
        self.normalise = normaliser(task, bench.device)
        self.device, self.batch, self.is_bf16 = bench.device, bench.sizes.batch, numerics == "bf16"
        net = built(spec, seed)
        net = net.to(bench.device)
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net.train()
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY
        )
        self.image = torch.arange(self.batch, device=self.device)
        self.pixel = torch.arange(self.size, device=self.device)

    def drawn(self, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, shifts and flips of the images of so many steps: [steps, batch, ...]."""
        total, on = steps * self.batch, {"device": self.device}
        index = torch.randint(len(self.y), (total,), **on)
        shifts = torch.randint(2 * MARGIN + 1, (total, 2), **on)
        flips = torch.rand(total, **on) < 0.5
        return tuple(t.view(steps, self.batch, *t.shape[1:]) for t in (index, shifts, flips))

    def images(self, index: Tensor, shifts: Tensor, flips: Tensor) -> tuple[Tensor, Tensor]:
        right = torch.where(flips[:, None], self.pixel.flip(0), self.pixel) + shifts[:, 1:]
        down = shifts[:, :1] + self.pixel
        x = self.x[index[:, None, None], :, down[:, :, None], right[:, None, :]]
        return self.normalise(x.permute(0, 3, 1, 2)), self.y[index]

    def step(self, index: Tensor, shifts: Tensor, flips: Tensor) -> Tensor:
        x, y = self.images(index, shifts, flips)
        return self.learn(x, y)

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bf16):
            value = F.cross_entropy(self.net(x), y)
        value.backward()
        self.optimizer.step()
        return value.detach()

    def steps(self, count: int) -> int:
        """Images that so many steps train on."""
        drawn = self.drawn(count)
        total = torch.zeros((), device=self.device)
        for now in zip(*drawn, strict=True):
            total += self.step(*now)
        float(total)  # waits for the device, as the engine does once an epoch
        return count * self.batch


def processors() -> int:
    return len(os.sched_getaffinity(0))
