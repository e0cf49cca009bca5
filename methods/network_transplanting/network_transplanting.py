"""Join a module for a new category to a task module that was trained for other categories.

Zhang, Yang, Yu, Wu: Network Transplanting, 2018, arXiv:1804.10272. Only a small adapter between the
two is learned, from few samples or none. It learns by back-distillation: the gradient of the output
with respect to the features should match that of the network trained for the new category.

In the order of this file (the numbers are ours: the paper could not be read)::

    (1)  y = g_S(h(f(I)))                            `Adapter`, `Transplanted`
    (2)  y(I, c, t) = g_t(h_ct(f_c(I))), categories c, tasks t   `TransplantNetwork`
    (3)  D(x) = dJ(g(x)) / dx with J(y) = v . y      `feature_gradient`
    (4)  D without any x: gates in place of ReLUs    `surrogate_gradient`
    (5)  L = L_task + lambda ||D_S - alpha D_T||^2   `loss`
    (6)  one category after another                  `absorb_in_turn`

f is a category module and g a task module: x = f(I) are the features of images I, y = g(x) the
outputs. The teacher T is the new category's own network, with g_T. The student S is the path from
the new category's f through the adapter h to g_S, the task module of another category, the host; v
is a random direction of the outputs.

What it costs: for each category its own f and an adapter of 9 C^2 + C parameters per convolution
(7 k of the 27 k on a path through resnet8 of width 8, cut after stage2). Trainings: one to
pre-train, one for the host, and for each guest one of its own network and one of the adapter; all
orders of the guests share them. On the quickstart's digits and network 6 seconds for three networks
and 5 for an adapter (one thread of an AMD EPYC, 2026-11-25).

Departs from the paper: neither its text nor code was available. Only the idea and the headline
claims have sources; the formulas are our reconstruction. `dummy` is our version of its gradients
without images, and `lin` the same without gates. In `dummy` the gates of the adapter's own ReLUs
are drawn, too; those that are open count 1 / p, so that the mean of D_S is what it is in `lin`.
`noise` (gradients at synthetic features, the default) and `real` (at features of images) are our
own, as are the adapter's shape, initial weights, steps and calibration, and the normalisation of
the loss. This method has one task module, `transplanted_tasks` several, with an adapter for each
pair of category and task. Two outputs and cross entropy stand in for one output and
logistic loss. Images are normalised like those of the pre-training and not augmented unless
`augmentation` says so (the paper adds mirror images).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from statistics import NormalDist
from typing import Any, Literal, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.compatible_features import CompatibleFeatures
from methods.fine_tune import FineTune
from methods.network_transplanting.margins import best_threshold, logits_of, margins
from methods.network_transplanting.report import (
    MATRICES,
    METRICS,
    PLOTS,
    log_all_guests,
    log_errors,
    unsuitable_tasks,
)
from methods.network_transplanting.surrogate_layers import (
    backward_through,
    gate_shapes,
    layers_of,
    output_shape,
    reasons_it_is_impassable,
)
from methods.pieces.losses import cross_entropy
from orchestrator import (
    Augmentation,
    Data,
    InputError,
    Kept,
    Method,
    Network,
    Noise,
    Part,
    Piece,
    Result,
    Run,
    Task,
    Trial,
    adam,
    augmentation_axis,
    axis,
    derive,
    noise,
    normal,
    one_cycle,
    roles,
)

Start = Literal["he", "dirac"]
SYNTHETIC_FEATURES = 2000  # per epoch
AnyModule = TypeVar("AnyModule", bound=nn.Module)


# (1) and (2): the modules.


class Adapter(Part):
    """h of (1): `depth` 3x3 convolutions with ReLU that keep the shape of features [B, C, H, W]; at
    depth 0 the identity. `offset` is what calibration adds to the last logit.
    """

    def __init__(self, *, channels: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        # Padding keeps H and W, and the number of channels
        # stays: g_S takes what f gives, so must h.
        for _ in range(depth):
            self.layers.append(nn.Conv2d(channels, channels, 3, padding=1))
            # Features at the cut come from a ReLU, so the adapter's output is not negative either.
            self.layers.append(nn.ReLU())
        self.register_buffer("offset", torch.zeros(()))  # a scalar; stored, but never trained

    @torch.no_grad()
    def initialise(self, start: Start, generator: torch.Generator) -> Adapter:
        """Draw the weights (He et al. 2015), or make them the identity on features that are not
        negative; biases are zero.
        """
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                if start == "he":
                    # [C, C, 3, 3]
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                else:
                    nn.init.dirac_(layer.weight)
                nn.init.zeros_(cast(Tensor, layer.bias))
        return self

    @torch.no_grad()
    def set_offset(self, offset: float) -> None:
        cast(Tensor, self.offset).fill_(offset)

    def calibrated(self, logits: Tensor) -> Tensor:
        """Logits [B, outputs, ...] with the offset added to the last one."""
        return torch.cat([logits[:, :-1], logits[:, -1:] + cast(Tensor, self.offset)], 1)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.layers(features))


class Transplanted(Part):
    """(1), one path of the network: a category module, an adapter and a task module, given by their
    configurations.
    """

    def __init__(
        self, *, category: dict[str, Any], adapter: dict[str, Any], task: dict[str, Any]
    ) -> None:
        super().__init__()
        self.category = Piece(**category)
        self.adapter = Adapter(**adapter)
        self.task = Piece(**task)

    @classmethod
    def of(cls, category: Piece, adapter: Adapter, task: Piece) -> Transplanted:
        """A path through copies of these three modules."""
        path = cls(category=category.config, adapter=adapter.config, task=task.config)
        path.category.load_state_dict(category.state_dict())
        path.adapter.load_state_dict(adapter.state_dict())
        path.task.load_state_dict(task.state_dict())
        return path.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, outputs, ...]."""
        return self.adapter.calibrated(self.task(self.adapter(self.category(images))))


class TransplantNetwork(Part):
    """The network of (2): for each task t its g_t, for each category c its f_c, and for each pair
    that has been joined its h_ct. It grows by copies, in any order; what is there never changes.

    `tasks` and `categories` are configurations by name, `adapters` by category and then by task.
    """

    def __init__(
        self,
        *,
        tasks: Mapping[str, Mapping[str, Any]] | None = None,
        categories: Mapping[str, Mapping[str, Any]] | None = None,
        adapters: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> None:
        super().__init__()
        self.tasks = nn.ModuleDict({_dotless(t): Piece(**g) for t, g in (tasks or {}).items()})
        self.categories = nn.ModuleDict(
            {_dotless(c): Piece(**f) for c, f in (categories or {}).items()}
        )
        self.adapters = nn.ModuleDict()
        for category, of_tasks in (adapters or {}).items():
            self.adapters[_dotless(category)] = nn.ModuleDict(
                {_dotless(task): Adapter(**h) for task, h in of_tasks.items()}
            )

    def with_task(self, name: str, g: Part) -> TransplantNetwork:
        """A copy with one more task module, which no category is joined to yet."""
        grown = self._grown("tasks", name, g.config)
        grown.tasks[_dotless(name)].load_state_dict(g.state_dict())
        return grown

    def with_category(self, name: str, f: Part) -> TransplantNetwork:
        """A copy with one more category module, which is joined to no task yet."""
        grown = self._grown("categories", name, f.config)
        grown.categories[_dotless(name)].load_state_dict(f.state_dict())
        return grown

    def with_adapter(self, category: str, task: str, h: Part) -> TransplantNetwork:
        """A copy in which this category is joined to this task, both of which it has."""
        of_tasks = {**(self.config.get("adapters") or {}).get(category, {}), task: h.config}
        grown = self._grown("adapters", category, of_tasks)
        of_category = cast(nn.ModuleDict, grown.adapters[_dotless(category)])
        of_category[_dotless(task)].load_state_dict(h.state_dict())
        return grown

    def _grown(self, where: str, name: str, config: Mapping[str, Any]) -> TransplantNetwork:
        entries = {**(self.config.get(where) or {}), name: dict(config)}
        grown = TransplantNetwork(**{**self.config, where: entries})
        # strict=False: what is new has no weights yet
        grown.load_state_dict(self.state_dict(), strict=False)
        return grown.eval()

    def forward(self, images: Tensor, category: str, task: str) -> Tensor:
        """y(I, c, t) of (2): images [B, C, H, W] of a category to logits [B, outputs, ...] of a
        task.
        """
        of_category = cast(nn.ModuleDict, self.adapters[_dotless(category)])
        adapter = cast(Adapter, of_category[_dotless(task)])
        features = self.categories[_dotless(category)](images)
        return adapter.calibrated(self.tasks[_dotless(task)](adapter(features)))


def _dotless(name: str) -> str:
    """Names of modules have no dot."""
    return name.replace(".", "_")


# (3) and (4): D, the gradient of J(y) = v . y with respect to the features.


def centred(logits: Tensor) -> Tensor:
    """Logits minus their mean over the outputs, to which the softmax is blind."""
    return logits - logits.mean(1, keepdim=True)


def directions(drawn: Tensor) -> Tensor:
    """v [B, outputs, ...] from normal numbers of that shape: directions that the softmax can see,
    with sum zero over the outputs and length sqrt(2). For two outputs v . y is their difference,
    with either sign.
    """
    # Equal in all outputs: the softmax, and so the loss, would not see such a direction.
    v = centred(drawn)
    length = v.flatten(1).norm(dim=1).clamp_min(1e-6)  # [B]
    return cast(Tensor, v / length.view(-1, *[1] * (drawn.ndim - 1)) * 2**0.5)


def feature_gradient(module: nn.Module, x: Tensor, v: Tensor) -> Tensor:
    """(3): D(x) = d(v . module(x)) / dx at features x [B, C, H, W], in the same shape. The gates of
    the ReLUs are the true ones at x. D can itself be differentiated.
    """
    # A leaf of its own: D is the gradient at x, whatever x was computed from.
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        # One sum for the whole batch: layers keep images apart
        # (frozen batch norms are in eval mode).
        j = (module(x) * v).sum()
        # The loss is a function of D, so its gradient goes through this one (double backward).
        return torch.autograd.grad(j, x, create_graph=True)[0]


def surrogate_gradient(
    module: nn.Module, features: Sequence[int], v: Tensor, gates: Mapping[str, Tensor]
) -> Tensor:
    """(4): D without any x, from the weights alone, for features [C, H, W] of one image: v [B,
    outputs, ...] is passed backwards to [B, C, H, W].

    At a ReLU the gradient is multiplied by its gate [B, ...], or passes unchanged if `gates` has
    none for it.
    """
    d = v
    # Each layer by its transposed map, pooling evenly; only ReLUs would need x, for their gates.
    for layer in reversed(layers_of(module, features)):
        if not layer.is_relu:
            d = backward_through(layer, d)
        elif layer.name in gates:
            d = d * gates[layer.name]
    return d


class NetworkTransplanting(Method):
    """Join the front of each guest's network to the back of the host's. All networks start from the
    one trained on the first task. Each guest is a trial of its own, so all orders of the guests
    share it.
    """

    name = "network_transplanting"
    revision = 2  # 2: with `dummy` the adapter's own ReLUs have gates
    tasks = roles("pretrain", "host", "guests", at_least=3)
    base_role = "pretrain"
    metrics = METRICS
    components = (Kept("transplanted", by=("category",)), Kept("network", optional=True))
    matrices, plots = MATRICES, PLOTS

    split: str = axis(
        "stage2",
        over=("stage1", "stage2"),
        help="where networks are cut into f and g; the later, the larger f and the smaller the "
        "shared g",
    )
    depth: int = axis(
        3,
        over=(0, 1, 3),
        help="n, convolutions of the adapter h: more can fit more and need more to learn from; "
        "0: no adapter",
    )
    start: Start = axis(
        "he",
        over=("he", "dirac"),
        help="first weights of h: drawn (He et al. 2015), or the identity (dirac)",
    )
    gradients: Literal["none", "lin", "dummy", "noise", "real", "input"] = axis(
        "noise",
        over=("none", "lin", "dummy", "noise", "real", "input"),
        help="gates of the ReLUs in D_S and D_T: all open (lin), drawn and the same in both "
        "(dummy), true at synthetic features (noise), true at features of the samples (real); "
        "input: as real, with respect to the images, a baseline (Srinivas and Fleuret 2018); "
        "none: gradients are not compared",
    )
    labels: Literal["none", "direct", "distill", "both", "hint", "synthetic"] = axis(
        "none",
        over=("none", "direct", "distill", "both", "hint", "synthetic"),
        help="L_task, what outputs y_S are compared with: labels (direct), y_T on the samples "
        "(distill), both, or y_T at synthetic features; hint: what the first stage of g_S makes of "
        "the samples, with that of g_T (Romero et al. 2015); baselines where gradients=none",
    )
    samples: int = axis(
        0,
        over=(0, 10, 20, 50, 100),
        help="N, training images of the category that the adapter may see; a larger N includes the "
        "images of a smaller one",
    )
    weight: float = axis(
        1.0,
        over=(0.1, 1.0, 10.0),
        help="lambda, weight of the gradients' term; the larger, the less L_task counts",
    )
    scale: Literal["one", "fitted"] = axis(
        "one",
        over=("one", "fitted"),
        help="alpha, the factor of D_T: one, or fitted to each batch, so that directions count "
        "and not lengths",
    )
    spread: float = axis(
        1.0,
        over=(0.5, 1.0, 2.0),
        help="sigma, standard deviation of synthetic features before their ReLU; the larger, the "
        "wider the range of features on which D_S and D_T must agree",
    )
    gates: float = axis(
        0.5,
        over=(0.25, 0.5, 0.75),
        help="p, share of the gates that dummy opens; the larger, the more it is like lin",
    )
    calibrate: Literal["none", "labels", "teacher", "decisions"] = axis(
        "none",
        over=("none", "labels", "teacher", "decisions"),
        help="gradients leave an additive constant open; it is set from the samples to give the "
        "least error on their labels, the teacher's mean margin (which misleads where margins are "
        "smaller than the teacher's), or the least error on what the teacher decides of them",
    )
    everything: bool = axis(
        False,
        help="a reference: train f and g_S, too, which breaks the rule that old parts never change",
    )
    new_task_module: bool = axis(
        False,
        help="a reference: in place of h and g_S a newly drawn g, learned from the samples' "
        "labels behind f; then no task module is shared",
    )
    steps: int = axis(
        600, over=(200, 600), smoke=5, help="of Adam; more take longer and fit more closely"
    )
    batch: int = axis(64, over=(32, 64), help="synthetic features, images, or both per step")
    lr: float = axis(
        1e-2, over=(1e-3, 1e-2), help="highest learning rate of Adam's one-cycle schedule"
    )
    augmentation: Augmentation = augmentation_axis()
    specific: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how the categories' own networks are trained"
    )
    jointly: CompatibleFeatures | None = axis(
        None,
        help="train host and guest together and from scratch instead, with one guest only",
    )

    @property
    def trains_the_adapter(self) -> bool:
        return self.depth > 0 and (self.gradients != "none" or self.labels != "none")

    @property
    def looks_at_samples(self) -> bool:
        return self.trains_on_samples or self.calibrate != "none"

    @property
    def trains_on_samples(self) -> bool:
        with_samples = ("direct", "distill", "both", "hint")
        return self.gradients in ("real", "input") or self.labels in with_samples

    def canonical(self) -> Self:
        # What trains no adapter compares nothing, whatever these two say.
        method = self
        if self.new_task_module:
            method = self.replace(depth=0, gradients="none", labels="direct", everything=False)
        elif not self.trains_the_adapter:
            method = self.replace(gradients="none", labels="none")
        compares_gradients = method.gradients != "none"
        trains = method.trains_the_adapter or method.new_task_module
        makes_a_difference = {
            "start": method.depth > 0,
            "specific": method.jointly is None,
            "weight": compares_gradients and method.labels != "none",
            "scale": compares_gradients,
            "spread": method.gradients == "noise" or method.labels == "synthetic",
            "gates": method.gradients == "dummy",
            "everything": method.trains_the_adapter,
            "steps": trains,
            "batch": trains,
            "lr": trains,
            "augmentation": method.trains_on_samples,
        }
        return method.reset(*(name for name, does in makes_a_difference.items() if not does))

    def check(self, trial: Trial) -> Iterable[str]:
        network = trial.network
        _, host, *guests = trial.tasks
        if network:
            yield from network.cannot_cut(self.split)
        modes = f"gradients={self.gradients}, labels={self.labels}"
        if self.looks_at_samples and not self.samples:
            yield f"{modes}, calibrate={self.calibrate} need images, and samples is 0"
        if self.samples and not self.looks_at_samples:
            yield f"samples={self.samples}, but nothing here looks at them ({modes})"
        if self.jointly is not None and len(guests) > 1:
            yield "jointly trains the host with one guest, so several guests have no host in common"
        yield from unsuitable_tasks(host, guests)
        if network and self.gradients in ("lin", "dummy"):
            # Only these two pass gradients backwards by the
            # weights alone, which not every layer allows.
            yield from reasons_it_is_impassable(network, self.split)

    @property
    def base_place(self) -> int | None:
        # Together and from scratch: nothing starts from the pre-trained network, so each task is
        # normalised by its own statistics, as `jointly` does where it stands alone.
        return None if self.jointly is not None else super().base_place

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        """For one guest: its own network and the host's. For several: a trial of this method for
        each of them, and the host's network.
        """
        pretrain, host, *guests = trial.tasks
        if self.jointly is not None:
            # One trial leaves both networks; `train` takes each by its task.
            together = trial.replace(method=self.jointly, tasks=(host, guests[0]))
            return {"host": together, "guest": together}
        # `specific` trains on the last task, starting from the network of the one before.
        host_network = trial.replace(method=self.specific, tasks=(pretrain, host))
        if len(guests) == 1:
            guest_network = trial.replace(method=self.specific, tasks=(pretrain, guests[0]))
            return {"host": host_network, "guest": guest_network}
        needs = {"host": host_network}
        for guest in guests:
            needs[guest.name] = trial.replace(tasks=(pretrain, host, guest))
        return needs

    def train(self, run: Run) -> None:
        _, host, *guests = run.tasks
        if len(guests) == 1:
            self.transplant(run, host, guests[0])
        else:
            self.absorb_in_turn(run, host, guests)
        log_all_guests(run, host, guests)

    def transplant(self, run: Run, host: Task, guest: Task) -> None:
        """Join the guest's f to the host's g_S by an adapter h. Only h is learned, but for
        `everything`.
        """
        guest_network = on_device(run, network_of(run.need("guest"), guest))
        host_network = on_device(run, network_of(run.need("host"), host))
        # A copy, so that `everything`, which trains f, leaves the guest's own network as it was.
        f = copy.deepcopy(guest_network).extractor(self.split)
        g_teacher, g_student = guest_network.head(self.split), host_network.head(self.split)
        # Before the fit: with no h between them
        bare = margins(run, nn.Sequential(f, g_student), guest.test)
        # [N, outputs, ...]; compared with those after the fit
        host_logits = logits_of(run, host_network, host.test)[0]
        if self.new_task_module:
            # By the guest's name: drawn anew for each category.
            g_student = run.network("new task module", guest, start=guest.name).head(self.split)
        path = self.joined(run, "adapter", guest, f, g_teacher, g_student)
        log_errors(
            run,
            guest,
            transplanted=margins(run, path, guest.test),
            own=margins(run, guest_network, guest.test),
            bare=bare,
            validation=margins(run, path, guest.validation_part) if guest.held_out else None,
        )
        run.log(samples=self.samples)
        # 0 unless g_S was trained: the promise that old parts never change, measured.
        change = np.abs(logits_of(run, host_network, host.test)[0] - host_logits).max()
        run.log(retention=float(change), by={"category": host.name})
        run.keep("transplanted", path, by={"category": guest.name})

    def joined(
        self, run: Run, stage: str, guest: Task, f: Piece, g_teacher: Piece, g_student: Piece
    ) -> Transplanted:
        """f and g_S with an adapter between them, which is trained in the stage of this name and
        calibrated, as the settings say.
        """
        # Of one image, [C, H, W]; no image is read for it
        features = output_shape(f, run.image(guest))
        h = self.new_adapter(features, run.seed)
        samples = guest.train.few(self.samples, seed=run.seed) if self.samples else None
        if self.trains_the_adapter or self.new_task_module:
            data = self.data_to_compare_on(samples, g_student, features)
            adapter: dict[str, nn.Module] = {"adapter": h.to(run.device)}
            self.fit_adapter(run, stage, adapter, f, g_student, g_teacher, data)
        path = on_device(run, Transplanted.of(f, h, g_student))
        if samples is not None and self.calibrate != "none":
            own = nn.Sequential(f, g_teacher)
            path.adapter.set_offset(self.missing_offset(run, path, own, samples))
        return path

    def fit_adapter(
        self,
        run: Run,
        stage: str,
        adapter: dict[str, nn.Module],
        f: nn.Module,
        g_student: nn.Module,
        g_teacher: nn.Module,
        data: Mapping[str, Data | Noise],
    ) -> None:
        """Minimise the loss over the adapter; what is in `frozen` keeps its bits."""
        joined, teacher = {"category": f, "task": g_student}, {"teacher": g_teacher}
        nets, frozen = adapter, {**joined, **teacher}
        if self.everything:
            # The teacher is never trained, or there would be nothing to agree with.
            nets, frozen = {**adapter, **joined}, teacher
        elif self.new_task_module:
            nets, frozen = {"task": g_student}, {**adapter, "category": f, **teacher}
        run.fit(
            stage,
            nets,
            self.loss,
            data,
            frozen=frozen,
            optimizer=adam(self.lr),
            schedule=one_cycle(),
            steps=self.steps,
            batch=self.batch,
        )

    def loss(self, nets: Any, batch: Any) -> dict[str, Tensor]:
        """(5): L = L_task + lambda ||D_S - alpha D_T||^2 / ||D_T||^2, both norms means over the
        batch. L_task is the cross entropy with the labels, the squared distance to the teacher's
        outputs, both, or nothing.
        """
        student = nn.Sequential(nets["adapter"], nets["task"])  # x -> y_S = g_S(h(x))
        # Features at a cut come from a ReLU, so synthetic ones
        # are not negative either. [B, C, H, W]
        synthetic = F.relu(self.spread * batch["noise"].x) if "noise" in batch else None
        real = nets["category"](batch["few"].x) if "few" in batch else None  # x = f(I)
        terms = {}
        if self.gradients != "none":
            x = synthetic if self.gradients == "noise" else real
            if self.gradients == "input":
                x = batch["few"].x
            d_student, d_teacher = self.both_gradients(nets, student, batch, x)
            size = d_teacher.square().mean()
            alpha: Tensor | float = 1.0
            if self.scale == "fitted":  # <D_S, D_T> / <D_T, D_T>
                # Bounded, or D_S = 0 with alpha = 0 would be a
                # perfect fit; detached, a constant of the step.
                alpha = ((d_student * d_teacher).mean() / size).clamp(0.1, 10.0).detach()
            mismatch = (d_student - alpha * d_teacher).square().mean()
            # Relative to D_T, so that lambda means the same at every depth and width.
            terms["back"] = self.weight * mismatch / size.clamp_min(1e-12)
        if self.labels in ("direct", "both"):
            terms["labels"] = cross_entropy(student(real), batch["few"].y)
        if self.labels in ("distill", "both", "synthetic"):
            x = synthetic if self.labels == "synthetic" else real
            # Without the mean over outputs, which the softmax does not see: [B, outputs, ...].
            y_student, y_teacher = centred(student(x)), centred(nets["teacher"](x))
            terms["outputs"] = F.mse_loss(y_student, y_teacher.detach())
        if self.labels == "hint":
            hinted, wanted = first_stage(nets["task"]), first_stage(nets["teacher"])
            guided, guide = hinted(nets["adapter"](real)), wanted(real).detach()
            # Relative to the teacher's activations, as D is to D_T
            size = guide.square().mean().clamp_min(1e-12)
            terms["hint"] = F.mse_loss(guided, guide) / size
        return terms

    def both_gradients(
        self, nets: Any, student: nn.Module, batch: Any, x: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """D_S and D_T for the same v, both [B, C, H, W], with the gates of this mode."""
        if self.gradients in ("noise", "real"):  # the true gates, at features x
            assert x is not None
            v = directions(batch["noise" if self.gradients == "noise" else "few"].direction)
            d_teacher = feature_gradient(nets["teacher"], x, v).detach()
            return feature_gradient(student, x, v), d_teacher
        if self.gradients == "input":  # through f as well, at images x
            assert x is not None
            v, f = directions(batch["few"].direction), nets["category"]
            d_teacher = feature_gradient(nn.Sequential(f, nets["teacher"]), x, v).detach()
            return feature_gradient(nn.Sequential(f, student), x, v), d_teacher

        features = batch["noise"].x.shape[1:]  # [C, H, W]; the numbers themselves are not used
        v = directions(batch["noise"].direction)
        gates: dict[str, Tensor] = {}  # `lin`: none, so all are open
        own_gates: dict[str, Tensor] = {}  # of h
        if self.gradients == "dummy":  # the same in g_T and g_S, each open with probability p
            # A normal number is above this with probability p.
            # What is drawn is the same for every p.
            threshold = NormalDist().inv_cdf(1 - self.gates)
            for name in gate_shapes(nets["teacher"], features):
                gates[name] = (getattr(batch["noise"], f"gate {name}") > threshold).float()
            for name in gate_shapes(nets["adapter"].layers, features):
                is_open = getattr(batch["noise"], f"own gate {name}") > threshold
                # Only D_S passes these: what is open makes up for what is shut.
                own_gates[name] = is_open.float() / self.gates
        d_teacher = surrogate_gradient(nets["teacher"], features, v, gates)
        # The chain rule: back through g_S first, then through h.
        d_after_h = surrogate_gradient(nets["task"], features, v, gates)
        d_student = surrogate_gradient(nets["adapter"].layers, features, d_after_h, own_gates)
        return d_student, d_teacher

    def absorb_in_turn(self, run: Run, host: Task, guests: Sequence[Task]) -> None:
        """(6): insert one category after another, with adapters that other trials have learned.
        Logs how much the logits of each category change with any later insertion, which must be 0.
        """
        run.adopt(*(guest.name for guest in guests))
        f, g = network_of(run.need("host"), host).cut(self.split)
        # The host is the first category, and the task is called after it.
        net = TransplantNetwork().with_task(host.name, g).with_category(host.name, f)
        identity = Adapter(channels=1, depth=0)  # g was trained on the host's own features
        net = on_device(run, net.with_adapter(host.name, host.name, identity))
        logits = {
            host.name: category_logits(run, net, host, host)
        }  # by category, at its own insertion
        largest_change = {host.name: 0.0}
        for guest in guests:  # an insertion must not change a bit of the earlier logits
            part = run.need(guest.name).module("transplanted", category=guest.name)
            path = cast(Transplanted, part)
            net = net.with_category(guest.name, path.category)
            net = on_device(run, net.with_adapter(guest.name, host.name, path.adapter))
            for name, before in logits.items():
                now = category_logits(run, net, run.tasks.by_name[name], host)
                change = np.abs(now - before).max()
                largest_change[name] = max(largest_change[name], float(change))
            logits[guest.name] = category_logits(run, net, guest, host)
            largest_change[guest.name] = 0.0
        for name, change in largest_change.items():
            run.log(retention=change, by={"category": name})
        run.keep("network", net)

    def new_adapter(self, features: Sequence[int], seed: int | None) -> Adapter:
        """h for one image's features [C, H, W]. Raises InputError for features that have no height
        and width.
        """
        if self.depth and len(features) != 3:
            raise InputError(
                f"features of shape {tuple(features)} have no height and width for a convolution; "
                "cut the network before its pooling"
            )
        # Not by the guest: the first weights of all adapters of a seed are equal.
        generator = torch.Generator().manual_seed(derive(seed, "adapter"))
        return Adapter(channels=features[0], depth=self.depth).initialise(self.start, generator)

    def data_to_compare_on(
        self, samples: Data | None, g: nn.Module, features: Sequence[int]
    ) -> dict[str, Data | Noise]:
        """What the fit reads: "noise" for synthetic features, "few" for the samples, or both. A
        direction v is drawn for each of them, and for `dummy` the gates of g and of h.
        """
        direction = normal(*output_shape(g, features))
        gates = {}
        if self.gradients == "dummy":
            for name, shape in gate_shapes(g, features).items():
                gates[f"gate {name}"] = normal(*shape)  # one number per unit of a ReLU and image
            own = Adapter(channels=features[0], depth=self.depth).layers
            for name, shape in gate_shapes(own, features).items():
                gates[f"own gate {name}"] = normal(*shape)
        data: dict[str, Data | Noise] = {}
        if self.gradients in ("lin", "dummy", "noise") or self.labels == "synthetic":
            synthetic = noise(*features, images=SYNTHETIC_FEATURES)
            data["noise"] = synthetic.drawing(direction=direction, **gates)
        if samples is not None and self.trains_on_samples:
            data["few"] = samples.augmented(self.augmentation).drawing(direction=direction)
        return data

    def missing_offset(
        self, run: Run, path: Transplanted, guest_network: nn.Module, samples: Data
    ) -> float:
        """What to add to the last logit, since (3) says nothing about a constant in y."""
        margin, labels = margins(run, path, samples)
        if self.calibrate == "labels":
            # The margin is the last logit minus the first, so an offset moves it by as much.
            return -best_threshold(margin, labels)
        of_teacher = margins(run, guest_network, samples)[0]
        if self.calibrate == "teacher":
            return float(np.mean(of_teacher) - np.mean(margin))
        decided = (of_teacher > 0).astype(np.int64)
        # All on one side: no threshold between them can be told.
        return 0.0 if len(np.unique(decided)) < 2 else -best_threshold(margin, decided)


def network_of(result: Result, task: Task) -> Network:
    """The network that a needed trial trained for a task."""
    return result.network(task=task.name)


def category_logits(run: Run, net: TransplantNetwork, category: Task, host: Task) -> Any:
    """Logits [N, outputs, ...] of the category's test images, on its path through the network."""
    path = partial(net, category=category.name, task=host.name)
    return logits_of(run, path, category.test)[0]


def first_stage(module: nn.Module) -> nn.Module:
    """The first layer group of a task module: what comes right behind the cut."""
    return next(cast(Piece, module).layers.children())


def on_device(run: Run, module: AnyModule) -> AnyModule:
    """A module on the trial's device, in eval mode and in the memory layout of a fit: another
    layout would round differently.
    """
    moved = module.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return cast(AnyModule, moved.eval())
