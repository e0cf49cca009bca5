"""How long a matrix of every extractor with every head takes, against evaluating every joined
network by itself.

64 resnet8 as drawn (time does not depend on weights), 2,000 test images of 32 x 32 pixels made
here. The peer is `run.accuracy` of each of the 4,096 joined networks, timed on a sample of pairs
before and after the matrix and scaled up; on the sample both must give the same accuracies. At
early split points nearly all of the arithmetic is the heads', which nobody can save: those rows are
measured on fewer networks and have no bar.

    python benchmarks/matrix.py
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Network, Run, Store, Trial, image_folder, resolve
from orchestrator.parts.recombination import recombine

BAR = 10.0
CASES = (("stage1", 12, False), ("stage2", 12, False), ("stage3", 64, True), ("pool", 64, True))
SAMPLE = 48


def images(folder: Path) -> None:
    """Two classes of 1,000 test images, and a few to train on, which nobody does."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 1000)):
        for name in ("first", "second"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(
                    folder / part / name / f"{number}.png", compress_level=0
                )


def measure(run: Run, nets: list[Network], split: str) -> tuple[float, float, bool]:
    """Seconds of the whole matrix; of all joined networks one by one, as far as the sample says;
    and whether the accuracies agree.
    """
    task = run.tasks[0]
    extractors, heads = [net.extractor(split) for net in nets], [net.head(split) for net in nets]
    pairs = random.Random(0).sample(  # the same ones each time
        [(i, j) for i in range(len(nets)) for j in range(len(nets))], SAMPLE
    )
    alone: dict[tuple[int, int], float] = {}

    def one_by_one(some: list[tuple[int, int]]) -> float:
        began = time.monotonic()
        for i, j in some:
            alone[i, j] = run.accuracy(nn.Sequential(extractors[i], heads[j]), task.test)
        return time.monotonic() - began

    one_by_one(pairs[:2])  # to warm up
    before = one_by_one(pairs[: SAMPLE // 2])
    began = time.monotonic()
    scores = recombine(extractors, heads, [task] * len(nets), run.device).by_head.accuracy
    together = time.monotonic() - began
    after = one_by_one(pairs[SAMPLE // 2 :])
    # One of 2,000 images may be a tie that falls the other way.
    agree = all(abs(scores[pair] - value) <= 1 / 2000 for pair, value in alone.items())
    # Half of the sample on either side of the matrix: a machine that slows down slows both.
    return together, (before + after) / SAMPLE * len(nets) ** 2, agree


def main() -> int:
    torch.set_num_threads(1)
    failed, worst = False, float("inf")
    with tempfile.TemporaryDirectory() as folder:
        images(Path(folder) / "images")
        task = image_folder(str(Path(folder) / "images")).validation(0).named("noise")
        run = Run(
            resolve(
                Trial(method=FineTune(), network=resnet8(), tasks=(task,), seed=0),
                Store(Path(folder) / "store"),
            ),
            {},
        )
        print(
            f"{'split':>8}{'networks':>10}{'pairs':>8}{'matrix s':>10}"
            f"{'one by one s':>14}{'times':>8}"
        )
        for split, count, counts in CASES:
            nets = [run.network(f"network {number}").eval() for number in range(count)]
            together, apart, agree = measure(run, nets, split)
            ratio = apart / together
            remark = "" if agree else "   accuracies differ"
            print(
                f"{split:>8}{count:>10}{count * count:>8}{together:>10.1f}"
                f"{apart:>14.1f}{ratio:>8.1f}{remark}"
            )
            failed |= not agree
            worst = min(worst, ratio) if counts else worst
    print(f"matrix: {worst:.1f} (bar {BAR:.0f})")
    return 1 if failed or worst < BAR else 0


if __name__ == "__main__":
    sys.exit(main())
