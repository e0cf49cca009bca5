"""Memory: the peak of a trial alone, what it leaves behind, and a set that does not fit."""

from __future__ import annotations

import torch
from torch import nn

from gpu_parts.case import Bench, built, by_engine, made_up, table
from orchestrator.data.batches import one_trial
from orchestrator.training.observation import PeakMemory

MIB = 2**20


def memory(bench: Bench) -> None:
    task = made_up(bench.sizes.images)
    row = table("network", "numerics", "peak, MiB", "again, MiB", "left, MiB", "process, MiB")
    ratios, left = [1.0], 0.0
    for name, spec in bench.sizes.networks.items():
        for numerics in ("fp32", "bf16"):
            by_engine(bench, task, built(spec), numerics, 1)  # what libraries keep, they have now
            peaks = []
            for _ in range(2):
                with one_trial(1.0):
                    peak = PeakMemory(bench.device)
                    by_engine(bench, task, built(spec), numerics, 5)
                peaks.append(peak.read())
            on_gpu = [one.get("gpu", 0) / MIB for one in peaks]
            left = torch.cuda.memory_allocated(bench.device) / MIB if bench.is_gpu else 0.0
            row(name, numerics, *on_gpu, left, peaks[1].get("process", 0) / MIB)
            if bench.is_gpu and numerics == "fp32":
                ratios.append(on_gpu[1] / on_gpu[0])
    if bench.is_gpu:
        bench.figure("peak of a trial that runs again, times", max(ratios), most=1.05)
        # cuBLAS keeps a workspace of 32 MiB for each of two threads.
        bench.figure("left on the device behind a trial, MiB", left, most=100)
    streamed(bench)


def streamed(bench: Bench) -> None:
    """The same fit with the images on the device, and with no room for them there."""
    task, (name, spec) = made_up(bench.sizes.images), next(iter(bench.sizes.networks.items()))
    rates = {}
    for where, share in (("on the device", 1.0), ("streamed", 0.0)):
        with one_trial(share):
            net = built(spec)

            def work(steps: int, net: nn.Module = net) -> int:
                return by_engine(bench, task, net, "fp32", steps)

            steps = bench.steps_for(work)
            rates[where] = bench.rate(lambda work=work, steps=steps: work(steps))
    row = table("images of " + name, "images/s")
    for where, rate in rates.items():
        row(where, rate)
    bench.speed("streamed against on the device", rates["streamed"] / rates["on the device"], 0.5)
