"""Images a second of `run.fit` on a CPU, against loops written by hand; the training mathematics
are equal in all.

* hand: tensors in memory, the best of several layouts (uint8 or normalised floats kept, channels
  first or last), the same augmentation in vectorised form, no bookkeeping but the summed loss.
* usual: `DataLoader` with torchvision's transforms (v1, as most code has them), on as many cores:
  with one, in the training process; with two, the best of loading in the training process, two
  worker processes beside two threads, or beside one.

Network, initial weights, optimiser, schedule, batch, number of steps, normalisation and kind of
augmentation are the same. The best way of each peer is found in two rounds of all of them; then
`run.fit` is timed right before and right after it, again and again, and the figure is the median of
these ratios: a machine that slows down in between does so for both. Before anything is timed,
`run.fit` and the loop by hand train three steps on the same batches without augmentation and must
end with equal weights.

    python benchmarks/fit.py --data FOLDER      # with cifar10/*.parquet in it; without, random
    images of the same shape
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator import Augmentation, Method, Network, Run, Task, Trial, derive, sgd
from orchestrator.data import batches, sources
from orchestrator.data.augmenting import margin_of
from orchestrator.data.sources import Images
from orchestrator.spec.classes import class_at
from orchestrator.spec.task import DataRecord

# The bars against the usual loop are for a training that has this machine to itself; with one
# thread the ratio stands without a bar.
CORES = 2
BATCH, LR, MOMENTUM, DECAY = 128, 0.05, 0.9, 5e-4
BARS = {"hand": 0.95, ("usual", "cifar"): 1.1, ("usual", "small"): 1.5}


class Case:
    """One comparison: images, network, augmentation."""

    def __init__(self, name: str, task: Task, network: Any, augmentation: Augmentation) -> None:
        self.name, self.task, self.spec, self.augmentation = name, task, network, augmentation
        self.record = sources.load(task.data).record
        pixels, self.y = batches.tensors(task.train, torch.device("cpu"))
        self.x = pixels.take(slice(None)).clone()  # uint8, [N, C, H, W]
        height, width = self.x.shape[-2:]
        self.crop, self.flip = margin_of(augmentation, height, width), augmentation != "none"
        self.mean, self.std = (
            torch.tensor(v).view(1, -1, 1, 1) for v in (self.record.mean, self.record.std)
        )

    def net(self) -> nn.Module:
        torch.manual_seed(0)
        return class_at(self.spec.path, Network)(
            **dict(self.spec.settings), channels=self.record.shape[0], classes=10
        ).to(memory_format=torch.channels_last)

    def normalised(self, x: Tensor) -> Tensor:
        # In this order, so that three loops round alike.
        return (x.float() - self.mean * 255) * (1 / (self.std * 255))


def loss(nets: Any, batch: Any) -> Tensor:
    return F.cross_entropy(nets["net"](batch.x), batch.y)


class Timed(Method):
    """Stands for a method; its fit is called from here."""

    name = "timed"
    uses = frozenset({"tasks", "seed"})

    def train(self, run: Run) -> None:
        raise NotImplementedError


def by_engine(case: Case, epochs: int) -> tuple[float, nn.Module]:
    data = case.task.train.augmented(case.augmentation)
    net = case.net()
    trial = Trial(method=Timed(), tasks=(case.task,), seed=0)
    began = time.perf_counter()
    report = Run(trial, {}).fit(
        "train",
        {"net": net},
        loss,
        data,
        optimizer=sgd(LR, momentum=MOMENTUM, weight_decay=DECAY),
        epochs=epochs,
        batch=BATCH,
    )
    return report.images / (time.perf_counter() - began), net


def shifted(x: Tensor, crop: int, flip: bool) -> Tensor:
    """Random shifts and flips of a batch that is already padded, [B, C, H + 2 crop, W + 2 crop];
    one gather.
    """
    size, height, width = len(x), x.shape[2] - 2 * crop, x.shape[3] - 2 * crop
    down = torch.randint(2 * crop + 1, (size, 1)) + torch.arange(height)  # [B, H]: rows to take
    right = torch.randint(2 * crop + 1, (size, 1)) + torch.arange(width)
    if flip:
        right = torch.where((torch.rand(size) < 0.5)[:, None], right.flip(1), right)
    images = torch.arange(size)[:, None, None]
    # Indices with a slice between them put their own axes first: [B, H, W, C].
    return x[images, :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)


def by_hand(case: Case, epochs: int, floats: bool, last: bool) -> float:
    layout = torch.channels_last if last else torch.contiguous_format
    net = case.net().to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    x = F.pad(case.x, (case.crop,) * 4) if case.crop else case.x  # once, not at each step
    x = (case.normalised(x) if floats else x).contiguous(memory_format=layout)
    steps = len(case.y) // BATCH
    scale, shift = 1 / (case.std * 255), case.mean * 255
    began = time.perf_counter()
    net.train()
    for _ in range(epochs):
        order, total = torch.randperm(len(case.y)), torch.zeros(())
        for step in range(steps):
            index = order[step * BATCH : (step + 1) * BATCH]
            batch = shifted(x[index], case.crop, case.flip) if case.crop else x[index]
            batch = (batch if floats else (batch.float() - shift) * scale).contiguous(
                memory_format=layout
            )
            optimizer.zero_grad()
            value = F.cross_entropy(net(batch), case.y[index])
            value.backward()
            optimizer.step()
            total += value.detach()
        float(total)  # waits for the device, as the engine does once an epoch
    return epochs * steps * BATCH / (time.perf_counter() - began)


class Listed(torch.utils.data.Dataset):
    """Images one at a time through torchvision's transforms, as most code has it."""

    def __init__(self, case: Case) -> None:
        from torchvision import transforms as T

        moves = [T.RandomCrop(case.x.shape[-1], padding=case.crop)] if case.crop else []
        moves += [T.RandomHorizontalFlip()] if case.flip else []
        self.transform = T.Compose(
            [T.ToPILImage(), *moves, T.ToTensor(), T.Normalize(case.record.mean, case.record.std)]
        )
        self.images, self.labels = case.x.permute(0, 2, 3, 1).numpy(), case.y

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images[index]), self.labels[index]


def by_loader(case: Case, epochs: int, workers: int, threads: int) -> float:
    torch.set_num_threads(threads)
    net = case.net()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    loader = torch.utils.data.DataLoader(
        Listed(case),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    began, seen = time.perf_counter(), 0
    net.train()
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            seen += len(y)
    return seen / (time.perf_counter() - began)


def check_equal(case: Case) -> None:
    """The engine and the loop by hand end with the same weights after an epoch on the same
    batches.
    """
    plain = Case(case.name, case.task.images(limit=3 * BATCH + 60).validation(0), case.spec, "none")
    _, net = by_engine(plain, 1)
    other = plain.net()
    optimizer = torch.optim.SGD(other.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    # The engine's own order.
    generator = torch.Generator().manual_seed(derive(0, "train", "data", "data", 0, "order"))
    order = torch.randperm(len(plain.y), generator=generator)
    other.train()
    for step in range(len(plain.y) // BATCH):
        index = order[step * BATCH : (step + 1) * BATCH]
        optimizer.zero_grad()
        F.cross_entropy(
            other(plain.normalised(plain.x[index]).contiguous(memory_format=torch.channels_last)),
            plain.y[index],
        ).backward()
        optimizer.step()
    apart = max(
        float((a - b).detach().abs().max())
        for a, b in zip(net.parameters(), other.parameters(), strict=True)
    )
    assert apart < 1e-6, f"{case.name}: the engine computes something else ({apart})"


def made_up(name: str, shape: tuple[int, int, int], count: int) -> Task:
    """Random images under a data set's name, where the real ones are not at hand."""
    random = np.random.RandomState(0)
    x, y = random.randint(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % 10
    classes = tuple(str(c) for c in range(10))
    record = DataRecord(
        name=name,
        digest=name,
        classes=classes,
        shape=shape,
        counts=(count, count),
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
    )
    images = Images((x, y), (x, y), record, None)
    # The engine reads by name; this name gives what was made up, all others what they are.
    real = sources.load
    sources.load = lambda wanted: images if wanted == name else real(wanted)
    return Task(data=name).resolve(record)


def task_of(
    name: str, shape: tuple[int, int, int], count: int, real: Callable[[], Task] | None
) -> Task:
    if real is None:
        print(f"{name}: random images (name a folder with --data for real ones)")
        return made_up(name, shape, count)
    task = real()
    return task.resolve(sources.load(task.data).record).images(limit=count).validation(0)


def ways(threads: int) -> dict[str, dict[str, Callable[[Case, int], float]]]:
    """By peer and by name: loops that give images/s."""
    loops_by_hand = {}
    for floats, last in itertools.product((False, True), (False, True)):
        layout = f"{'floats' if floats else 'uint8'}, channels {'last' if last else 'first'}"
        loops_by_hand[layout] = partial(by_hand, floats=floats, last=last)
    loops_with_loader = {}
    shares = [(0, 1)] if threads == 1 else [(0, threads), (threads, threads), (threads, 1)]
    for num_workers, num_threads in shares:
        name = f"{num_workers} workers, {num_threads} threads"
        loops_with_loader[name] = partial(by_loader, workers=num_workers, threads=num_threads)
    return {"hand": loops_by_hand, "usual": loops_with_loader}


def rounds(case: Case, threads: int, count: int) -> dict[str, tuple[str, float, float, float]]:
    """By peer: its best way, its rate and ours (medians, images/s), and the median ratio of
    neighbours.
    """
    torch.set_num_threads(threads)
    best = {}
    for peer, candidates in ways(threads).items():
        rates = {
            name: statistics.median(loop(case, 1) for _ in range(2))
            for name, loop in candidates.items()
        }
        best[peer] = max(rates, key=lambda name: rates[name])
    ours: list[float] = []
    theirs: dict[str, list[float]] = {peer: [] for peer in best}
    ratios: dict[str, list[float]] = {peer: [] for peer in best}
    for _ in range(count):
        for peer, name in best.items():
            torch.set_num_threads(threads)
            before = by_engine(case, 1)[0]
            rate = ways(threads)[peer][name](case, 1)
            torch.set_num_threads(threads)
            ours += [before, by_engine(case, 1)[0]]
            theirs[peer].append(rate)
            ratios[peer].append((ours[-2] + ours[-1]) / 2 / rate)
    return {
        peer: (
            name,
            statistics.median(theirs[peer]),
            statistics.median(ours),
            statistics.median(ratios[peer]),
        )
        for peer, name in best.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", default=os.environ.get("SPOLIA_DATA"), help="folder of image sets"
    )
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    from methods.networks import resnet8, small_vgg
    from orchestrator import parquet, torchvision_set

    real = bool(chosen.data)
    if real:
        os.environ["SPOLIA_DATA"] = os.path.abspath(chosen.data)
    cases = {
        "cifar": Case(
            "cifar",
            task_of("cifar10", (3, 32, 32), 1408, (lambda: parquet("cifar10")) if real else None),
            resnet8(),
            "crop and flip",
        ),
    }
    fashion = task_of(
        "fashion", (1, 28, 28), 3200, (lambda: torchvision_set("FashionMNIST")) if real else None
    )
    cases["small"] = Case("small", fashion, small_vgg(width=8), "none")
    # No bar: the arithmetic itself takes nearly all the time.
    cases["width 16"] = Case("width 16", fashion, small_vgg(width=16), "none")
    print(
        f"{'case':8} {'threads':>7}  {'peer':5} {'its best way':22} {'images/s':>8} "
        f"{'run.fit':>8} {'ratio':>6}"
    )
    lines, fine = [], True
    for name, case in cases.items():
        check_equal(case)
        for threads in (1, 2):
            for peer, (way, rate, ours, ratio) in rounds(case, threads, chosen.rounds).items():
                print(
                    f"{name:8} {threads:7}  {peer:5} {way:22} {rate:8.0f} {ours:8.0f} {ratio:6.3f}",
                    flush=True,
                )
                bar = None
                if peer == "hand":
                    bar = BARS["hand"]
                elif threads == CORES:
                    bar = BARS.get(("usual", name))
                shown = f"bar {bar:g}" if bar else "no bar"
                lines.append(
                    f"fit, {name}, {threads} threads, against {peer}: {ratio:.3f} ({shown})"
                )
                fine &= bar is None or ratio >= bar
    print("\n".join(lines))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
