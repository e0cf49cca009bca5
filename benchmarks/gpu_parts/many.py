"""How many at once? E small networks one after another, in one CUDA graph, under `vmap`, and in E
processes. Experiments of this benchmark: of these ways, the engine has the first.

All train on batches of 128 random crops of one set on the device; figures are images/s of all
models together, behind what is done once (capture, start of processes), whose seconds are shown.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from gpu_parts.case import DECAY, LR, MOMENTUM, Bench, ByHand, built, by_engine, made_up, table
from gpu_parts.exact import largest_difference
from orchestrator import NetworkSpec, Task

Measure = Callable[[int], tuple[float, float]]  # of so many models, images/s and seconds once
BRANCHES = 8  # streams within one graph: models beside each other
SHORTEST = 8.0  # seconds that a way and a number of models are worth beginning for


def many(bench: Bench) -> None:
    task, (name, spec) = made_up(bench.sizes.images), next(iter(bench.sizes.networks.items()))
    best: dict[str, float] = {}
    processes = Processes(bench, min(8, max(bench.sizes.models)))
    try:
        processes.get_ready()  # before anything is timed
        all_ways(bench, task, spec, processes, best)
    finally:
        processes.end()
        for way, rate in best.items():
            bench.figure(f"{name}, fp32, {way}, most images/s", rate)
    guarded(lambda _: same_bits(bench, task, spec), 2)


def all_ways(
    bench: Bench, task: Task, spec: NetworkSpec, processes: Processes, best: dict[str, float]
) -> None:
    """Each number of models in each way, as long as there is time; `best` takes the highest
    rates.
    """
    row = table("numerics", "models", "way                   ", "images/s", "models/h", "once, s")
    for numerics in ("fp32", "bf16"):
        alone = one_after_another(bench, task, spec, numerics)
        for count in bench.sizes.models:
            ways: dict[str, Measure] = {"one after another": lambda _, a=alone: (a, 0.0)}
            ways["vmap"] = lambda n, t=numerics: under_vmap(bench, task, spec, t, n)
            if count <= processes.count:
                ways["processes"] = lambda n, t=numerics: processes.rate(t, n)
            # Last, because a capture that fails may leave the device in any state.
            ways["in one graph"] = lambda n, t=numerics: in_one_graph(bench, task, spec, t, n)
            for way, measure in ways.items():
                if bench.left < SHORTEST:
                    print("time is up")
                    return
                rate, once = guarded(measure, count)
                # A training of 100 passes through 50,000 images.
                row(numerics, count, way.ljust(22), rate, rate * 3600 / 5e6, once)
                if numerics == "fp32":
                    best[way] = max(best.get(way, 0.0), rate)


def guarded(measure: Measure, count: int) -> tuple[float, float]:
    """A way that fails, or finds no memory, costs its row only."""
    try:
        return measure(count)
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}")
        torch.cuda.empty_cache()
        return float("nan"), float("nan")


def one_after_another(bench: Bench, task: Task, spec: NetworkSpec, numerics: str) -> float:
    """What `run.fit` does: E models take E times as long as one."""
    net = built(spec)
    steps = bench.steps_for(lambda n: by_engine(bench, task, net, numerics, n))
    return bench.rate(lambda: by_engine(bench, task, net, numerics, steps))


# ---------------------------------------------------------------------- one graph


class Graph:
    """A step of several models, captured once and replayed: no launches from Python. Each model is
    a branch of the graph, so that small kernels run beside each other.
    """

    def __init__(self, bench: Bench, models: list[ByHand]) -> None:
        self.models, self.device = models, bench.device
        self.now = [tuple(t[0].clone() for t in model.drawn(1)) for model in models]
        self.branches: list[torch.cuda.Stream] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        if not bench.is_gpu:
            return
        num_branches = min(BRANCHES, len(models))
        self.branches = [torch.cuda.Stream(self.device) for _ in range(num_branches)]
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # so that libraries choose, and optimisers remember, before
                self.once()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=side):
            self.once()

    def once(self) -> None:
        if not self.branches:
            for model, now in zip(self.models, self.now, strict=True):
                model.step(*now)
            return
        here = torch.cuda.current_stream()
        for branch in self.branches:
            branch.wait_stream(here)
        for number, (model, now) in enumerate(zip(self.models, self.now, strict=True)):
            with torch.cuda.stream(self.branches[number % len(self.branches)]):
                model.step(*now)
        for branch in self.branches:
            here.wait_stream(branch)

    def step(self, drawn: list[tuple[Tensor, ...]], number: int) -> None:
        for now, one in zip(self.now, drawn, strict=True):
            for buffer, values in zip(now, one, strict=True):
                buffer.copy_(values[number])
        if self.graph is None:
            self.once()
        else:
            self.graph.replay()

    def steps(self, count: int) -> int:
        drawn = [model.drawn(count) for model in self.models]
        for number in range(count):
            self.step(drawn, number)
        return count * sum(model.batch for model in self.models)


def in_one_graph(
    bench: Bench, task: Task, spec: NetworkSpec, numerics: str, count: int
) -> tuple[float, float]:
    with bench.computing(numerics):
        began = time.perf_counter()
        models = [ByHand(bench, task, spec, numerics, seed) for seed in range(count)]
        graph = Graph(bench, models)
        bench.wait()
        once = time.perf_counter() - began
        steps = bench.steps_for(lambda n: graph.steps(n) // count)
        return bench.rate(lambda: graph.steps(steps)), once


def same_bits(bench: Bench, task: Task, spec: NetworkSpec) -> tuple[float, float]:
    """How far models in a graph end from where each ends alone, after the same steps."""
    with bench.computing("fp32"):
        models = [ByHand(bench, task, spec, "fp32", seed) for seed in range(2)]
        alone = [ByHand(bench, task, spec, "fp32", seed) for seed in range(2)]
        drawn = [model.drawn(6) for model in models]
        graph = Graph(bench, models)
        for model, other in zip(models, alone, strict=True):
            # Capture has trained: begin where the others do, in the tensors that the graph knows.
            for mine, theirs in zip(
                model.net.state_dict().values(), other.net.state_dict().values(), strict=True
            ):
                mine.copy_(theirs)
            for state in model.optimizer.state.values():
                state["momentum_buffer"].zero_()
        for number in range(6):
            graph.step(drawn, number)
            for model, one in zip(alone, drawn, strict=True):
                model.step(*(values[number] for values in one))
    apart = max(
        largest_difference(_weights(model), _weights(other))
        for model, other in zip(models, alone, strict=True)
    )
    bench.figure("models in one graph and alone, largest difference", apart)
    return apart, 0.0


def _weights(model: ByHand) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in model.net.named_parameters()}


# ---------------------------------------------------------------------- vmap


def under_vmap(
    bench: Bench, task: Task, spec: NetworkSpec, numerics: str, count: int
) -> tuple[float, float]:
    """All models as one, their weights stacked: convolutions become grouped ones."""
    with bench.computing(numerics):
        began = time.perf_counter()
        loop = ByHand(bench, task, spec, numerics)
        nets = [built(spec, seed).to(bench.device).train() for seed in range(count)]
        parameters, buffers = stack_module_state(nets)
        structure = nets[0]
        optimizer = torch.optim.SGD(
            list(parameters.values()), lr=LR, momentum=MOMENTUM, weight_decay=DECAY
        )

        def one(p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(structure, (p, b), (x,)), y)

        def steps(number: int) -> int:
            drawn = [t.flatten(0, 1) for t in loop.drawn(number * count)]  # [steps E B, ...]
            size = count * loop.batch
            for start in range(0, number * size, size):
                x, y = loop.images(*(t[start : start + size] for t in drawn))
                x = x.view(count, loop.batch, *x.shape[1:])  # [E, B, C, H, W]
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast(bench.device.type, torch.bfloat16, enabled=loop.is_bf16):
                    losses = torch.vmap(one)(parameters, buffers, x, y.view(count, -1))
                losses.sum().backward()
                optimizer.step()
            return number * size

        steps(2)
        bench.wait()
        once = time.perf_counter() - began
        number = bench.steps_for(lambda n: steps(n) // count)
        return bench.rate(lambda: steps(number)), once


# ---------------------------------------------------------------------- processes


class Processes:
    """Processes that each train one model by the engine when they are told to."""

    def __init__(self, bench: Bench, count: int) -> None:
        self.bench, self.count, self._once = bench, count, 0.0
        script = Path(__file__).parents[1] / "gpu.py"
        command = [sys.executable, str(script), "--device", bench.device.type, "--one-of-many"]
        self._began = time.perf_counter()
        self._running = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]

    def _ask(self, some: list[subprocess.Popen[str]], words: str) -> list[str]:
        """One line from each, when all were told."""
        for process in some:
            assert process.stdin is not None
            process.stdin.write(words + "\n")
            process.stdin.flush()
        answers = []
        for process in some:
            assert process.stdout is not None
            answers.append(process.stdout.readline().strip())
        if any(not answer for answer in answers):
            raise RuntimeError("a process ended")
        return answers

    def get_ready(self) -> None:
        """Wait until each has imported, found its device and trained a little. Where one cannot,
        there are none.
        """
        try:
            self._ask(self._running, "ready?")
        except (RuntimeError, OSError) as error:
            print(f"no processes: {error}")
            self.count = 0
        self._once = time.perf_counter() - self._began

    def rate(self, numerics: str, count: int) -> tuple[float, float]:
        """Images/s of so many of them together."""
        some = self._running[:count]
        (steps,) = set(self._ask(some[:1], f"steps {numerics} {self.bench.sizes.seconds}"))
        self._ask(some[1:], f"train {numerics} 5")  # each warms up
        began = time.perf_counter()
        # As many steps as one alone takes a measurement's time for, shared out.
        share = max(5, int(steps) // count)
        images = sum(map(int, self._ask(some, f"train {numerics} {share}")))
        return images / (time.perf_counter() - began), self._once

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


def one_of_many(bench: Bench) -> None:
    """What such a process does: it reads a line, trains, and says how many images."""
    task, net = made_up(bench.sizes.images), built(next(iter(bench.sizes.networks.values())))

    def train(numerics: str, steps: int) -> int:
        images = by_engine(bench, task, net, numerics, steps)
        bench.wait()
        return images

    for line in sys.stdin:
        word, *rest = line.split()
        answer = "yes"
        if word == "steps":
            numerics, seconds = rest
            work = lambda n, t=numerics: train(t, n)  # noqa: E731
            answer = str(bench.steps_for(work, float(seconds)))
        elif word == "train":
            answer = str(train(rest[0], int(rest[1])))
        else:
            train("fp32", 3)
        print(answer, flush=True)
