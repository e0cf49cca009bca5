"""Join a module for a new category to a task module that was trained for other categories.

Zhang, Yang, Yu, Wu: Network Transplanting, 2018, arXiv:1804.10272. Only a small adapter between the
two is learned, from few samples or none. It learns by back-distillation: the gradient of the output
with respect to the features should match that of the network trained for the new category.

In the order of this file (the numbers are ours: the paper could not be read)::

    (1)  y = g_S(h(f(I)))                            `Adapter`, `Transplanted`
    (2)  y(I, c) = g_S(h_c(f_c(I))), categories c    `TransplantNetwork`
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
without images, and `lin` the same without gates; in both the adapter's own ReLUs have no gates.
`noise` (gradients at synthetic features, the default) and `real` (at features of images) are our
own, as are the adapter's shape, initial weights, steps and calibration, and the normalisation of
the loss. The paper's network has many task modules and an adapter for each pair of category and
task; here it has one task module. Two outputs and cross entropy stand in for one output and
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
    nearest,
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
    """The network of (2), for one task: g_S, and for each category c its f_c and h_c."""

    def __init__(
        self, *, task: dict[str, Any], categories: Mapping[str, Mapping[str, Any]]
    ) -> None:
        super().__init__()
        self.task = Piece(**task)
        self.categories = nn.ModuleDict()
        self.adapters = nn.ModuleDict()
        for name, config in categories.items():
            self.categories[name] = Piece(**config["category"])
            self.adapters[name] = Adapter(**config["adapter"])

    def with_category(self, name: str, category: Part, adapter: Part) -> TransplantNetwork:
        """A copy with one more category, and with all that was there unchanged."""
        config = {"category": category.config, "adapter": adapter.config}
        categories = {**self.config["categories"], name: config}
        grown = TransplantNetwork(task=self.config["task"], categories=categories)
        # strict=False: the new category has no weights yet
        grown.load_state_dict(self.state_dict(), strict=False)
        grown.categories[name].load_state_dict(category.state_dict())
        grown.adapters[name].load_state_dict(adapter.state_dict())
        return grown.eval()

    def forward(self, images: Tensor, category: str) -> Tensor:
        """y(I, c) of (2): images [B, C, H, W] of a category to logits [B, outputs, ...]."""
        adapter = cast(Adapter, self.adapters[category])
        return adapter.calibrated(self.task(adapter(self.categories[category](images))))


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
    gradients: Literal["none", "lin", "dummy", "noise", "real"] = axis(
        "noise",
        over=("none", "lin", "dummy", "noise", "real"),
        help="gates of the ReLUs in D_S and D_T: all open (lin), drawn and the same in both "
        "(dummy), true at synthetic features (noise), true at features of the samples (real); "
        "none: gradients are not compared",
    )
    labels: Literal["none", "direct", "distill", "both", "synthetic"] = axis(
        "none",
        over=("none", "direct", "distill", "both", "synthetic"),
        help="L_task, what outputs y_S are compared with: labels (direct), y_T on the samples "
        "(distill), both, or y_T at synthetic features; with gradients=none these are baselines",
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
    calibrate: Literal["none", "labels", "teacher"] = axis(
        "none",
        over=("none", "labels", "teacher"),
        help="gradients leave an additive constant open; it is set from the samples to give the "
        "least error on their labels, or the teacher's mean margin",
    )
    everything: bool = axis(
        False,
        help="a reference: train f and g_S, too, which breaks the rule that old parts never change",
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
        return self.gradients == "real" or self.labels in ("direct", "distill", "both")

    def canonical(self) -> Self:
        # What trains no adapter compares nothing, whatever these two say.
        method = self
        if not self.trains_the_adapter:
            method = self.replace(gradients="none", labels="none")
        compares_gradients = method.gradients != "none"
        makes_a_difference = {
            "start": method.depth > 0,
            "specific": method.jointly is None,
            "weight": compares_gradients and method.labels != "none",
            "scale": compares_gradients,
            "spread": method.gradients == "noise" or method.labels == "synthetic",
            "gates": method.gradients == "dummy",
            "everything": method.trains_the_adapter,
            "steps": method.trains_the_adapter,
            "batch": method.trains_the_adapter,
            "lr": method.trains_the_adapter,
            "augmentation": method.trains_on_samples,
        }
        return method.reset(*(name for name, does in makes_a_difference.items() if not does))

    def check(self, trial: Trial) -> Iterable[str]:
        network = trial.network
        _, host, *guests = trial.tasks
        if network and self.split not in network.splits:
            known = nearest(self.split, network.splits)
            yield f"{network.name} has no split point {self.split!r}. {known}"
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
        features = guest_network.shape(self.split, run.image(guest))  # of one image, [C, H, W]
        h = self.new_adapter(features, run.seed)
        samples = guest.train.few(self.samples, seed=run.seed) if self.samples else None
        # Before the fit: with no h between them
        bare = margins(run, nn.Sequential(f, g_student), guest.test)
        # [N, outputs, ...]; compared with those after the fit
        host_logits = logits_of(run, host_network, host.test)[0]

        if self.trains_the_adapter:
            data = self.data_to_compare_on(samples, g_student, features)
            self.fit_adapter(run, {"adapter": h.to(run.device)}, f, g_student, g_teacher, data)
        path = on_device(run, Transplanted.of(f, h, g_student))
        if samples is not None and self.calibrate != "none":
            path.adapter.set_offset(self.missing_offset(run, path, guest_network, samples))

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

    def fit_adapter(
        self,
        run: Run,
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
        run.fit(
            "adapter",
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

        features = batch["noise"].x.shape[1:]  # [C, H, W]; the numbers themselves are not used
        v = directions(batch["noise"].direction)
        gates = {}  # `lin`: none, so all are open
        if self.gradients == "dummy":  # the same in g_T and g_S, each open with probability p
            # A normal number is above this with probability p.
            # What is drawn is the same for every p.
            threshold = NormalDist().inv_cdf(1 - self.gates)
            for name in gate_shapes(nets["teacher"], features):
                gates[name] = (getattr(batch["noise"], f"gate {name}") > threshold).float()
        d_teacher = surrogate_gradient(nets["teacher"], features, v, gates)
        # The chain rule: back through g_S first, then through h, whose ReLUs are all open.
        d_after_h = surrogate_gradient(nets["task"], features, v, gates)
        return surrogate_gradient(nets["adapter"].layers, features, d_after_h, {}), d_teacher

    def absorb_in_turn(self, run: Run, host: Task, guests: Sequence[Task]) -> None:
        """(6): insert one category after another, with adapters that other trials have learned.
        Logs how much the logits of each category change with any later insertion, which must be 0.
        """
        run.adopt(*(guest.name for guest in guests))
        f, g = network_of(run.need("host"), host).cut(self.split)
        net = TransplantNetwork(task=g.config, categories={})
        net.task.load_state_dict(g.state_dict())
        identity = Adapter(channels=1, depth=0)  # g was trained on the host's own features
        # The host is the first category
        net = on_device(run, net.with_category(host.name, f, identity))
        logits = {host.name: category_logits(run, net, host)}  # by category, at its own insertion
        largest_change = {host.name: 0.0}
        for guest in guests:  # an insertion must not change a bit of the earlier logits
            part = run.need(guest.name).module("transplanted", category=guest.name)
            path = cast(Transplanted, part)
            net = on_device(run, net.with_category(guest.name, path.category, path.adapter))
            for name, before in logits.items():
                change = np.abs(category_logits(run, net, run.tasks.by_name[name]) - before).max()
                largest_change[name] = max(largest_change[name], float(change))
            logits[guest.name] = category_logits(run, net, guest)
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
        direction v is drawn for each of them, and for `dummy` the gates of g.
        """
        direction = normal(*output_shape(g, features))
        gates = {}
        if self.gradients == "dummy":
            for name, shape in gate_shapes(g, features).items():
                gates[f"gate {name}"] = normal(*shape)  # one number per unit of a ReLU and image
        data: dict[str, Data | Noise] = {}
        if self.gradients in ("lin", "dummy", "noise") or self.labels == "synthetic":
            synthetic = noise(*features, images=SYNTHETIC_FEATURES)
            data["noise"] = synthetic.drawing(direction=direction, **gates)
        if samples is not None and self.trains_on_samples:
            data["few"] = samples.augmented(self.augmentation).drawing(direction=direction)
        return data

    def missing_offset(
        self, run: Run, path: Transplanted, guest_network: Network, samples: Data
    ) -> float:
        """What to add to the last logit, since (3) says nothing about a constant in y."""
        margin, labels = margins(run, path, samples)
        if self.calibrate == "labels":
            # The margin is the last logit minus the first, so an offset moves it by as much.
            return -best_threshold(margin, labels)
        return float(np.mean(margins(run, guest_network, samples)[0]) - np.mean(margin))


def network_of(result: Result, task: Task) -> Network:
    """The network that a needed trial trained for a task."""
    return cast(Network, result.module("network", task=task.name))


def category_logits(run: Run, net: TransplantNetwork, category: Task) -> Any:
    """Logits [N, outputs, ...] of the category's test images, on its path through the network."""
    return logits_of(run, partial(net, category=category.name), category.test)[0]


def on_device(run: Run, module: AnyModule) -> AnyModule:
    """A module on the trial's device, in eval mode and in the memory layout of a fit: another
    layout would round differently.
    """
    moved = module.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return cast(AnyModule, moved.eval())
