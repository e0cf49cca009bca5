"""Networks trained so that the extractor of one works with the head of another.

Gygli, Uijlings, Ferrari: Towards Reusable Network Components by Learning Compatible
Representations, AAAI 2021, arXiv:2004.03898 (v1: Training Neural Networks to Produce Compatible
Features). Networks that share nothing but an auxiliary head at a split point, or their initial
weights, learn features that each other's heads can read, with no fine-tuning and no mapping in
between.

Departs from the paper: the full text could not be read, so everything below the three ingredients
is reconstructed. Split points, auxiliary heads (shape, weights of their losses), optimiser,
schedule and the treatment of batch norm are our own; rotated images do not enter running statistics
unless asked. Incremental training (the paper has it; how is reconstructed): a later network is
trained alone, against the first one's auxiliary heads, frozen and in eval mode by then. So a later
network depends on the first only, and whatever order the others come in, each is trained once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal, Self

from torch import Tensor, nn
from torch.nn import functional as F

from methods.compatible_features.auxiliary_heads import Kind, auxiliary_head
from methods.compatible_features.ingredients import (
    Ingredient,
    data,
    networks,
    reasons,
    same_features,
    start,
    told_apart,
)
from methods.compatible_features.transforms import dihedral, rotate
from methods.pieces.batch_norm_statistics import held_statistics
from methods.pieces.losses import masked_cross_entropy
from orchestrator import Kept, Method, Metric, NetworkSpec, Run, Trial, axis, one_cycle, roles, sgd


class CompatibleFeatures(Method):
    """Train one network a task, all at once or one after another, so that their parts fit together.

    `ingredients` make them compatible: `rotation` and `common` are auxiliary heads shared by all
    networks (which of four rotations; which of the common classes), `identical` gives all networks
    the same initial weights. Without any they are trained independently. Two more are references,
    not the paper's: `shared` is one extractor for all tasks (a multi-task network), `trained`
    starts later networks from the first as it was trained.
    """

    name = "compatible_features"
    tasks = roles("tasks", at_least=1)
    metrics = (Metric("accuracy", by=("task",), headline=True, optional=True),)
    components = (
        Kept("network", by=("task",)),
        Kept("auxiliary", by=("ingredient",), optional=True),
    )

    ingredients: frozenset[Ingredient] = axis(
        (),
        over=((), ("rotation",), ("common",), ("identical",)),
        smoke=("rotation", "common"),
        help="what makes the networks compatible",
    )
    split: str = axis(
        "stage1",
        over=("stem", "stage1", "stage2", "stage3", "pool"),
        help="where the auxiliary heads sit",
    )
    identical_part: Literal["full", "extractor"] = axis(
        "full", over=("full", "extractor"), help="which initial weights are identical"
    )
    rotation_weight: float = axis(1.0, over=(0.1, 0.3, 1.0, 3.0, 10.0), help="of the rotation loss")
    common_weight: float = axis(
        1.0, over=(0.1, 0.3, 1.0, 3.0, 10.0), help="of the loss on common classes"
    )
    auxiliary: Kind = axis(
        "same_as_head", over=("same_as_head", "linear", "mlp"), help="layers of an auxiliary head"
    )
    transforms: Literal["rotate", "dihedral"] = axis(
        "rotate", over=("rotate", "dihedral"), help="dihedral where upside down means something"
    )
    rotated_statistics: bool = axis(
        False, over=(False, True), help="rotated images enter batch norm's running statistics"
    )
    same_order: bool = axis(
        False,
        over=(False, True),
        help="all networks read their data in one order; confounds 'identical'",
    )
    epochs: int = axis(
        30, over=(10, 30, 100), smoke=2, help="passes through the largest task's training images"
    )
    batch: int = axis(64, over=(32, 64, 128), help="images a step and task")
    lr: float = axis(0.1, over=(0.03, 0.1), help="highest learning rate of the one-cycle schedule")
    weight_decay: float = axis(5e-4, over=(1e-4, 5e-4))
    incremental: bool = axis(
        False,
        over=(False, True),
        help="later networks learn against the first one's auxiliary heads, frozen",
    )
    unlabelled: bool = axis(
        False, over=(False, True), help="labels of the tasks behind the first are not used"
    )
    classes: tuple[str, ...] = axis(
        (),
        help="that 'common' tells apart; none named: those that all tasks share (incremental: the first task's)",
    )
    other_networks: tuple[NetworkSpec, ...] = axis(
        (), help="of the tasks behind the first, where they are not the trial's network"
    )
    augment: bool = axis(
        False, over=(False, True), help="random shifts by up to 4 pixels and horizontal flips"
    )

    @property
    def heads(self) -> list[str]:
        """Ingredients that are auxiliary heads."""
        return sorted(self.ingredients & {"rotation", "common"})

    @property
    def split_matters(self) -> bool:
        return (
            bool(self.heads)
            or "shared" in self.ingredients
            or ("identical" in self.ingredients and self.identical_part == "extractor")
        )

    def canonical(self) -> Self:
        idle = (
            {"rotation_weight", "transforms", "rotated_statistics"}
            if "rotation" not in self.ingredients
            else set()
        )
        idle |= {"common_weight", "classes"} if "common" not in self.ingredients else set()
        idle |= {"identical_part"} if "identical" not in self.ingredients else set()
        idle |= {"auxiliary"} if not self.heads else set()
        return self.reset(*idle, *(() if self.split_matters else ("split",)))

    def check(self, trial: Trial) -> Iterable[str]:
        return reasons(self, trial)

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        if not self.incremental or len(trial.tasks) < 2:
            return {}
        (first, *later), specs = trial.tasks, networks(self, trial)
        alone = self.replace(
            incremental=False,
            unlabelled=False,
            other_networks=(),
            ingredients=self.ingredients - {"trained"},
        )
        pairs = {
            t.name: self.replace(
                other_networks=(specs[t.name],) if specs[t.name] != trial.network else ()
            )
            for t in later
        }
        each = {
            f"with/{t.name}": trial.replace(method=pairs[t.name], tasks=(first, t)) for t in later
        }
        return {
            "first": trial.replace(method=alone, tasks=(first,)),
            **(each if len(later) > 1 else {}),
        }

    def train(self, run: Run) -> None:
        if self.incremental:
            run.adopt(*run.needs)
            if len(run.tasks) > 2:
                return
        nets = {
            task.name: start(self, run, task)
            for task in (run.tasks[1:] if self.incremental else run.tasks)
        }
        earlier: dict[str, nn.Module] = {}
        if self.incremental:
            heads = {
                name: run.need("first").module("auxiliary", ingredient=name) for name in self.heads
            }
            # The first network takes no part; among the frozen ones its bits are certified to stay
            # as they are.
            earlier = {
                run.tasks[0].name: run.need("first").module("network", task=run.tasks[0].name),
                **heads,
            }
        else:
            outputs = {"rotation": 4, "common": len(told_apart(self, run.tasks))}
            heads = {
                name: auxiliary_head(run, self.auxiliary, self.split, name, outputs[name])
                for name in self.heads
            }
        for net in list(nets.values())[1:] if "shared" in self.ingredients else ():
            net.borrow(nets[run.tasks[0].name], self.split)
        same_features(
            self, run, {**nets, **{n: net for n, net in earlier.items() if n not in heads}}
        )
        labelled = {name for name in nets if not self.unlabelled or name == run.tasks[0].name}
        watched = {
            name: run.tasks.by_name[name]
            for name in nets
            if name in labelled and run.tasks.by_name[name].held_out
        }
        run.fit(
            "joint",
            {**nets, **({} if earlier else heads)},
            partial(self.loss, labelled=frozenset(labelled)),
            {name: data(self, run, run.tasks.by_name[name]) for name in nets},
            frozen=earlier,
            optimizer=sgd(self.lr, weight_decay=self.weight_decay),
            schedule=one_cycle(),
            epochs=self.epochs,
            batch=self.batch,
            watch=lambda: {
                f"val_accuracy/{n}": run.accuracy(nets[n], t.validation_part)
                for n, t in watched.items()
            },
        )
        for name, net in nets.items():
            if name in labelled:
                run.log(accuracy=run.accuracy(net, run.tasks.by_name[name].test), by={"task": name})
            run.keep("network", net, by={"task": name})
        for name, head in heads.items():
            run.keep("auxiliary", head, by={"ingredient": name})

    def loss(self, nets: Any, batch: Any, *, labelled: frozenset[str]) -> dict[str, Tensor]:
        """Sum over tasks of the task's own loss and its auxiliary ones; gradients of these go into
        the head and into the extractor.
        """
        terms = {}
        for task, b in batch.items():
            extractor, head = nets[task].cut(self.split) if self.heads else (None, nets[task])
            features = extractor(b.x) if extractor else b.x
            if task in labelled:
                terms[f"own/{task}"] = F.cross_entropy(head(features), b.y)
            if "common" in self.heads and task in labelled:
                terms[f"common/{task}"] = self.common_weight * masked_cross_entropy(
                    nets["common"](features), b.common
                )
            if "rotation" in self.heads and extractor:
                turned = (
                    rotate(b.x, b.rotation)
                    if self.transforms == "rotate"
                    else dihedral(b.x, b.rotation)
                )
                features = (
                    extractor(turned) if self.rotated_statistics else _held(extractor, turned)
                )
                terms[f"rotation/{task}"] = self.rotation_weight * F.cross_entropy(
                    nets["rotation"](features), b.rotation
                )
        return terms


def _held(extractor: Any, x: Tensor) -> Tensor:
    with held_statistics(extractor):
        return extractor(x)  # type: ignore[no-any-return]
