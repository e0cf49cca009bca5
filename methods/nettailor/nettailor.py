"""A network made as small as its task allows, from frozen blocks that all tasks share.

Morgado, Vasconcelos: NetTailor: Tuning the Architecture, Not Just the Weights, CVPR 2019,
arXiv:1907.00274. Small trainable proxies bridge the blocks of a frozen universal network; attention
learns which blocks a task can do without, these go, and what is left imitates a fine-tuned teacher.

Departs from the paper: defaults are the stable ones of our specification (independent form of the
expected complexity, teacher's distances divided by its variance, smaller steps for the attention);
`PUBLISHED` holds the paper's. A guard keeps a path from stem to classifier; blocks that lead
nowhere go before retraining, and attention is a softmax over what is left. The local teacher term
costs no second pass through the frozen blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, cast

from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from methods.fine_tune import FineTune
from methods.nettailor.complexity import Form
from methods.nettailor.cost import Counting, complexities
from methods.nettailor.graph import Statistics, TailoredGraph
from methods.nettailor.imitation import Imitated, Normalised, distance, teacher_outputs
from methods.nettailor.pruning import Guard, Order, blocks_to_remove, prune
from methods.nettailor.report import METRICS, report
from methods.pieces.attached import Attached
from methods.pieces.residual import count_blocks
from orchestrator import (
    InputError,
    Kept,
    MatrixSpec,
    Method,
    Network,
    Parameters,
    Plot,
    Run,
    Trial,
    axis,
    drops,
    roles,
)

# NetTailor(**PUBLISHED): paper and authors' code, but for epochs, threshold and the number of
# removed blocks, which differ by task there.
PUBLISHED = {
    "skip": 3,
    "start": (2.0, -2.0),
    "complexity_weight": 0.3,
    "form": "disjoint",
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
}
PRUNING = ("order", "threshold", "guard", "retrain_epochs", "retrain_lr")


class NetTailor(Method):
    """Tailor the source's network to the target. Without `removed`: train a student of all blocks
    and proxies; with it: prune it, retrain.
    """

    name = "nettailor"
    tasks = roles("source", "target")
    accepts_diverged = True
    metrics = METRICS
    components = (Kept("student"),)
    matrices = (MatrixSpec("graph", "edge", "property"), MatrixSpec("attention", "edge", "epoch"))
    plots = (
        Plot("accuracy", "parameters", along="removed"),
        Plot("accuracy", "flops", along="removed"),
    )

    removed: int | None = axis(
        None,
        over=(None, 1, 2, 3, 4, 5, 6),
        smoke=1,
        help="universal blocks taken out; None: the student before pruning",
    )
    skip: int | None = axis(
        3, over=(1, 3, 5, None), help="blocks that a proxy bridges at most; None: any number"
    )
    start: tuple[float, float] = axis(
        (2.0, -2.0),
        over=((2.0, -2.0), (1.0, -1.0), (0.0, 0.0)),
        help="first scores of blocks and of proxies",
    )
    complexity_weight: float = axis(
        0.3,
        over=(0.0, 0.03, 0.1, 0.3, 1.0),
        help="of the expected complexity (the paper's gamma 1)",
    )
    form: Form = axis(
        "independent",
        over=("independent", "disjoint", "disjoint_code"),
        help="of the expected complexity",
    )
    cost: Literal["flops", "parameters"] = axis(
        "flops", over=("flops", "parameters"), help="what complexity counts"
    )
    counting: Counting = axis(
        "true", over=("true", "paper"), help="the paper counts the stem behind its pooling"
    )
    teacher_weight: float = axis(
        1.0, over=(0.0, 0.1, 1.0, 10.0), help="of the distance to the teacher (the paper's gamma 2)"
    )
    imitated: Imitated = axis(
        "local", over=("local", "end_to_end", "logits"), help="each layer by itself, or all at once"
    )
    normalised: Normalised = axis(
        "variance", over=("variance", "none"), help="what distances to the teacher are divided by"
    )
    statistics: Statistics = axis(
        "task",
        over=("task", "frozen"),
        help="running statistics of universal batch norms: the task's own, or shared",
    )
    threshold: float = axis(
        0.05, over=(0.02, 0.05, 0.1), help="proxies with at most this attention are pruned"
    )
    order: Order = axis(
        "attention",
        over=("attention", "random", "last_first", "first_first"),
        help="of the blocks; all others are controls",
    )
    guard: Guard = axis(
        "path",
        over=("path", "proxy", "none"),
        help="puts proxies back that keep the graph connected",
    )
    epochs: int = axis(20, over=(20, 50), smoke=2)
    retrain_epochs: int = axis(10, over=(10, 20, 60), smoke=2)
    batch: int = axis(32, over=(32, 64))
    lr: float = axis(
        0.1,
        over=(0.02, 0.05, 0.1),
        help="divided by 10 at 40 and at 80 % of the epochs, as when retraining",
    )
    attention_lr: float = axis(
        0.05,
        over=(0.01, 0.02, 0.05, 0.1),
        help="of the attention scores, which have no weight decay",
    )
    retrain_lr: float = axis(0.01, over=(0.01, 0.03))
    weight_decay: float = axis(5e-4, over=(1e-4, 5e-4))
    base: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how the universal network is trained"
    )
    teacher: FineTune = axis(
        FineTune(), smoke=FineTune(epochs=1), help="how it is fine-tuned into the teacher"
    )

    def canonical(self) -> Self:
        idle = [*PRUNING] if self.removed is None else []
        idle += ["form", "cost", "counting"] if not self.complexity_weight else []
        idle += ["imitated", "normalised", "teacher"] if not self.teacher_weight else []
        return self.reset(*idle)

    def check(self, trial: Trial) -> Iterable[str]:
        try:
            blocks = count_blocks(trial.network) if trial.network else 0
        except InputError as error:
            yield str(error)
            return
        weights = {
            n: getattr(self, n) for n in ("complexity_weight", "teacher_weight", "threshold")
        }
        yield from (f"{name}={value:g} is negative" for name, value in weights.items() if value < 0)
        if self.removed is not None and not 0 <= self.removed <= blocks:
            yield f"removed={self.removed}, but the network has {blocks} blocks"
        if self.teacher.base is not None:
            yield "teacher.base is set; the teacher starts from the universal network, which `base` says how to train"
        if self.skip is not None and self.skip < 1:
            yield f"skip={self.skip}: a proxy bridges at least one block"

    def needs(self, trial: Trial) -> Mapping[str, Trial]:
        teacher = (
            {"teacher": trial.replace(method=self.teacher.replace(base=self.base))}
            if self.teacher_weight
            else {}
        )
        found = {"universal": trial.replace(method=self.base, tasks=trial.tasks[:1]), **teacher}
        return (
            found
            if self.removed is None
            else found | {"student": trial.replace(method=self.reset("removed", *PRUNING))}
        )

    def train(self, run: Run) -> None:
        if ended := [
            f"{name} {need.outcome}" for name, need in run.needs.items() if need.outcome != "done"
        ]:
            run.infeasible(f"what it needs is not there: {', '.join(ended)}")
        source, target = run.tasks
        universal = cast(Network, run.need("universal").module("network", task=source.name)).to(
            run.device
        )
        teacher = (
            {"teacher": run.need("teacher").module("network", task=target.name)}
            if self.teacher_weight
            else {}
        )
        graph = (
            self.pruned(run)
            if self.removed is not None
            else TailoredGraph.over(
                universal,
                run.image(target),
                target.num_classes,
                skip=self.skip,
                start=self.start,
                statistics=self.statistics,
            )
        )
        graph.complexity = complexities(graph, self.cost, self.counting)
        net = Attached(graph.to(run.device), universal)
        if self.removed is not None:
            run.log(accuracy_before_retraining=run.accuracy(net, target.test))
        stage, epochs = (
            ("train", self.epochs) if self.removed is None else ("retrain", self.retrain_epochs)
        )
        run.fit(
            stage,
            {"student": graph},
            self.loss,
            target.train,
            frozen={"universal": universal, **teacher},
            optimizer=self.optimizer,
            schedule=drops((0.4, 0.8)),
            epochs=epochs,
            batch=self.batch,
            watch=graph.watched,
        )
        report(run, graph, net, target)
        run.keep(
            "student", graph, requires=run.need("universal").component("network", task=source.name)
        )

    def pruned(self, run: Run) -> TailoredGraph:
        """The student without the blocks of least attention, the weak proxies, and whatever is dead
        then.
        """
        student = cast(TailoredGraph, run.need("student").module("student"))
        attention = dict(zip(student.edges, student.attention().tolist(), strict=True))
        gone = blocks_to_remove(attention, self.removed or 0, self.order, seed=run.seed)
        left = prune(attention, gone, self.threshold, self.guard, student.backbone.num_blocks)
        if not left.edges:
            run.infeasible(
                f"without {self.removed} blocks and the proxies up to {self.threshold:g}, nothing leads from stem to classifier"
            )
        run.log(restored=left.restored)
        return student.with_edges(left.edges)

    def optimizer(self, p: Parameters) -> Optimizer:
        lr = self.lr if self.removed is None else self.retrain_lr
        scores: dict[str, Any] = {
            "params": p.matching("student.scores"),
            "lr": self.attention_lr * lr / self.lr,
            "weight_decay": 0.0,
        }
        return SGD(
            [scores, {"params": p.other("student.scores")}],
            lr=lr,
            momentum=0.9,
            weight_decay=self.weight_decay,
        )

    def loss(self, nets: Any, batch: Any) -> dict[str, Tensor]:
        """Section 3.2: cross entropy, expected complexity (not when retraining), and the distance
        to the teacher.
        """
        graph = nets["student"]
        found = graph.passed(
            batch.x, nets["universal"], local=bool(self.teacher_weight) and self.imitated == "local"
        )
        terms = {"own": F.cross_entropy(found.logits, batch.y)}
        if self.complexity_weight and self.removed is None:
            expected = graph.routes.expected_complexity(
                graph.attention(), graph.complexity, self.form
            )
            terms["complexity"] = self.complexity_weight * expected
        if self.teacher_weight:
            nodes = {"local": found.local, "end_to_end": found.nodes, "logits": {}}[self.imitated]
            wanted = teacher_outputs(nets["teacher"], graph.backbone, batch.x)
            terms["teacher"] = self.teacher_weight * distance(
                nodes, found.logits, wanted, graph.backbone.num_blocks, self.normalised
            )
        return terms
