"""Matrices: every extractor with every head, against whole networks one by one."""

from __future__ import annotations

import random
import time

from torch import nn

from gpu_parts.case import Bench, built, made_up, run_of, table
from methods.networks import resnet8
from orchestrator.data.batches import one_trial
from orchestrator.training.observation import PeakMemory

SAMPLE = 32


def matrices(bench: Bench) -> None:
    num_networks, num_images = bench.sizes.matrix
    task = made_up(num_images)
    row = table("cut at", "networks", "matrix, s", "one by one, s", "times", "peak, MiB", "agree")
    counts = {"pool": num_networks, "stage3": num_networks, "stage1": max(2, num_networks // 4)}
    worst, do_agree = float("inf"), True
    for split, count in counts.items():
        if bench.left < 10:
            print("time is up")
            break
        with one_trial(1.0), bench.computing("fp32"):
            together, apart, peak, agree = _measured(bench, task, split, count)
        row(split, count, together, apart, apart / together, peak / 2**20, agree)
        do_agree &= agree
        if split != "stage1":  # behind it, each pair needs most of a network's arithmetic
            worst = min(worst, apart / together)
    bench.figure("matrices whose entries differ", float(not do_agree), most=0)
    bench.speed("a matrix against whole networks, times, worst", worst, 10)


def _measured(bench: Bench, task: object, split: str, count: int) -> tuple[float, float, int, bool]:
    run = run_of(bench, task, "fp32")  # type: ignore[arg-type]
    (task,) = run.tasks
    nets = [built(resnet8(), seed).eval() for seed in range(count)]
    extractors, heads = [n.extractor(split) for n in nets], [n.head(split) for n in nets]
    pairs = [(i, j) for i in range(count) for j in range(count)]
    pairs = random.Random(0).sample(pairs, min(SAMPLE, len(pairs)))
    for i, j in pairs[:2]:  # to warm up
        run.accuracy(nn.Sequential(extractors[i], heads[j]), task.test)
    for net in nets:
        net.to("cpu")
    peak = PeakMemory(bench.device)
    began = time.monotonic()
    scores = run.recombine(extractors, heads, [task] * count).by_head.accuracy
    together = time.monotonic() - began
    highest = peak.read().get("gpu", 0)
    for net in nets:
        net.to(bench.device)
    began = time.monotonic()
    alone = {
        (i, j): run.accuracy(nn.Sequential(extractors[i], heads[j]), task.test) for i, j in pairs
    }
    apart = (time.monotonic() - began) / len(pairs) * count**2
    # An image may be a tie that falls the other way.
    tolerance = 3 / bench.sizes.matrix[1]
    agree = all(abs(scores[pair] - value) <= tolerance for pair, value in alone.items())
    return together, apart, highest, agree
