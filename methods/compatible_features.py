"""Networks trained so that the extractor of one works with the head of another.

Gygli, Uijlings, Ferrari: Towards Reusable Network Components by Learning Compatible Representations, AAAI 2021, arXiv:2004.03898 (v1: Training
Neural Networks to Produce Compatible Features). Networks that share nothing but an auxiliary head at a split point, or their initial weights, learn
features that each other's heads can read, with no fine-tuning and no mapping in between.

Departs from the paper: the full text could not be read, so everything below the three ingredients is reconstructed. Split points, auxiliary heads
(shape, weights of their losses), optimiser, schedule and the treatment of batch norm are our own; rotated images do not enter running statistics
unless asked. Training here is simultaneous; the paper's incremental training is not part of this file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self

from torch import Tensor
from torch.nn import functional as F

from methods._auxiliary import Kind, auxiliary_head
from methods._losses import masked_cross_entropy
from methods._statistics import held_statistics
from methods._transforms import dihedral, rotate
from orchestrator.errors import nearest
from orchestrator.method import Kept, Method, Metric, axis, roles
from orchestrator.network import Network
from orchestrator.optim import one_cycle, sgd
from orchestrator.reading import Data, randint
from orchestrator.run import Run
from orchestrator.task import Task, common_classes, relabel
from orchestrator.trial import Trial

Ingredient = Literal["rotation", "common", "identical"]


class CompatibleFeatures(Method):
    """Train one network a task, all at once, so that their parts fit together.

    `ingredients` make them compatible: `rotation` and `common` are auxiliary heads shared by all networks (which of four rotations; which of the
    common classes), `identical` gives all networks the same initial weights. Without any they are trained independently.
    """

    name = "compatible_features"
    tasks = roles("tasks", at_least=1)
    metrics = (Metric("accuracy", by=("task",), headline=True),)
    components = (Kept("network", by=("task",)), Kept("auxiliary", by=("ingredient",), optional=True))

    ingredients: frozenset[Ingredient] = axis(
        (), over=((), ("rotation",), ("common",), ("identical",)), smoke=("rotation", "common"), help="what makes the networks compatible"
    )
    split: str = axis("stage1", over=("stem", "stage1", "stage2", "stage3", "pool"), help="where the auxiliary heads sit")
    identical_part: Literal["full", "extractor"] = axis("full", over=("full", "extractor"), help="which initial weights are identical")
    rotation_weight: float = axis(1.0, over=(0.1, 0.3, 1.0, 3.0, 10.0), help="of the rotation loss")
    common_weight: float = axis(1.0, over=(0.1, 0.3, 1.0, 3.0, 10.0), help="of the loss on common classes")
    auxiliary: Kind = axis("same_as_head", over=("same_as_head", "linear", "mlp"), help="layers of an auxiliary head")
    transforms: Literal["rotate", "dihedral"] = axis("rotate", over=("rotate", "dihedral"), help="dihedral where upside down means something")
    rotated_statistics: bool = axis(False, over=(False, True), help="rotated images enter batch norm's running statistics")
    same_order: bool = axis(False, over=(False, True), help="all networks read their data in one order; confounds 'identical'")
    epochs: int = axis(30, over=(10, 30, 100), smoke=2, help="passes through the largest task's training images")
    batch: int = axis(64, over=(32, 64, 128), help="images a step and task")
    lr: float = axis(0.1, over=(0.03, 0.1), help="highest learning rate of the one-cycle schedule")
    weight_decay: float = axis(5e-4, over=(1e-4, 5e-4))
    augment: bool = axis(False, over=(False, True), help="random shifts by up to 4 pixels and horizontal flips")

    @property
    def heads(self) -> list[str]:
        """Ingredients that are auxiliary heads."""
        return sorted(self.ingredients - {"identical"})

    @property
    def split_matters(self) -> bool:
        return bool(self.heads) or ("identical" in self.ingredients and self.identical_part == "extractor")

    def canonical(self) -> Self:
        idle = {"rotation_weight", "transforms", "rotated_statistics"} if "rotation" not in self.ingredients else set()
        idle |= {"common_weight"} if "common" not in self.ingredients else set()
        idle |= {"identical_part"} if "identical" not in self.ingredients else set()
        idle |= {"auxiliary"} if not self.heads else set()
        return self.reset(*idle, *(() if self.split_matters else ("split",)))

    def check(self, trial: Trial) -> Iterable[str]:
        if trial.network and self.split_matters and self.split not in trial.network.splits:
            yield f"{trial.network.name} has no split point {self.split!r}. {nearest(self.split, trial.network.splits)}"
        if "common" in self.ingredients and len(common_classes(trial.tasks)) < 2:
            yield f"the ingredient 'common' needs at least two classes that all tasks share; shared: {common_classes(trial.tasks) or 'none'}"

    def train(self, run: Run) -> None:
        nets = {task.name: self.start(run, task) for task in run.tasks}
        outputs = {"rotation": 4, "common": len(common_classes(run.tasks))}
        heads = {name: auxiliary_head(run, self.auxiliary, self.split, name, outputs[name]) for name in self.heads}
        watched = {name: (net, run.tasks.by_name[name]) for name, net in nets.items() if run.tasks.by_name[name].held_out}
        run.fit("joint", {**nets, **heads}, self.loss, {task.name: self.data(run, task) for task in run.tasks},
                optimizer=sgd(self.lr, weight_decay=self.weight_decay), schedule=one_cycle(), epochs=self.epochs, batch=self.batch,
                watch=lambda: {f"val_accuracy/{n}": run.accuracy(net, t.validation_part) for n, (net, t) in watched.items()})  # fmt: skip
        for task in run.tasks:
            run.log(accuracy=run.accuracy(nets[task.name], task.test), by={"task": task.name})
            run.keep("network", nets[task.name], by={"task": task.name})
        for name, head in heads.items():
            run.keep("auxiliary", head, by={"ingredient": name})

    def start(self, run: Run, task: Task) -> Network:
        """The task's network as drawn: all from one start where initial weights are identical (Gygli et al. 2020, 'identical initial weights')."""
        if "identical" not in self.ingredients:
            return run.network(task.name, task)
        net = run.network(task.name, task, start="identical")
        if self.identical_part == "extractor":
            net.head(self.split).load_state_dict(run.network(task.name, task).head(self.split).state_dict())
        return net

    def data(self, run: Run, task: Task) -> Data:
        data = task.train.augmented() if self.augment else task.train
        data = data.drawing(rotation=randint(4)) if "rotation" in self.ingredients else data
        data = data.labelled(common=relabel(task, common_classes(run.tasks))) if "common" in self.ingredients else data
        return data.ordered("all") if self.same_order else data

    def loss(self, nets: Any, batch: Any) -> dict[str, Tensor]:
        """Sum over tasks of the task's own loss and its auxiliary ones; gradients of these go into the head and into the extractor."""
        terms = {}
        for task, b in batch.items():
            extractor, head = nets[task].cut(self.split) if self.heads else (None, nets[task])
            features = extractor(b.x) if extractor else b.x
            terms[f"own/{task}"] = F.cross_entropy(head(features), b.y)
            if "common" in self.heads:
                terms[f"common/{task}"] = self.common_weight * masked_cross_entropy(nets["common"](features), b.common)
            if "rotation" in self.heads and extractor:
                turned = rotate(b.x, b.rotation) if self.transforms == "rotate" else dihedral(b.x, b.rotation)
                features = extractor(turned) if self.rotated_statistics else _held(extractor, turned)
                terms[f"rotation/{task}"] = self.rotation_weight * F.cross_entropy(nets["rotation"](features), b.rotation)
        return terms


def _held(extractor: Any, x: Tensor) -> Tensor:
    with held_statistics(extractor):
        return extractor(x)  # type: ignore[no-any-return]
