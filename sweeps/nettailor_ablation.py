"""Which parts of NetTailor make its networks lean and good: the teacher, the complexity term,
attention as the order of removal, the first scores?

NetTailor (Morgado and Vasconcelos 2019), on an easy and the hardest task of nettailor_difficulty,
both on the same images of CIFAR-10. Controls: removing blocks in random order or the last ones
first, with the same proxies and retraining; and a shallower network, fine-tuned.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.nettailor.leanest import Leanest
from methods.networks import cifar_resnet
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").rgb().resized(16)
source = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).drawn().named("source")
target = cifar.classes(5, 6, 7, 8, 9).images(limit=2400).drawn().validation(0.375)
hard, easy = (source, target.named("cifar")), (source, target.binary(8, 9).named("coarse"))

parts = union(
    NetTailor.grid(order=["attention", "random", "last_first"]), NetTailor.grid(teacher_weight=0.0)
)
more = union(
    NetTailor.grid(imitated=["end_to_end", "logits"]), NetTailor.grid(complexity_weight=0.0)
)
REMOVED, SHALLOW = (3, 5), 77_717  # the shallower network's parameters
ON_HARD, ON_EASY = (
    {"method": "leanest", "tasks": "source + cifar"},
    {"method": "leanest", "tasks": "source + coarse"},
)
ATTENTION, NO_TEACHER = {"of.order": "attention"}, {"of.teacher_weight": "0"}


def at(removed: int, order: str, task: str) -> dict[str, Any]:
    return {
        "method": "nettailor",
        "removed": removed,
        "order": order,
        "tasks": f"source + {task}",
    }


sweep = Sweep(
    question=__doc__,
    cells=union(
        product(
            union(
                Leanest.grid(of=parts, removed=REMOVED, drop=0.01),
                NetTailor.grid(removed=list(REMOVED), order=["attention", "random", "last_first"]),
            ),
            network=cifar_resnet(2),
            tasks=[easy, hard],
            seed=range(5),
        ),
        product(
            union(
                Leanest.grid(of=more, removed=REMOVED, drop=0.01),
                Leanest.grid(parameters_at_most=SHALLOW),
                NetTailor.grid(removed=None, start=[(2.0, -2.0), (0.0, 0.0)]),
            ),
            network=cifar_resnet(2),
            tasks=hard,
            seed=range(5),
        ),
        product(
            FineTune.grid(), network=[cifar_resnet(2), cifar_resnet(1)], tasks=hard, seed=range(5)
        ),
    ),
    expect=140,
    claims=[
        claims.Higher(
            metric="area", where=ON_HARD | ATTENTION, than=ON_HARD | NO_TEACHER, paper="N4"
        ),
        claims.Equal(
            metric="area",
            where=ON_EASY | ATTENTION,
            than=ON_EASY | NO_TEACHER,
            within=0.01,
            paper="N4",
        ),
        claims.Higher(
            metric="area",
            where=ON_HARD | ATTENTION,
            than=ON_HARD | {"of.complexity_weight": 0},
            paper="no complexity",
        ),
        # The teacher helps in any of its forms.
        *(
            claims.Higher(
                metric="area",
                where=ON_HARD | {"of.imitated": form},
                than=ON_HARD | NO_TEACHER,
                paper="N4",
            )
            for form in ("end_to_end", "logits")
        ),
        claims.Higher(
            metric="accuracy",
            where={"method": "leanest", "parameters_at_most": SHALLOW},
            than={"method": "fine_tune", "network": "resnet8"},
            paper="N5",
        ),
        claims.Higher(
            metric="accuracy",
            where={"method": "nettailor", "start": "2,-2"},
            than={"method": "nettailor", "start": "0,0"},
            paper="N8",
        ),
        # Attention chooses better than chance, and than the
        # rule of thumb that late blocks go first.
        *(
            claims.Higher(
                metric="accuracy",
                where=at(k, "attention", task),
                than=at(k, other, task),
                paper="control",
            )
            for other in ("random", "last_first")
            for task in ("coarse", "cifar")
            for k in REMOVED
        ),
        # Before retraining, which makes good for a poor choice: there the choice itself shows.
        *(
            claims.Higher(
                metric="accuracy_before_retraining",
                where=at(k, "attention", task),
                than=at(k, "random", task),
                paper="control, before retraining",
            )
            for task in ("coarse", "cifar")
            for k in REMOVED
        ),
    ],
)
