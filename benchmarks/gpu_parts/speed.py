"""How fast is one fit? `run.fit` against the loop by hand and the usual loop with a DataLoader."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gpu_parts.case import (
    DECAY,
    LR,
    MARGIN,
    MOMENTUM,
    Bench,
    ByHand,
    built,
    by_engine,
    made_up,
    median_ratio,
    processors,
    table,
)
from orchestrator import NetworkSpec, Task
from orchestrator.data.batches import tensors


def speed(bench: Bench) -> None:
    task, row = made_up(bench.sizes.images), None
    peaks = {numerics: peak(bench, numerics) for numerics in ("fp32", "tf32", "bf16")}
    shown = ", ".join(f"{name} {value / 1e12:.2f}" for name, value in peaks.items())
    print(f"peak by a product of matrices, TFLOP/s: {shown}")
    row = table(
        "network", "numerics", "run.fit", "by hand", "ratio", "DataLoader", "ratio", "of peak"
    )
    worst = {"hand": float("inf"), "usual": float("inf")}
    for name, spec in bench.sizes.networks.items():
        flops = flops_of(spec, bench.sizes.batch)
        for numerics in ("fp32", "bf16"):
            if bench.left < 15 * bench.sizes.seconds:
                print("time is up")
                break
            hand, ours = compared(bench, task, spec, numerics)
            usual = with_loader(bench, task, spec, numerics)
            rate = statistics.median(ours)
            ratio = median_ratio(ours, hand)
            worst["hand"] = min(worst["hand"], ratio)
            worst["usual"] = min(worst["usual"], rate / usual)
            share = rate * flops / peaks[numerics]
            columns = (rate, statistics.median(hand), ratio, usual, rate / usual, f"{share:.1%}")
            row(name, numerics, *columns)
    bench.speed("run.fit against the loop by hand, worst", worst["hand"], 0.95)
    bench.speed("run.fit against the DataLoader loop, worst", worst["usual"], 1.5)


def compared(
    bench: Bench, task: Task, spec: NetworkSpec, numerics: str
) -> tuple[list[float], list[float]]:
    """Images/s by hand and of the engine, in turns."""
    hand, ours = [], []
    loop = ByHand(bench, task, spec, numerics)

    def by_hand(steps: int) -> int:
        with bench.computing(numerics):
            return loop.steps(steps)

    net, steps = built(spec), bench.steps_for(by_hand)
    by_engine(bench, task, net, numerics, 5)
    for _ in range(bench.sizes.rounds):
        hand.append(bench.rate(lambda: by_hand(steps)))
        ours.append(bench.rate(lambda: by_engine(bench, task, net, numerics, steps)))
    return hand, ours


def peak(bench: Bench, numerics: str) -> float:
    """Floating-point operations a second of a product of two large matrices."""
    size = bench.sizes.product
    dtype = torch.bfloat16 if numerics == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=bench.device, dtype=dtype) for _ in range(2))

    def products(count: int) -> int:
        with bench.computing(numerics):
            for _ in range(count):
                a @ b
        return count * 2 * size**3

    products(2)
    return max(bench.rate(lambda: products(5)) for _ in range(3))


def flops_of(spec: NetworkSpec, batch: int) -> float:
    """Operations of a training step for an image: convolutions and products, forward and back."""
    from torch.utils.flop_counter import FlopCounterMode

    net = built(spec).to("meta")
    with FlopCounterMode(display=False) as counted:
        net(torch.empty(batch, 3, 32, 32, device="meta")).sum().backward()
    return counted.get_total_flops() / batch


class Listed(torch.utils.data.Dataset[Any]):
    """Images one at a time through torchvision's transforms, as most code has it."""

    def __init__(self, task: Task) -> None:
        from torchvision import transforms as T

        pixels, self.labels = tensors(task.train, torch.device("cpu"))
        self.images = pixels.take(slice(0, len(self.labels))).permute(0, 2, 3, 1).numpy()
        self.transform = T.Compose(
            [
                T.ToPILImage(),
                T.RandomCrop(32, padding=MARGIN),
                T.RandomHorizontalFlip(),
                T.ToTensor(),
                T.Normalize((0.5,) * 3, (0.25,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images[index]), self.labels[index]


def with_loader(bench: Bench, task: Task, spec: NetworkSpec, numerics: str) -> float:
    """Images/s of the usual loop, its workers started before the clock."""
    net = built(spec).to(bench.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    workers = min(12, processors() - 1) if bench.is_gpu else 0
    loader = torch.utils.data.DataLoader(
        Listed(task),
        bench.sizes.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=bench.is_gpu,
    )
    net.train()
    batches = iter(loader)

    def steps(count: int) -> int:
        seen = 0
        for _ in range(count):
            try:
                x, y = next(batches)
            except StopIteration:  # the set was passed through
                break
            x, y = (t.to(bench.device, non_blocking=True) for t in (x, y))
            optimizer.zero_grad()
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=numerics == "bf16"):
                value = F.cross_entropy(net(x), y)
            value.backward()
            optimizer.step()
            seen += len(y)
        return seen

    # As users have it: torch chooses the kernels.
    steps(2 + 2 * workers)  # what the workers had ready when the clock starts is not counted
    return bench.rate(lambda: steps(100 if bench.is_gpu else 4))
