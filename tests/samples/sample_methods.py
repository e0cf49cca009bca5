"""Small methods that do one thing each, for tests. Importable by workers, as every method must be.

Departs from the paper: there is none.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import nn
from torch.nn import functional as F

from orchestrator import (
    Kept,
    MatrixSpec,
    Method,
    Metric,
    Network,
    Part,
    Plot,
    Resources,
    Run,
    Trial,
    axis,
    roles,
    sgd,
)
from orchestrator.errors import Diverged


def note(folder: str, word: str) -> None:
    """Leave a trace that survives the process: one file a call."""
    if folder:
        Path(folder, f"{word}-{time.monotonic_ns()}-{os.getpid()}").touch()


def wait_until(is_so: Callable[[], bool], seconds: float = 300.0) -> None:
    """Wait for what another process does. Raises where it does not come."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing within {seconds:g} s")
        time.sleep(0.05)


class Count(Method):
    """Logs its number plus those of its needs; a chain of `depth`."""

    name = "count"
    uses = frozenset({"seed"})
    metrics = (Metric("total", headline=True),)

    number: float = axis(1.0, over=(1.0, 2.0))
    depth: int = axis(0)
    fan: int = axis(1)
    folder: str = axis("")
    nap: float = axis(0.0)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        if not self.depth:
            return {}
        return {
            f"n{i}": trial.replace(
                method=self.replace(depth=self.depth - 1, number=self.number + i)
            )
            for i in range(self.fan)
        }

    def train(self, run: Run) -> None:
        note(self.folder, f"count-{self.depth}-{self.number:g}-{run.seed}")
        time.sleep(self.nap)
        run.log(total=self.number + sum(n.metric("total") for n in run.needs.values()))


class Together(Count):
    """The same, and a process ends its first only when another one has begun."""

    name = "together"

    def train(self, run: Run) -> None:
        super().train(run)
        wait_until(lambda: len({f.name.rsplit("-")[-1] for f in Path(self.folder).iterdir()}) > 1)


class Waits(Method):
    """Waits until there is a file."""

    name = "waits"
    uses = frozenset({"seed"})
    metrics = (Metric("total", headline=True),)

    file: str = axis("")
    folder: str = axis("")

    def train(self, run: Run) -> None:
        note(self.folder, f"waits-{run.seed}")
        wait_until(Path(self.file).exists)
        run.log(total=1.0)


class Epochs(Method):
    """Epochs that only last, and are noted down; their state is a number."""

    name = "epochs"
    uses = frozenset({"seed"})
    metrics = (Metric("total", headline=True),)

    epochs: int = axis(2)
    nap: float = axis(0.0)
    folder: str = axis("")

    def train(self, run: Run) -> None:
        net = torch.nn.Linear(1, 1)
        for epoch in run.epochs("loop", self.epochs, net=net):
            time.sleep(self.nap)
            note(self.folder, f"epoch-{epoch}")
        run.log(total=float(self.epochs))


class Named(Method):
    """Logs its number, and prints what it is called."""

    name = "named"
    uses = frozenset({"seed"})
    metrics = (Metric("total", headline=True),)

    called: str = axis("")
    number: float = axis(1.0)

    def train(self, run: Run) -> None:
        print(self.called)
        run.log(total=self.number)


class Seedless(Method):
    """Counts the images of its task: there is nothing in it that a seed could change."""

    name = "seedless"
    uses = frozenset({"tasks"})
    tasks = roles("task")
    metrics = (Metric("total", headline=True),)

    def train(self, run: Run) -> None:
        run.log(total=run.count(run.tasks.task.train))


class Faulty(Method):
    """Ends in the way that `how` names, and can be needed by another that wants it."""

    name = "faulty"
    uses = frozenset({"seed", "tasks", "network"})
    tasks = roles("task")
    metrics = (Metric("total"),)

    how: str = axis("raise")
    folder: str = axis("")

    def train(self, run: Run) -> None:
        note(self.folder, f"faulty-{self.how}")
        if self.how == "gpu":
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        net = run.network("net")

        def loss(nets: Any, batch: Any) -> torch.Tensor:
            value = F.cross_entropy(nets["net"](batch.x), batch.y)
            return value * float("nan") if self.how == "nan" else value

        def second_epoch() -> dict[str, float]:
            if self.how == "raise" and len(calls) == 1:
                raise ZeroDivisionError("something in epoch 2")
            calls.append(1)
            return {}

        calls: list[int] = []
        run.fit(
            "train",
            {"net": net},
            loss,
            run.tasks.task.train,
            optimizer=sgd(0.01),
            epochs=3,
            watch=second_epoch,
        )
        if self.how == "infeasible":
            run.infeasible("it cannot be")
        if self.how == "undeclared":
            run.log(acuracy=1.0)
        run.log(total=1.0)


class After(Method):
    """Needs a `Faulty` that ends as `how` says."""

    name = "after"
    tasks = roles("task")
    metrics = (Metric("total"),)

    how: str = axis("raise")

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return {"before": trial.replace(method=Faulty(how=self.how))}

    def train(self, run: Run) -> None:
        run.log(total=2.0)


class AfterAnything(After):
    """The same, but a need that diverged will do."""

    name = "after_anything"
    accepts_diverged = True


class Greedy(Method):
    """Asks for more threads than any machine here has."""

    name = "greedy"
    uses = frozenset({"seed"})
    metrics = (Metric("threads"),)

    def resources(self, trial: Trial) -> Resources:
        return Resources(cpus=64, gpus=8)

    def train(self, run: Run) -> None:
        run.log(threads=torch.get_num_threads())


class KillsItsWorker(Method):
    """Kills its own process as often as `times` says, each time once what it has printed is in the
    store, whose folder of logs is `logs`; with more than the retries it is lost.
    """

    name = "kills_its_worker"
    uses = frozenset({"seed"})
    metrics = (Metric("total"),)

    folder: str = axis("")
    times: int = axis(1)
    logs: str = axis("")

    def train(self, run: Run) -> None:
        note(self.folder, "try")
        num_tries = len(list(Path(self.folder).glob("try-*")))
        line = f"about to go, try {num_tries} of {self.times}\n"
        print(line, end="")
        if num_tries <= self.times:
            logs = Path(self.logs)
            wait_until(lambda: any(line in log.read_text() for log in logs.glob("*.txt")))
            os.kill(os.getpid(), signal.SIGKILL)
        run.log(total=1.0)


class Circular(Method):
    """Needs itself, by way of another setting."""

    name = "circular"
    uses = frozenset({"seed"})
    metrics = (Metric("total"),)

    side: bool = axis(False)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return {"other": trial.replace(method=Circular(side=not self.side))}

    def train(self, run: Run) -> None:
        run.log(total=0.0)


class Endless(Method):
    """Needs one more of itself, for ever."""

    name = "endless"
    uses = frozenset({"seed"})
    metrics = (Metric("total"),)

    step: int = axis(0)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return {"next": trial.replace(method=Endless(step=self.step + 1))}

    def train(self, run: Run) -> None:
        run.log(total=0.0)


class Unfit(Method):
    """Needs a fine-tuning without giving it a task."""

    name = "unfit"
    metrics = (Metric("total"),)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        from methods.fine_tune import FineTune

        return {"base": trial.replace(method=FineTune(), tasks=())}

    def train(self, run: Run) -> None:
        run.log(total=run.need("base").metric("accuracy"))


class Dropping(Part):
    """A network with dropout and batch norm, whose training draws random numbers at every step."""

    def __init__(self, *, channels: int = 1, classes: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(256, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Attached(Method):
    """Keeps a part that is nothing without the network it was made for."""

    name = "attached"
    tasks = roles("task")
    components = (Kept("mask"),)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        from methods.fine_tune import FineTune

        return {"base": trial.replace(method=FineTune(epochs=1))}

    def train(self, run: Run) -> None:
        run.keep(
            "mask",
            Dropping(),
            requires=run.need("base").component("network", task=run.tasks.task.name),
        )


class Between(Part):
    """Between the front of one network and the back of another, it changes nothing."""

    def __init__(self, *, split: str) -> None:
        super().__init__()
        self.split = split

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def joined(self, front: Network, back: Network) -> nn.Module:
        return nn.Sequential(front.extractor(self.split), self, back.head(self.split))


class Stitched(Method):
    """Keeps a part that two networks are needed for."""

    name = "stitched"
    tasks = roles("task")
    components = (Kept("stitch", by=("task",)),)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        from methods.fine_tune import FineTune

        copies = trial.replace(method=FineTune(epochs=0)).copies(2)
        return dict(zip(("front", "back"), copies, strict=True))

    def train(self, run: Run) -> None:
        name = run.tasks.task.name
        required = {
            which: need.component("network", task=name) for which, need in run.needs.items()
        }
        run.keep("stitch", Between(split="stem"), by={"task": name}, requires=required)


class Taskless(Method):
    """Keeps a part that has nothing to do with any task."""

    name = "taskless"
    uses = frozenset({"seed"})
    components = (Kept("part"),)

    def train(self, run: Run) -> None:
        run.keep("part", Between(split="stem"))


class TwoFits(Method):
    """A fit with dropout, arithmetic in between, a layer made after it, and a second fit against
    the first net, frozen.
    """

    name = "two_fits"
    uses = frozenset({"tasks", "seed"})
    tasks = roles("task")
    metrics = (Metric("accuracy"),)
    components = (Kept("net", by=("which",)),)

    epochs: int = axis(3, smoke=2)

    def canonical(self) -> Self:
        return self

    def check(self, trial: Trial) -> Iterable[str]:
        return ()

    def train(self, run: Run) -> None:
        task = run.tasks.task
        first = Dropping(classes=task.num_classes)
        run.fit(
            "first",
            {"net": first},
            self.loss,
            task.train.augmented("crop and flip"),
            optimizer=sgd(0.05),
            epochs=self.epochs,
            batch=16,
        )
        with torch.no_grad():
            weight = first.layers[0].weight
            weight.mul_(weight.abs() > weight.abs().median())
        second = Dropping(
            classes=task.num_classes
        )  # drawn from the global stream, which must stand at the same place after a skipped fit
        run.fit(
            "second",
            {"net": second},
            self.distil,
            task.train,
            optimizer=sgd(0.05),
            epochs=self.epochs,
            batch=16,
            frozen={"teacher": first},
        )
        run.log(accuracy=run.accuracy(second, task.test))
        run.keep("net", first, by={"which": "first"})
        run.keep("net", second, by={"which": "second"})

    def loss(self, nets: Any, batch: Any) -> torch.Tensor:
        return F.cross_entropy(nets["net"](batch.x), batch.y)

    def distil(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        out = nets["net"](batch.x)
        return {
            "own": F.cross_entropy(out, batch.y),
            "teacher": F.mse_loss(out, nets["teacher"](batch.x)),
        }


class Looped(Method):
    """Trains by a loop of its own, with dropout, and prints."""

    name = "looped"
    uses = frozenset({"tasks", "seed"})
    tasks = roles("task")
    metrics = (Metric("accuracy"),)
    components = (Kept("net"),)

    epochs: int = axis(2, smoke=2)
    say: str = axis("")

    def train(self, run: Run) -> None:
        task = run.tasks.task
        net = Dropping(classes=task.num_classes)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for _ in run.epochs("loop", self.epochs, net=net, optimizer=optimizer):
            net.train()
            total = 0.0
            for batch in run.batches(task.train.augmented("crop and flip"), batch=16):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(batch.x), batch.y)
                loss.backward()
                optimizer.step()
                total += float(loss.detach())
            run.curve(loss=total)
        if self.say:
            print(self.say)
        run.log(accuracy=run.accuracy(net, task.test))
        run.keep("net", net)


class WearsOut(Part):
    """Linear, until it has been called `lasts` times; from then on its output is not finite."""

    def __init__(self, *, classes: int, lasts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, classes)
        self.lasts = lasts
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.linear(x.flatten(1)) / (self.calls <= self.lasts)


class Diverging(Method):
    """Two stages, the second of which diverges in its second epoch, in the engine's loop or in one
    of its own.
    """

    name = "diverging"
    uses = frozenset({"tasks", "seed"})
    tasks = roles("task")

    loop: Literal["fit", "own"] = axis("fit")

    def train(self, run: Run) -> None:
        task = run.tasks.task
        net = WearsOut(classes=task.num_classes, lasts=2)
        train = self.own_loop if self.loop == "own" else self.fit
        train(run, "first", net, epochs=1)
        train(run, "second", net, epochs=3)

    def fit(self, run: Run, stage: str, net: nn.Module, epochs: int) -> None:
        data = run.tasks.task.train
        batch = run.count(data)
        run.fit(
            stage, {"net": net}, self.loss, data, optimizer=sgd(0.05), epochs=epochs, batch=batch
        )

    def own_loop(self, run: Run, stage: str, net: nn.Module, epochs: int) -> None:
        data = run.tasks.task.train
        for _ in run.epochs(stage, epochs, net=net):
            for batch in run.batches(data, batch=run.count(data)):
                run.curve(loss=float(self.loss({"net": net}, batch).detach()))

    def loss(self, nets: Any, batch: Any) -> torch.Tensor:
        return F.cross_entropy(nets["net"](batch.x), batch.y)


class Adopting(Method):
    """Passes on what a fine-tuning left."""

    name = "adopting"
    tasks = roles("task")
    metrics = (Metric("accuracy", by=("task",)),)
    components = (Kept("network", by=("task",)),)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        from methods.fine_tune import FineTune

        return {"base": trial.replace(method=FineTune(epochs=1))}

    def train(self, run: Run) -> None:
        run.adopt("base")


class Priced(Method):
    """Worth ten times its size, and a little for its seed; priced by size."""

    name = "priced"
    uses = frozenset({"seed"})
    metrics = (Metric("worth", headline=True), Metric("price"))
    plots = (Plot("worth", "price", along="size"),)
    size: int = axis(1, over=(1, 2, 3))
    shape: Literal["round", "flat"] = axis("round", over=("round", "flat"))

    def train(self, run: Run) -> None:
        run.log(worth=10 * self.size + (run.seed or 0), price=self.size)


class Noisy(Method):
    """A score that depends on the level a little and on the seed a lot."""

    name = "noisy"
    uses = frozenset({"seed"})
    metrics = (Metric("score", headline=True),)

    level: float = axis(0.0)

    def train(self, run: Run) -> None:
        seed = run.seed or 0
        run.log(score=self.level + 10.0 * seed + 0.001 * ((seed * 7 + int(self.level * 100)) % 5))


class Graded(Method):
    """A score by part that grows with the kind and, on the second part only, falls with the order;
    quality prefers a rate of 2.
    """

    name = "graded"
    uses = frozenset({"seed"})
    metrics = (Metric("score", by=("part",), headline=True), Metric("quality"))

    kind: Literal["floor", "middle", "ceiling"] = axis("floor")
    rate: float = axis(1.0)
    order: int = axis(0)

    def train(self, run: Run) -> None:
        noise = 10.0 * (run.seed or 0) + 0.01 * ((run.seed or 0) % 2)
        level = {"floor": 0.0, "middle": 0.8, "ceiling": 1.0}[self.kind] * (1 + self.order)
        run.log(score=noise + level, by={"part": "a"})
        run.log(score=noise - 2.0 * self.order, by={"part": "b"})
        run.log(quality=-abs(self.rate - 2.0))


class Tabled(Method):
    """A matrix of as many rows as asked for, and one with a single entry."""

    name = "tabled"
    uses = frozenset({"seed"})
    metrics = (Metric("score", headline=True),)
    matrices = (
        MatrixSpec("table", "row", "column", headline=True),
        MatrixSpec("single", "row", "column"),
    )

    size: int = axis(2)
    tone: str = axis("low")

    def train(self, run: Run) -> None:
        rows = [f"r{i}" for i in range(self.size)]
        run.matrix(
            "table",
            rows=rows,
            columns=["c0", "c1"],
            values=[[0.5, 0.25 * (run.seed or 0)]] * self.size,
        )
        run.matrix("single", rows=["r"], columns=["c"], values=[[1.0]])
        run.log(score=1.0)


class Ending(Method):
    """Scores its seed, then ends in the way that `ways` names for it: done, diverged, infeasible or
    raise.
    """

    name = "ending"
    uses = frozenset({"seed"})
    metrics = (Metric("score", headline=True), Metric("side", headline=True, optional=True))

    ways: tuple[str, ...] = axis(("done",))

    def way(self, seed: int | None) -> str:
        return self.ways[(seed or 0) % len(self.ways)]

    def train(self, run: Run) -> None:
        run.log(score=float(run.seed or 0))
        if run.seed == 0:
            run.log(side=0.5)
        way = self.way(run.seed)
        if way == "diverged":
            raise Diverged("it grows without end")
        if way == "infeasible":
            run.infeasible("it cannot be")
        if way == "raise":
            raise ZeroDivisionError("it fell over")


class AfterEnding(Ending):
    """Twice the score of an `Ending`; infeasible where that has none."""

    name = "after_ending"
    metrics = (Metric("score", headline=True),)
    accepts_diverged = True

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return {"before": trial.replace(method=Ending(ways=self.ways))}

    def train(self, run: Run) -> None:
        before = run.need("before")
        if before.outcome != "done":
            run.infeasible("there is nothing to double")
        run.log(score=2 * before.metric("score"))


class DoneAnyway(AfterEnding):
    """Done, whatever became of the `Ending`."""

    name = "done_anyway"

    def train(self, run: Run) -> None:
        run.log(score=1.0)


class LearnsTarget(Method):
    """Scores 0.3 and a little for its seed on the last task."""

    name = "learns_target"
    uses = frozenset({"tasks", "seed"})
    tasks = roles("source", "targets", at_least=1)
    metrics = (Metric("accuracy", by=("task",), headline=True), Metric("cost"))
    plots = (Plot("accuracy", "cost"),)

    def train(self, run: Run) -> None:
        run.log(accuracy=0.3 + 0.01 * (run.seed or 0), by={"task": run.tasks[-1].name})
        run.log(cost=1.0)


class ScoresEveryTask(LearnsTarget):
    """Scores 0.9 on the first task, too, and less on the last."""

    name = "scores_every_task"

    def train(self, run: Run) -> None:
        run.log(accuracy=0.9, by={"task": run.tasks[0].name})
        run.log(accuracy=0.2 + 0.01 * (run.seed or 0), by={"task": run.tasks[-1].name})
        run.log(cost=2.0)


class ScoresTargets(ScoresEveryTask):
    """The same, and says that it learns the last one only."""

    name = "scores_targets"
    metrics = (Metric("accuracy", by=("task",), headline=True, of_targets=True), Metric("cost"))


class OneBase(Method):
    """Trials of all seeds share one need."""

    name = "one_base"
    uses = frozenset({"seed"})
    metrics = (Metric("score", headline=True),)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        return {"base": trial.replace(method=Ending(), seed=0)}

    def train(self, run: Run) -> None:
        run.log(score=float(run.seed or 0))
