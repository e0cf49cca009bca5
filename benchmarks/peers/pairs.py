"""The experiment as a method of Spolia, which trains; what is measured, `recombine` knows.

Departs from the paper: there is none.
"""

from typing import Literal

from science import BATCH, EPOCHS, RATE, SPLITS, stages, trace
from torch.nn import functional as F

from orchestrator import Kept, Method, Network, axis, roles, sgd


class Tiny(Network):
    def __init__(self, *, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.set_stages(stages(channels, classes))


class Pair(Method):
    """Train two networks so that their parts may fit."""

    name = "pair"
    tasks = roles("a", "b")
    components = (Kept("network", by=("task",)),)

    recipe: Literal["own", "same", "shared"] = axis("own", over=("own", "same", "shared"))
    split: str = axis("conv3", over=tuple(SPLITS))

    def canonical(self):
        return self if self.recipe == "shared" else self.reset("split")

    def train(self, run):
        trace("begin", self.recipe, self.split, run.seed)
        nets = {}
        for task in run.tasks:
            name = "both" if self.recipe == "same" else task.name
            nets[task.name] = run.network(task.name, task, start=name)
        trained = dict(nets)
        if self.recipe == "shared":
            trained["back"] = run.network("back", run.tasks.a).head(self.split)
        images = {task.name: task.train for task in run.tasks}
        run.fit(
            "train", trained, self.loss, images, optimizer=sgd(RATE), epochs=EPOCHS, batch=BATCH
        )
        for task in run.tasks:
            run.keep("network", nets[task.name], by={"task": task.name})
        trace("end", self.recipe, self.split, run.seed)

    def loss(self, nets, batch):
        terms = {}
        for task, b in batch.items():
            terms[task] = F.cross_entropy(nets[task](b.x), b.y)
            if "back" in nets:
                front, _ = nets[task].cut(self.split)
                terms[f"back/{task}"] = F.cross_entropy(nets["back"](front(b.x)), b.y)
        return terms
