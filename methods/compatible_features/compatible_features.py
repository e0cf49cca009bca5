"""Networks trained so that the extractor of one works with the head of another.

Gygli, Uijlings, Ferrari: Towards Reusable Network Components by Learning Compatible
Representations, AAAI 2021, arXiv:2004.03898 (v1: Training Neural Networks to Produce Compatible
Features). Networks that share nothing but an auxiliary head at a split point, or their initial
weights, learn features that each other's heads can read. Nothing is fine-tuned and no mapping is
learned when the parts are recombined.

In symbols (the numbers are ours, see below), for task t with images and labels (x, y), extractor
f_t and head h_t, the auxiliary heads r and d that all tasks share, and the common classes C::

    (1)  own_t      = CE(h_t(f_t(x)), y)
    (2)  common_t   = CE(d(f_t(x)), index of y in C)   over images with y in C
    (3)  rotation_t = CE(r(f_t(x turned k times)), k)  k drawn from 0, 1, 2, 3
    (4)  minimise sum_t own_t + lambda_d common_t + lambda_r rotation_t
    (5)  identical initial weights: all f_t and h_t start from one draw
    (6)  incremental: (4) for a later t alone, with the first's r and d frozen

(1) to (4) are `loss`, (5) is `initial_network`, (6) is in `train` and `needs`.

What it costs: one whole network per task and no other parameters, since auxiliary heads are not
needed to predict. One training for all tasks together; incrementally one per task, whatever the
order. At the quickstart's size (digits, two tasks of 8 classes, 19,744 parameters per network, 30
epochs) a training takes 2 to 6 s, longest with rotation, whose images need a second pass through f;
the quickstart's 24 trainings take about 1.5 minutes (one thread of a busy virtual machine with two
cores, 2026-11-25).

Departs from the paper: its full text could not be read, so everything beyond the three ingredients
is reconstructed. Split points, auxiliary heads (shape, weights of their losses), optimiser,
schedule and the treatment of batch norm are our own; rotated images do not enter running statistics
unless asked. Incremental training is in the paper, but not in what we could read of it: here a
later network is trained alone, against the first one's auxiliary heads, frozen and in eval mode.
So it depends on the first network only, and each is trained once, whatever the order of the others.
The first network cannot know which classes it will share with later ones: unless `classes` names
them, its head d tells apart all of its own classes, which is more supervision than joint training
gives. Each task's images are normalised by the statistics of their own data set (the paper's way is
not known).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Self, cast

from torch import Tensor, nn
from torch.nn import functional as F

from methods.compatible_features.auxiliary_heads import PooledHead
from methods.compatible_features.class_rows import copy_class_rows
from methods.compatible_features.transforms import dihedral, rotate
from methods.pieces.batch_norm_statistics import held_statistics
from methods.pieces.losses import cross_entropy, masked_cross_entropy
from orchestrator import (
    Augmentation,
    Data,
    Kept,
    Method,
    Metric,
    Network,
    NetworkSpec,
    Part,
    Run,
    SameFeatures,
    Task,
    Trial,
    augmentation_axis,
    axis,
    common_classes,
    nearest,
    one_cycle,
    randint,
    relabel,
    roles,
    sgd,
)

Ingredient = Literal["rotation", "common", "identical", "trained", "shared", "regression"]


class CompatibleFeatures(Method):
    """Train one network per task, all at once or one after another, so that their parts fit
    together.

    `ingredients` make them compatible: `rotation` and `common` are auxiliary heads shared by all
    networks (which of four rotations; which of the common classes), `identical` gives all networks
    the same initial weights. Without any they are trained independently. Three more are references,
    not the paper's: `shared` is one extractor for all tasks (a multi-task network), `trained`
    starts later networks from the trained first one, and `regression` pulls a later extractor's
    features towards those of the first, frozen, on the later task's images.
    """

    name = "compatible_features"
    tasks = roles("tasks", at_least=1)
    former_settings: ClassVar[Mapping[str, Any]] = {"augment": False}
    metrics = (
        Metric(
            "accuracy",
            by=("task",),
            headline=True,
            optional=True,
            help="Accuracy on the test images of each task.",
        ),
    )
    components = (
        Kept("network", by=("task",)),
        Kept("auxiliary", by=("ingredient",), optional=True),
    )

    ingredients: frozenset[Ingredient] = axis(
        (),
        over=((), ("rotation",), ("common",), ("identical",)),
        smoke=("rotation", "common"),
        help="what makes the networks compatible, in any combination; none: independent training",
    )
    split: str = axis(
        "stage1",
        over=("stem", "stage1", "stage2", "stage3", "pool"),
        help="where f ends, and h, r and d begin; later: fewer layers in h",
    )
    identical_part: Literal["full", "extractor"] = axis(
        "full",
        over=("full", "extractor"),
        help="which initial weights are identical: those of f and h, or of f alone",
    )
    rotation_weight: float = axis(
        1.0,
        over=(0.1, 0.3, 1.0, 3.0, 10.0),
        help="lambda_r, of the rotation loss; more: features fit r better and their own task less",
    )
    common_weight: float = axis(
        1.0,
        over=(0.1, 0.3, 1.0, 3.0, 10.0),
        help="lambda_d, of the loss on common classes; more: features fit d better and the task's "
        "other classes less",
    )
    regression_weight: float = axis(
        1.0,
        over=(0.1, 1.0, 10.0),
        help="weight of the squared distance to the first extractor's features, as a share of "
        "their variance; more: features are nearer, and fit their own task less",
    )
    auxiliary: Literal["same_as_head", "linear", "mlp"] = axis(
        "same_as_head",
        over=("same_as_head", "linear", "mlp"),
        help="layers of r and d: those of h, one linear, or two; deeper ones are more flexible "
        "and constrain more of the features",
    )
    transforms: Literal["rotate", "dihedral"] = axis(
        "rotate",
        over=("rotate", "dihedral"),
        help="the four transforms that r tells apart; dihedral for images whose meaning a "
        "rotation changes, such as digits",
    )
    rotated_statistics: bool = axis(
        False,
        over=(False, True),
        help="rotated images, too, enter batch norm's running statistics",
    )
    same_order: bool = axis(
        False,
        over=(False, True),
        help="all networks read their data in the same order, which confounds 'identical'",
    )
    epochs: int = axis(
        30,
        over=(10, 30, 100),
        smoke=2,
        help="passes through the largest task's training images; more: r and d have more effect",
    )
    batch: int = axis(64, over=(32, 64, 128), help="images per step and task; more: fewer steps")
    lr: float = axis(
        0.1,
        over=(0.03, 0.1),
        help="highest learning rate of the one-cycle schedule; higher: weights move further from "
        "their initial values",
    )
    weight_decay: float = axis(
        5e-4, over=(1e-4, 5e-4), help="of all weights; more: smaller weights"
    )
    incremental: bool = axis(
        False,
        over=(False, True),
        help="later networks learn against the first one's auxiliary heads, frozen",
    )
    unlabelled: bool = axis(
        False, over=(False, True), help="labels of the tasks after the first are not used"
    )
    classes: tuple[str, ...] = axis(
        (),
        help="C, the classes that d tells apart; none named: those that all tasks share "
        "(incremental: the first task's); more: more directions of the features are shared",
    )
    other_networks: tuple[NetworkSpec, ...] = axis(
        (), help="networks of the tasks after the first, if they differ from the trial's"
    )
    augmentation: Augmentation = augmentation_axis()

    def train(self, run: Run) -> None:
        first, learning = run.tasks[0], list(run.tasks)
        if self.incremental:
            # Whoever recombines the networks opens this one result: it lists the first, too.
            run.adopt(*run.needs)
            if len(run.tasks) > 2:
                return  # each later network was trained in a trial with the first, see `needs`
            learning = learning[1:]  # the first network is trained already, and stays as it is
        nets = {task.name: self.initial_network(run, task) for task in learning}  # f_t and h_t
        if "shared" in self.ingredients:
            # Under several names: a step adds up the gradients of all tasks in these layers.
            for task in learning[1:]:
                nets[task.name].borrow(nets[first.name], self.split)
        heads = self.auxiliary_heads(run)  # r and d
        trained: dict[str, nn.Module] = {**nets, **heads}
        frozen: dict[str, nn.Module] = {}
        if self.incremental:  # (6)
            # The first network takes no part in the loss, but for `regression`. It is listed as
            # frozen so that the result certifies that it kept its bits.
            first_network = run.need("first").module("network", task=first.name)
            trained, frozen = {**nets}, {first.name: first_network, **heads}
        # Without labels there is no (1), and the accuracy of an untrained h would say nothing.
        labelled = [t for t in learning if t.name == first.name or not self.unlabelled]
        names = frozenset(task.name for task in labelled)
        run.fit(
            "joint",
            trained,
            partial(self.loss, labelled=names, first=first.name),
            {task.name: self.training_images(run, task) for task in learning},
            frozen=frozen,
            optimizer=sgd(self.lr, weight_decay=self.weight_decay),
            schedule=one_cycle(),
            epochs=self.epochs,
            batch=self.batch,
            watch=partial(self.validation_accuracies, run, nets, labelled),
        )
        for task in labelled:
            run.log(accuracy=run.accuracy(nets[task.name], task.test), by={"task": task.name})
        self.keep(run, nets, heads)

    def keep(self, run: Run, nets: Mapping[str, Part], heads: Mapping[str, Part]) -> None:
        for name, net in nets.items():
            run.keep("network", net, by={"task": name})
        for name, head in heads.items():
            run.keep("auxiliary", head, by={"ingredient": name})

    # --- (1) to (4): the losses, and the inputs of the auxiliary heads ----------------------------

    def loss(
        self, nets: Any, batch: Any, *, labelled: frozenset[str], first: str = ""
    ) -> dict[str, Tensor]:
        """The terms of (4), by name, which the fit adds up. Gradients of the auxiliary losses reach
        the auxiliary heads (unless these are frozen) and through them the extractors.
        """
        terms = {}
        for task, b in batch.items():
            if not self.reads_features:  # then no network is cut
                terms[f"own/{task}"] = cross_entropy(nets[task](b.x), b.y)
                continue
            # Views of the network's own layers; nothing is copied.
            extractor, head = nets[task].cut(self.split)  # f_t, h_t
            features = extractor(b.x)  # [B, C, H, W]; [B, C] after the pooling
            if task in labelled:
                terms[f"own/{task}"] = cross_entropy(head(features), b.y)  # (1)
            if "common" in self.heads and task in labelled:  # (2)
                # Images of classes outside C stay in the batch and count nothing; picking out the
                # others would make its shape depend on the data.
                common = masked_cross_entropy(nets["common"](features), b.common)
                terms[f"common/{task}"] = self.common_weight * common
            if "rotation" in self.heads:  # (3)
                logits = nets["rotation"](self.rotated_features(extractor, b))  # [B, 4]
                rotation = F.cross_entropy(logits, b.rotation)
                terms[f"rotation/{task}"] = self.rotation_weight * rotation
            if "regression" in self.ingredients:
                wanted = nets[first].extractor(self.split)(b.x).detach()
                apart = F.mse_loss(features, wanted) / (wanted.var(correction=0) + 1e-6)
                terms[f"regression/{task}"] = self.regression_weight * apart
        return terms

    def rotated_features(self, extractor: nn.Module, batch: Any) -> Tensor:
        """f_t of each image, turned k times as drawn for it, in a pass separate from that of the
        upright images. Batch norm normalises by this batch and, unless asked, does not record its
        statistics.
        """
        transform = rotate if self.transforms == "rotate" else dihedral
        rotated = transform(batch.x, batch.rotation)  # [B, C, H, W], turned by batch.rotation, [B]
        if self.rotated_statistics:
            return cast(Tensor, extractor(rotated))
        with held_statistics(extractor):
            return cast(Tensor, extractor(rotated))

    @property
    def heads(self) -> list[str]:
        """The ingredients that are auxiliary heads."""
        return sorted(self.ingredients & {"rotation", "common"})

    @property
    def reads_features(self) -> bool:
        """Whether a term of the loss is of the features at the split point."""
        return bool(self.heads) or "regression" in self.ingredients

    def auxiliary_heads(self, run: Run) -> dict[str, Part]:
        """r and d by ingredient: new ones or, incrementally, those of the first network."""
        if self.incremental:
            first = run.need("first")
            return {name: first.module("auxiliary", ingredient=name) for name in self.heads}
        return {name: self.new_auxiliary_head(run, name) for name in self.heads}

    def new_auxiliary_head(self, run: Run, ingredient: str) -> Part:
        """r or d: the layers of h with other outputs, or pooling and one or two linear layers."""
        outputs = 4 if ingredient == "rotation" else len(self.classes_in_common(run.tasks))
        # Drawn by the ingredient's name, not a task's: r and d exist once for all networks.
        network = run.network(ingredient, classes=outputs)
        if self.auxiliary == "same_as_head":
            return network.head(self.split)
        # Of [C, H, W], or of [C] behind the pooling
        channels = network.shape(self.split, run.image(run.tasks[0]))[0]
        hidden = 128 if self.auxiliary == "mlp" else 0
        return PooledHead(channels=channels, classes=outputs, hidden=hidden)

    def classes_in_common(self, tasks: Sequence[Task]) -> tuple[str, ...]:
        """C, the classes that d tells apart. A network that is trained first knows only its own."""
        return self.classes or common_classes(tasks[:1] if self.incremental else tasks)

    def training_images(self, run: Run, task: Task) -> Data:
        """A task's training images, with a new k for (3) each time an image is read, and the index
        of its class in C for (2).
        """
        images = task.train.augmented(self.augmentation)
        if "rotation" in self.ingredients:
            images = images.drawing(rotation=randint(4))
        if "common" in self.ingredients:
            # batch.common, [B]: 0 to |C| - 1, or IGNORED
            images = images.labelled(common=relabel(task, self.classes_in_common(run.tasks)))
        if self.same_order:
            images = images.ordered("all")
        return images

    def validation_accuracies(
        self, run: Run, nets: Mapping[str, nn.Module], tasks: Sequence[Task]
    ) -> dict[str, float]:
        """For the curves of the fit: each network's accuracy, if its task holds out images."""
        return {
            f"val_accuracy/{task.name}": run.accuracy(nets[task.name], task.validation_part)
            for task in tasks
            if task.held_out
        }

    # --- (5): initial weights ---------------------------------------------------------------------

    def initial_network(self, run: Run, task: Task) -> Network:
        """A task's network before its training, by (5) if `identical` is an ingredient.

        Rows of a classifier are drawn by the name of their class, so identical classifiers agree on
        the classes that they share and differ in the others.
        """
        spec = self.network_specs(run.trial)[task.name]
        if "identical" in self.ingredients:
            # One name for the random numbers of all networks, instead of the task's.
            net = run.network(task.name, task, start="identical", spec=spec)
            if self.identical_part == "extractor":
                # What it would be without the ingredient; its h is taken
                own = run.network(task.name, task, spec=spec)
                net.head(self.split).load_state_dict(own.head(self.split).state_dict())
            return net
        net = run.network(task.name, task, spec=spec)
        first = run.tasks[0]
        if "trained" in self.ingredients and task.name != first.name:
            # `take` leaves out the classifier, whose rows belong to classes: those go by name.
            trained = run.need("first").network(task=first.name)
            net.take(trained.state_dict())
            copy_class_rows(trained, first, net, task)
        return net

    def network_specs(self, trial: Trial) -> dict[str, NetworkSpec]:
        """The network that learns each task, by the task's name."""
        assert trial.network is not None
        # `zip` below is strict: `check` refuses a wrong number
        # of networks before this is asked for it.
        num_later = len(trial.tasks) - 1
        others = self.other_networks or (trial.network,) * num_later
        names = [task.name for task in trial.tasks]
        return dict(zip(names, (trial.network, *others), strict=True))

    def same_features(self, trial: Trial) -> Iterable[SameFeatures]:
        if self.reads_features:
            specs = self.network_specs(trial)
            yield SameFeatures(
                self.split,
                tuple((specs[task.name], task) for task in trial.tasks),
                "One auxiliary head reads them all; .resized(...) brings images to one size, "
                "projected(...) the features of different networks to one shape",
            )

    # --- (6), and which settings matter or exclude each other -------------------------------------

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        """Incremental training needs the first network, trained on its own. With several later
        tasks, each is trained in a trial with the first, and this trial only gathers the networks.
        """
        if not self.incremental or len(trial.tasks) < 2:
            return {}
        first, *later = trial.tasks
        # Reset what only later networks feel, so that all later
        # trials ask for one and the same first.
        alone = self.replace(
            incremental=False,
            unlabelled=False,
            other_networks=(),
            ingredients=self.ingredients - {"trained", "regression"},
        )
        needs = {"first": trial.replace(method=alone, tasks=(first,))}
        if len(later) == 1:
            return needs
        specs = self.network_specs(trial)
        for task in later:
            spec = specs[task.name]
            # As somebody would write it who asked for these two
            # tasks alone: the trial is the same then.
            pair = self.replace(other_networks=() if spec == trial.network else (spec,))
            needs[f"with/{task.name}"] = trial.replace(method=pair, tasks=(first, task))
        return needs

    @property
    def split_matters(self) -> bool:
        if self.reads_features or "shared" in self.ingredients:
            return True
        return "identical" in self.ingredients and self.identical_part == "extractor"

    def canonical(self) -> Self:
        # Reset, so that cells that differ in these alone are one trial.
        without_effect: list[str] = []
        if "rotation" not in self.ingredients:
            without_effect += ["rotation_weight", "transforms", "rotated_statistics"]
        if "common" not in self.ingredients:
            without_effect += ["common_weight", "classes"]
        if "regression" not in self.ingredients:
            without_effect += ["regression_weight"]
        if "identical" not in self.ingredients:
            without_effect += ["identical_part"]
        if not self.heads:
            without_effect += ["auxiliary"]
        if not self.split_matters:
            without_effect += ["split"]
        return self.reset(*without_effect)

    def check(self, trial: Trial) -> Iterable[str]:
        num_others, num_later = len(self.other_networks), len(trial.tasks) - 1
        if num_others and num_others != num_later:
            yield (
                f"other_networks names {num_others} networks for the {num_later} tasks behind "
                "the first"
            )
            return
        if self.split_matters and trial.network:
            # Each kind of network once, however many tasks it learns.
            different = {spec.label: spec for spec in self.network_specs(trial).values()}
            for spec in different.values():
                yield from spec.cannot_cut(self.split)
        yield from self.check_ingredients(trial.tasks)
        yield from self.check_classes(trial.tasks)

    def check_ingredients(self, tasks: Sequence[Task]) -> Iterable[str]:
        """Settings that do not go together."""
        given, num_later = self.ingredients, len(tasks) - 1
        if self.incremental and num_later < 1:
            yield "incremental training needs a task behind the first"
        if "trained" in given and not self.incremental:
            yield (
                "the ingredient 'trained' starts later networks from the first one, so it needs "
                "incremental=True"
            )
        if "regression" in given and not self.incremental:
            yield (
                "the ingredient 'regression' pulls later extractors towards the first one's, which "
                "is frozen, so it needs incremental=True"
            )
        starts = ("trained", "identical"), ("shared", "identical"), ("shared", "trained")
        for one, other in starts:
            if one in given and other in given:
                yield (
                    f"the ingredients {one!r} and {other!r} each say how a network starts; keep "
                    "one of them"
                )
        if "shared" in given and (self.incremental or self.other_networks):
            yield (
                "the ingredient 'shared' trains one extractor with all tasks at once: it goes with "
                "neither incremental training nor other networks"
            )
        if self.unlabelled and ("rotation" not in given or num_later < 1):
            yield (
                "unlabelled tasks are those behind the first, and learn by the ingredient "
                "'rotation' only"
            )
        # In the fit, networks go by the names of their tasks
        # and auxiliary heads by their ingredients.
        for name in sorted({task.name for task in tasks} & given):
            yield (
                f"a task is called {name!r}, like an ingredient; tell them apart with .named('...')"
            )

    def check_classes(self, tasks: Sequence[Task]) -> Iterable[str]:
        """Classes that no task has, and tasks that have too few of the classes in C."""
        known = list(dict.fromkeys(name for task in tasks for name in task.class_names))
        for name in self.classes:
            if name not in known:
                yield f"classes: no task has a class {name!r}. {nearest(name, known)}"
        if "common" not in self.ingredients:
            return
        common = self.classes_in_common(tasks)
        for task in tasks[:1] if self.unlabelled else tasks:
            mine = [name for name in common if name in task.class_names]
            if len(mine) < 2:
                yield (
                    "the ingredient 'common' needs at least two classes that all tasks share; "
                    f"{task.name} has {', '.join(mine) or 'none'} of {', '.join(common) or 'none'}"
                )
