"""A network made as small as its task allows, from frozen blocks that all tasks share.

Morgado, Vasconcelos: NetTailor: Tuning the Architecture, Not Just the Weights, CVPR 2019,
arXiv:1907.00274. Small trainable proxies bridge the blocks of a frozen universal network, and
attention learns which blocks a task can do without: a penalty on the expected complexity pulls
towards the proxies, a fine-tuned teacher towards accuracy. Then the blocks and proxies of least
attention are pruned, and what is left is trained once more.

What it costs: the universal network is trained once for all tasks; each task needs a teacher, a
student, and a retraining for each number of removed blocks. On the quickstart's network and digits,
with five classes per task: 13, 9, 21 and 8 s, about a minute in all (one core of a busy AMD EPYC,
2026-11-25). A task adds about 10 % of the universal network's parameters (0.09 to 0.11 there) to
the shared blocks that it keeps.

In the order of this file (sections and equations are the paper's)::

    3.3    proxies                            `Proxy`
           attention, eq. 3                   `Attention.forward`
    3.4.1  expected complexity, eq. 5 to 10   `Attention.expected_complexity`
    3.3    the student network, eq. 2 and 4   `TailoredGraph.layer`
    3.4.2  distance to the teacher, eq. 11    `distance`
    3.5    pruning                            `prune`
    3.2    the five steps                     `NetTailor.needs`, `NetTailor.train`
    3.4.3  the loss, eq. 12                   `NetTailor.loss`

x_l is node l, the output of layer l; G_l the frozen block between nodes l - 1 and l; A_p^l the
proxy from node p to node l; alpha_p^l the attention of that edge, alpha_l^l that of the block. The
alphas of the edges into a node are the softmax of their scores a_p^l.

Departs from the paper: the defaults are settings that we found stable (the independent form of the
expected complexity, distances to the teacher divided by its variance, smaller steps for the
attention); `PUBLISHED` holds those of the authors' code, from which the paper's numbers come, and
`AS_WRITTEN` those of the text where it differs. As in that code, proxies also begin at the stem's
output (eq. 2 counts from node 1), universal batch norms take the task's running statistics, the
stem's included, and the teacher trains each layer by itself with a mean over its elements, where
eq. 11 is one sum from end to end. Unlike that code, this takes no second pass through the frozen
blocks, so running statistics are updated once per step, not twice (with a momentum of 0.1 where
theirs is 0.19 in effect). By default the teacher is trained as `FineTune` trains (one-cycle to 0.1;
the authors' drops from 0.01). Images are not augmented unless `augmentation` says so, for the
student here and for the teacher in `teacher` (the authors mirror and crop, differently for each
set). A guard keeps a path from stem to classifier.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from methods.fine_tune import FineTune
from methods.nettailor.cost import Counting, complexities
from methods.nettailor.edges import (
    Edge,
    Guard,
    Order,
    all_edges,
    blocks_in_order,
    live_edges,
    restored_proxies,
)
from methods.nettailor.export import plain
from methods.nettailor.own_statistics import STEM, OwnStatistics
from methods.nettailor.report import METRICS, report
from methods.pieces.batch_norm_statistics import held_statistics
from methods.pieces.building import build_network, recipe_of
from methods.pieces.residual import (
    Backbone,
    Shape,
    apply_pieces,
    backbone_of,
    count_blocks,
    sum_before_relu,
)
from orchestrator import (
    Augmentation,
    InputError,
    Kept,
    MatrixSpec,
    Method,
    Network,
    Parameters,
    Part,
    PartWithBase,
    Plot,
    Run,
    Trial,
    augmentation_axis,
    axis,
    drops,
    roles,
)

Statistics = Literal["frozen", "task"]
Form = Literal["disjoint", "disjoint_code", "independent"]
Imitated = Literal["local", "end_to_end", "logits"]
Normalised = Literal["none", "variance"]

# NetTailor(**PUBLISHED): the settings of the authors' code (demo_*.py, main_*.py), from which the
# paper's numbers come, the teacher's recipe included. What differs by task there: epochs (20 for
# SVHN, of retraining, too; these are those of Flowers and VOC), where the rate drops in retraining
# (at 0.4 and 0.8 for SVHN), theta and the number of removed blocks. The universal network is
# torchvision's, trained on ImageNet: `base` says so in sweeps/published/.
PUBLISHED: dict[str, Any] = {
    "skip": 3,
    "start": (2.0, -2.0),
    "complexity_weight": 0.3,
    "form": "disjoint_code",
    "cost": "flops",
    "counting": "paper",
    "batch": 32,
    "lr": 0.1,
    "teacher_weight": 10.0,
    "imitated": "local",
    "normalised": "none",
    "statistics": "task",
    "guard": "none",
    "attention_lr": 0.1,
    "retrain_lr": 0.01,
    "weight_decay": 5e-4,
    "epochs": 50,
    "retrain_epochs": 60,
    "retrain_drops_at": (1 / 3, 2 / 3),
    "teacher": FineTune(
        epochs=50, batch=64, lr=0.01, weight_decay=5e-4, schedule="drops", drops_at=(0.4, 0.8)
    ),
}
# NetTailor(**{**PUBLISHED, **AS_WRITTEN}): as the text has it where the code does otherwise.
AS_WRITTEN: dict[str, Any] = {"form": "disjoint", "imitated": "end_to_end"}
# Settings that matter only after `removed` blocks have been taken out.
PRUNING = ("order", "threshold", "guard", "retrain_epochs", "retrain_lr", "retrain_drops_at")


# Sections 3.3 and 3.4.1: the student network and its expected complexity.


class Proxy(nn.Sequential):
    """A_p^l: max-pooling where the resolution drops, then a 1x1 convolution with batch norm.

    Next to bottleneck blocks there are two such convolutions with ReLU between them. The narrow
    layer is as wide as in the authors' code, a 32nd of the output and at least 16; the paper's text
    has a quarter of the block's own. Convolutions start with standard deviation 0.01.
    """

    def __init__(self, source: Shape, target: Shape, *, bottleneck: bool) -> None:
        # [C, H, W] of nodes p and l
        (channels, height, _), (out_channels, out_height, _) = source, target
        layers: list[nn.Module] = []
        # A proxy may bridge several drops of the resolution
        stride = max(1, round(height / out_height))
        if stride > 1:
            # Overlapping windows, as after a ResNet's stem
            layers.append(nn.MaxPool2d(stride + 1, stride, stride // 2))
        if bottleneck:
            narrow = max(out_channels // 32, 16)
            layers += [nn.Conv2d(channels, narrow, 1, bias=False), nn.BatchNorm2d(narrow)]
            layers.append(nn.ReLU())
            channels = narrow
        layers += [nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]
        super().__init__(*layers)
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)


class Attention(nn.Module):
    """The attention alpha of a graph's edges, and the expected complexity of the graph.

    `edges` are in the order of their targets; tensors with one value per edge, [edges], are in the
    same order.
    """

    source: Tensor
    target: Tensor

    def __init__(self, edges: Sequence[Edge], num_blocks: int) -> None:
        super().__init__()
        self.edges, self.num_blocks = list(edges), num_blocks
        # By node, from 1. `edges` are sorted by target, so those of a node stand together.
        self.num_entering = list(Counter(edge.target for edge in edges).values())
        # Buffers, so that they follow the module to its device; they are not stored.
        self.register_buffer("source", torch.tensor([e.source for e in edges]), persistent=False)
        self.register_buffer("target", torch.tensor([e.target for e in edges]), persistent=False)

    def forward(self, scores: Tensor) -> Tensor:
        """Eq. 3: alpha, [edges], the softmax of the scores a over the edges that enter a node."""
        return torch.cat([a.softmax(0) for a in scores.split_with_sizes(self.num_entering)])

    def excluded(self, alpha: Tensor, *, at_ends: float = 0.0) -> tuple[Tensor, Tensor]:
        """Eq. 7 and 8: for each node, [nodes], the probability P(R_inp) that every edge into it is
        left out, and P(R_out) that every edge out of it is. The first node needs no input and the
        last no output; their entries are `at_ends`.
        """
        r = (1 - alpha).unbind()  # self-exclusion, P(R_self)
        one = alpha.new_ones(())
        no_input, no_output = [], []
        # About a millisecond per step for six blocks; index tables are faster and harder to read.
        for node in range(self.num_blocks + 1):
            # R_inp: all edges into the node are left out; taken as independent, so a product.
            entering = [r[i] for i, edge in enumerate(self.edges) if edge.target == node]
            leaving = [r[i] for i, edge in enumerate(self.edges) if edge.source == node]
            no_input.append(torch.stack([*entering, one]).prod())
            no_output.append(torch.stack([*leaving, one]).prod())
        no_input[0] = no_output[-1] = alpha.new_full((), at_ends)
        return torch.stack(no_input), torch.stack(no_output)

    def expected_complexity(self, alpha: Tensor, complexity: Tensor, form: Form) -> Tensor:
        """E[C], a scalar, from the `complexity` C of each edge, [edges], as a share of the
        universal network.

        `disjoint` is the paper's eq. 9 and 10, which treat three events as mutually exclusive (eq.
        6); they are not, so the result can be negative. `disjoint_code` is what the authors' code
        computes: the node before an edge's target in place of its source, and 1 at the two ends.
        `independent` is our own: edge, source and target are left out independently of each other.
        """
        source, target = self.source, self.target
        if form == "disjoint_code":
            no_input, no_output = self.excluded(alpha, at_ends=1.0)
            source = target - 1
        else:
            no_input, no_output = self.excluded(alpha)
        if form == "independent":
            return (complexity * alpha * (1 - no_input[source]) * (1 - no_output[target])).sum()
        # Eq. 9 writes alpha as 1 - r.
        return (complexity * (alpha - no_input[source] - no_output[target])).sum()


@dataclass
class Outputs:
    """Of one forward pass: the outputs x_l of the live nodes and the logits. `local` has the nodes'
    outputs once more, computed from detached inputs: functions of each node's own layer alone.
    """

    nodes: dict[int, Tensor]
    logits: Tensor
    local: dict[int, Tensor] = field(default_factory=dict)


class TailoredGraph(Part):
    """What one task adds to a universal network: proxies, attention and a classifier. It computes
    only together with that network, whose blocks it does not hold.

    `network` is the recipe of the universal network, `image` the shape [C, H, W], `skip`
    how many blocks a proxy bridges at most (None: any number), `start` the scores of blocks and of
    proxies, `edges` the names of the edges that are left (None: all). With `statistics` "task" the
    universal batch norms normalise by the task's own statistics, which belong to the task then.
    """

    # C of each edge, [edges], as a share of the universal network. Set for training, not stored.
    complexity: Tensor

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        image: Sequence[int],
        classes: int,
        skip: int | None = 3,
        start: Sequence[float] = (2.0, -2.0),
        edges: Sequence[str] | None = None,
        statistics: Statistics = "frozen",
    ) -> None:
        super().__init__()
        self.backbone = backbone = backbone_of(network, image)
        # Sorted by target, as `Attention` needs them
        candidates = all_edges(backbone.num_blocks, skip)
        self.edges = [edge for edge in candidates if edges is None or edge.name in edges]
        self.kept_blocks = {e.target for e in self.edges if e.is_block}  # their numbers, from 1
        self.routes = Attention(self.edges, backbone.num_blocks)
        scores = [float(start[0] if edge.is_block else start[1]) for edge in self.edges]
        self.scores = nn.Parameter(torch.tensor(scores))  # a of eq. 3, [edges]
        self.proxies = nn.ModuleDict()
        for edge in self.edges:
            if not edge.is_block:
                source, target = backbone.nodes[edge.source], backbone.nodes[edge.target]
                self.proxies[edge.name] = Proxy(source, target, bottleneck=backbone.bottleneck)
        self.head = nn.Linear(backbone.features, classes)
        self.register_buffer("complexity", torch.zeros(len(self.edges)), persistent=False)
        self.own_statistics = nn.ModuleDict()
        if statistics == "task":
            # Any weights will do: they are overwritten by `over` or by what is loaded.
            pieces = build_network(network).pieces()
            self.own_statistics[STEM] = OwnStatistics(stem_of(backbone, pieces))
            for node in sorted(self.kept_blocks):
                self.own_statistics[str(node)] = OwnStatistics(pieces[backbone.blocks[node - 1]])

    @classmethod
    def over(cls, universal: Network, image: Sequence[int], classes: int, **settings: Any) -> Self:
        """A new graph over a universal network. Running statistics of its own, if it has any, begin
        as that network's.
        """
        graph = cls(network=recipe_of(universal), image=image, classes=classes, **settings)
        pieces = universal.pieces()
        for node, own in graph.own_statistics.items():
            if node == STEM:
                frozen: nn.Module = stem_of(graph.backbone, pieces)
            else:
                frozen = pieces[graph.backbone.blocks[int(node) - 1]]
            cast(OwnStatistics, own).copy_from(frozen)
        return graph

    def attention(self) -> Tensor:
        """Alpha of each edge, [edges] (eq. 3); over the edges that enter a node they sum to 1."""
        return self.routes(self.scores)  # type: ignore[no-any-return]  # a Module's call

    def forward(self, x: Tensor, universal: Network) -> Tensor:
        """Images [B, C, H, W] to logits [B, classes]."""
        return self.passed(x, universal).logits

    def passed(self, x: Tensor, universal: Network, *, local: bool = False) -> Outputs:
        """Eq. 4, node after node, and the classifier; with `local` also each node's output as a
        function of its own layer alone.

        For the latter the authors' code evaluates every layer twice. A frozen block's output is the
        same both times, so here only the proxies are evaluated again, without a second update of
        their running statistics.
        """
        pieces, backbone = universal.pieces(), self.backbone
        alpha = dict(zip(self.edges, self.attention(), strict=True))  # one scalar tensor per edge
        nodes = {0: self.stem_output(pieces, x)}  # x_l by l, each [B, C_l, H_l, W_l]
        blocks = {}  # G_l(x_{l-1}) by l
        # Nodes with an input left, in order
        live = list(dict.fromkeys(edge.target for edge in self.edges))
        for node in live:
            if node in self.kept_blocks:
                block = pieces[backbone.blocks[node - 1]]
                blocks[node] = self.block_output(node, block, nodes[node - 1])
            nodes[node] = self.layer(node, nodes, blocks, alpha)
        pooled = apply_pieces(pieces, backbone.pool, nodes[backbone.num_blocks])  # [B, features]
        result = Outputs(nodes, self.head(pooled))
        if local:
            # Cut off from what lies before: a node's distance to
            # the teacher trains its own layer only.
            inputs = {node: x.detach() for node, x in nodes.items()}
            block_outputs = {node: x.detach() for node, x in blocks.items()}
            with held_statistics(self.proxies):
                result.local = {n: self.layer(n, inputs, block_outputs, alpha) for n in live}
        return result

    def layer(
        self,
        node: int,
        nodes: Mapping[int, Tensor],
        blocks: Mapping[int, Tensor],
        alpha: Mapping[Edge, Tensor],
    ) -> Tensor:
        """Eq. 2 and 4: x_l = ReLU(alpha_l^l G_l(x_{l-1}) + sum over p of alpha_p^l A_p^l(x_p)),
        where `blocks` holds the G_l(x_{l-1}) and p runs over the sources of the proxies left.
        """
        terms = []
        for edge in self.edges:
            if edge.target != node:
                continue
            if edge.is_block:
                terms.append(alpha[edge] * blocks[node])
            else:
                terms.append(alpha[edge] * self.proxies[edge.name](nodes[edge.source]))
        return F.relu(reduce(torch.add, terms))

    def stem_output(self, pieces: Mapping[str, nn.Module], x: Tensor) -> Tensor:
        """x_0, the output of the frozen stem, normalised by the task's own statistics if there are
        any.
        """
        if not self.own_statistics:
            return apply_pieces(pieces, self.backbone.stem, x)
        own = cast(OwnStatistics, self.own_statistics[STEM])
        return own.through(stem_of(self.backbone, pieces).train(self.training), x)

    def block_output(self, node: int, block: nn.Module, x: Tensor) -> Tensor:
        """G_l(x): a frozen block before its last ReLU, normalised by the task's own statistics if
        there are any.
        """
        if not self.own_statistics:
            return sum_before_relu(block, x)
        own = cast(OwnStatistics, self.own_statistics[str(node)])
        return own.sum_before_relu(block.train(self.training), x)

    def with_edges(self, names: Sequence[str]) -> TailoredGraph:
        """A copy with these edges only, and with the present weights."""
        left = [i for i, edge in enumerate(self.edges) if edge.name in set(names)]
        smaller = type(self)(**{**self.config, "edges": [self.edges[i].name for i in left]})
        wanted = smaller.state_dict()
        state = {name: value for name, value in self.state_dict().items() if name in wanted}
        # Scores have one entry per edge, so these are chosen one by one: [edges left].
        smaller.load_state_dict({**state, "scores": self.scores.detach()[left]})
        return smaller

    def watched(self) -> dict[str, float]:
        """Attention by edge, for curves."""
        alpha = self.attention().tolist()
        return {f"attention/{e.name}": a for e, a in zip(self.edges, alpha, strict=True)}

    def joined(self, other: Part) -> nn.Module:
        """The task's network as one plain module, with the universal blocks that it uses."""
        return plain(self, cast(Network, other))


def stem_of(backbone: Backbone, pieces: Mapping[str, nn.Module]) -> nn.Sequential:
    """The pieces before the first block as one module, which shares their layers."""
    return nn.Sequential(*(pieces[name] for name in backbone.stem))


# Section 3.4.2: mimicking the teacher.


@torch.no_grad()
def teacher_outputs(
    teacher: Network, backbone: Backbone, x: Tensor
) -> tuple[dict[int, Tensor], Tensor]:
    """x_l^t of eq. 11: by node, the outputs of the teacher's blocks after their ReLU; and its
    logits.
    """
    number = {name: n for n, name in enumerate(backbone.blocks, start=1)}
    nodes = {}
    for name, piece in teacher.pieces().items():
        x = piece(x)
        if name in number:
            nodes[number[name]] = x
    return nodes, x  # the last piece is the classifier


def distance(
    nodes: Mapping[int, Tensor],
    logits: Tensor,
    teacher: tuple[Mapping[int, Tensor], Tensor],
    num_blocks: int,
    by: Normalised,
) -> Tensor:
    """Omega, eq. 11, over these nodes and the logits.

    As in the authors' code each squared distance is a mean over the batch and the elements of x_l,
    and their sum is divided by the number of blocks. `by` "variance" also divides each by the
    variance of the teacher's activations in the batch, so that their scale does not matter (ours,
    not the paper's).
    """
    teacher_nodes, teacher_logits = teacher
    pairs = [(logits, teacher_logits)]
    pairs += [(x, teacher_nodes[node]) for node, x in nodes.items() if node in teacher_nodes]
    terms = []
    for x, wanted in pairs:
        # Of all elements of the batch; the small number keeps a
        # constant layer from dividing by zero.
        scale = wanted.var(correction=0) + 1e-6 if by == "variance" else 1.0
        terms.append(F.mse_loss(x, wanted) / scale)
    return torch.stack(terms).sum() / num_blocks


# Section 3.5: pruning.


@dataclass(frozen=True)
class Pruned:
    """What pruning leaves: the names of the live edges (none if no path leads from the first node
    to the last), and how many proxies the guard has put back.
    """

    edges: tuple[str, ...]
    restored: int


def prune(
    attention: Mapping[Edge, float],
    removed: set[Edge],
    threshold: float,
    guard: Guard,
    num_blocks: int,
) -> Pruned:
    """Section 3.5: drop the `removed` blocks and the proxies whose alpha is at most the `threshold`
    theta, then whatever that leaves dead: edges that no path reaches (input exclusion) or that lead
    nowhere (output exclusion). The guard may keep some of the weak proxies.
    """
    weak = {edge for edge, alpha in attention.items() if not edge.is_block and alpha <= threshold}
    # By the threshold first, then by paths: an edge of much attention may be dead all the same.
    kept = set(attention) - removed - weak
    restored = restored_proxies(guard, attention, kept, removed, num_blocks)
    live = live_edges(kept | restored, num_blocks)
    return Pruned(tuple(edge.name for edge in sorted(live)), len(restored & live))


class NetTailor(Method):
    """Tailor the source's network to the target: without `removed`, train the student with all
    blocks and proxies; with it, prune that student and retrain.
    """

    name = "nettailor"
    revision = 2  # 2: the stem's batch norm takes the task's statistics, too
    tasks = roles("source", "target")
    base_role = "source"
    accepts_diverged = True
    metrics = METRICS
    components = (Kept("student"),)
    matrices = (
        MatrixSpec(
            "graph",
            "edge",
            "property",
            help="Attention, multiply-accumulates and parameters of each edge that is left.",
        ),
        MatrixSpec("attention", "edge", "epoch", help="Attention of each edge after each epoch."),
    )
    plots = (
        Plot("accuracy", "parameters", along="removed"),
        Plot("accuracy", "flops", along="removed"),
    )

    removed: int | None = axis(
        None,
        over=(None, 1, 2, 3, 4, 5, 6),
        smoke=1,
        help="k of section 3.5, universal blocks taken out: the more, the smaller the network; "
        "None: the student before pruning",
    )
    skip: int | None = axis(
        3,
        over=(1, 3, 5, None),
        help="k of eq. 4, blocks that a proxy bridges at most: the more, the more proxies; None: "
        "any number",
    )
    start: tuple[float, float] = axis(
        (2.0, -2.0),
        over=((2.0, -2.0), (1.0, -1.0), (0.0, 0.0)),
        help="first scores a of blocks and of proxies (eq. 3): the further apart, the closer the "
        "student is to the universal network at first",
    )
    complexity_weight: float = axis(
        0.3,
        over=(0.0, 0.03, 0.1, 0.3, 1.0),
        help="gamma 1 of eq. 12, weight of the expected complexity: the greater, the more "
        "attention moves from blocks to proxies",
    )
    form: Form = axis(
        "independent",
        over=("independent", "disjoint", "disjoint_code"),
        help="how E[C] is computed: as in eq. 9, as in the authors' code, or with independent "
        "events, so that it cannot be negative",
    )
    cost: Literal["flops", "parameters"] = axis(
        "flops", over=("flops", "parameters"), help="what the complexity C of an edge counts"
    )
    counting: Counting = axis(
        "true",
        over=("true", "paper"),
        help="FLOPs as they are, or as the paper's, with the stem at the resolution after pooling",
    )
    teacher_weight: float = axis(
        1.0,
        over=(0.0, 0.1, 1.0, 10.0),
        help="gamma 2 of eq. 12, weight of the distance Omega to the teacher: the greater, the "
        "closer the student's activations stay to it; 0: no teacher",
    )
    imitated: Imitated = axis(
        "local",
        over=("local", "end_to_end", "logits"),
        help="Omega trains each layer by itself, or all at once (eq. 11), or takes the logits only",
    )
    normalised: Normalised = axis(
        "variance",
        over=("variance", "none"),
        help="what each distance in Omega is divided by: the teacher's variance, or nothing, which "
        "makes gamma 2 depend on the scale of activations",
    )
    statistics: Statistics = axis(
        "task",
        over=("task", "frozen"),
        help="running statistics of universal batch norms: the task's own, or shared",
    )
    threshold: float = axis(
        0.05,
        over=(0.02, 0.05, 0.1),
        help="theta of section 3.5: proxies whose alpha is at most this are pruned; the greater, "
        "the fewer are left",
    )
    order: Order = axis(
        "attention",
        over=("attention", "random", "last_first", "first_first"),
        help="which blocks are removed first: those of least alpha; the other orders are controls",
    )
    guard: Guard = axis(
        "path",
        over=("path", "proxy", "none"),
        help="weak proxies that stay: those that a path to the classifier needs, the best into "
        "each node without an input, or none",
    )
    epochs: int = axis(
        20,
        over=(20, 50),
        smoke=2,
        help="of the student, before pruning: the more, the better proxies are trained",
    )
    retrain_epochs: int = axis(
        10,
        over=(10, 20, 60),
        smoke=2,
        help="after pruning: the more, the more accuracy is recovered",
    )
    batch: int = axis(32, over=(32, 64), help="images per step")
    lr: float = axis(
        0.1,
        over=(0.02, 0.05, 0.1),
        help="of proxies and classifier, before pruning; divided by 10 after 40 and 80 % of the "
        "epochs",
    )
    attention_lr: float = axis(
        0.05,
        over=(0.01, 0.02, 0.05, 0.1),
        help="of the scores a, which have no weight decay: the greater, the sooner all attention "
        "is on one edge",
    )
    retrain_lr: float = axis(
        0.01, over=(0.01, 0.03), help="of proxies and classifier, after pruning"
    )
    retrain_drops_at: tuple[float, ...] = axis(
        (0.4, 0.8),
        over=((0.4, 0.8), (1 / 3, 2 / 3)),
        help="shares of the retraining after which the learning rate is divided by 10",
    )
    weight_decay: float = axis(
        5e-4,
        over=(1e-4, 5e-4),
        help="of proxies and classifier: the greater, the smaller the weights of unused proxies",
    )
    augmentation: Augmentation = augmentation_axis()
    base: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how the universal network is trained"
    )
    teacher: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how it is fine-tuned into the teacher"
    )

    def canonical(self) -> Self:
        idle: list[str] = []
        if self.removed is None:
            idle += PRUNING
        if not self.complexity_weight:
            idle += ["form", "cost", "counting"]
        if not self.teacher_weight:
            idle += ["imitated", "normalised", "teacher"]
        return self.reset(*idle)

    def check(self, trial: Trial) -> Iterable[str]:
        try:
            blocks = count_blocks(trial.network) if trial.network else 0
        except InputError as error:
            yield str(error)
            return
        for name in ("complexity_weight", "teacher_weight", "threshold"):
            value = getattr(self, name)
            if value < 0:
                yield f"{name}={value:g} is negative"
        if self.removed is not None and not 0 <= self.removed <= blocks:
            yield f"removed={self.removed}, but the network has {blocks} blocks"
        if self.teacher.base is not None:
            yield (
                "teacher.base is set; the teacher starts from the universal network, "
                "which `base` says how to train"
            )
        if self.skip is not None and self.skip < 1:
            yield f"skip={self.skip}: a proxy bridges at least one block"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        """The universal network; the teacher, which is step 1 of section 3.2; and for a pruning the
        student, which is steps 2 and 3.
        """
        needs = {"universal": trial.replace(method=self.base, tasks=trial.tasks[:1])}
        if self.teacher_weight:
            needs["teacher"] = trial.replace(method=self.teacher.replace(base=self.base))
        if self.removed is not None:
            # One student for all prunings, whatever their thresholds and orders.
            needs["student"] = trial.replace(method=self.reset("removed", *PRUNING))
        return needs

    def train(self, run: Run) -> None:
        """Section 3.2: augment and train, steps 2 and 3; or with `removed` prune and retrain, steps
        4 and 5.
        """
        outcomes = {name: need.outcome for name, need in run.needs.items()}
        missing = [f"{name} {outcome}" for name, outcome in outcomes.items() if outcome != "done"]
        if missing:
            run.infeasible(f"what it needs is not there: {', '.join(missing)}")
        source, target = run.tasks
        base = run.need("universal").component("network", task=source.name)
        universal = base.network().to(run.device)
        frozen: dict[str, nn.Module] = {"universal": universal}
        if self.teacher_weight:
            frozen["teacher"] = run.need("teacher").module("network", task=target.name)
        if self.removed is None:
            stage, epochs, graph = "train", self.epochs, self.augmented(run, universal)
        else:
            stage, epochs, graph = "retrain", self.retrain_epochs, self.pruned(run, self.removed)
        graph.complexity = complexities(graph, self.cost, self.counting)
        net = PartWithBase(graph.to(run.device), universal)
        if self.removed is not None:
            run.log(accuracy_before_retraining=run.accuracy(net, target.test))
        run.fit(
            stage,
            {"student": graph},
            self.loss,
            target.train.augmented(self.augmentation),
            frozen=frozen,
            optimizer=self.optimizer,
            schedule=drops((0.4, 0.8) if self.removed is None else self.retrain_drops_at),
            epochs=epochs,
            batch=self.batch,
            watch=graph.watched,
        )
        report(run, graph, net, target)
        run.keep("student", graph, requires=base)

    def augmented(self, run: Run, universal: Network) -> TailoredGraph:
        """The universal network with all proxies (section 3.3)."""
        target = run.tasks[1]
        return TailoredGraph.over(
            universal,
            run.image(target),
            target.num_classes,
            skip=self.skip,
            start=self.start,
            statistics=self.statistics,
        )

    def pruned(self, run: Run, num_removed: int) -> TailoredGraph:
        """The trained student without its blocks of least alpha, its weak proxies, and whatever
        that leaves dead (section 3.5).
        """
        student = cast(TailoredGraph, run.need("student").module("student"))
        attention = dict(zip(student.edges, student.attention().tolist(), strict=True))
        removed = set(blocks_in_order(attention, self.order, seed=run.seed)[:num_removed])
        num_blocks = student.backbone.num_blocks
        left = prune(attention, removed, self.threshold, self.guard, num_blocks)
        if not left.edges:
            run.infeasible(
                f"without {num_removed} blocks and the proxies up to {self.threshold:g}, "
                "nothing leads from stem to classifier"
            )
        run.log(restored=left.restored)
        return student.with_edges(left.edges)

    def optimizer(self, p: Parameters) -> Optimizer:
        """SGD. In retraining the learning rate of the scores is smaller by the same factor as that
        of the other weights.
        """
        lr = self.lr if self.removed is None else self.retrain_lr
        scores: dict[str, Any] = {
            "params": p.matching("student.scores"),
            "lr": self.attention_lr * lr / self.lr,
            "weight_decay": 0.0,
        }
        weights = {"params": p.other("student.scores")}
        return SGD([scores, weights], lr=lr, momentum=0.9, weight_decay=self.weight_decay)

    def loss(self, nets: Any, batch: Any) -> dict[str, Tensor]:
        """Eq. 12: cross entropy + gamma_1 E[C] (not when retraining) + gamma_2 Omega."""
        graph = nets["student"]
        is_local = bool(self.teacher_weight) and self.imitated == "local"
        outputs = graph.passed(batch.x, nets["universal"], local=is_local)
        terms = {"own": F.cross_entropy(outputs.logits, batch.y)}  # L_T
        if self.complexity_weight and self.removed is None:
            alpha = graph.attention()
            expected = graph.routes.expected_complexity(alpha, graph.complexity, self.form)
            terms["complexity"] = self.complexity_weight * expected
        if self.teacher_weight:
            # Node outputs [B, C_l, H_l, W_l] that Omega compares; "logits" compares none.
            choices = {"local": outputs.local, "end_to_end": outputs.nodes, "logits": {}}
            nodes = choices[self.imitated]
            teacher = teacher_outputs(nets["teacher"], graph.backbone, batch.x)
            num_blocks = graph.backbone.num_blocks
            omega = distance(nodes, outputs.logits, teacher, num_blocks, self.normalised)
            terms["teacher"] = self.teacher_weight * omega
        return terms
