"""How far has a proxy to reach, and is that different for easy and for hard tasks? (N6)

NetTailor (Morgado and Vasconcelos 2019), table 1: proxies that bridge one block, up to three, up to
five, or any number, on the easy and the hardest task of nettailor_difficulty.
"""

from typing import Any

from methods.nettailor import NetTailor
from methods.nettailor.leanest import Leanest
from methods.networks import cifar_resnet
from orchestrator import Sweep, claims, parquet, product

cifar = parquet("cifar10").rgb().resized(16)
source = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).drawn().named("source")
target = cifar.classes(5, 6, 7, 8, 9).images(limit=2400).drawn().validation(0.375)
hard, easy = (source, target.named("cifar")), (source, target.binary(8, 9).named("coarse"))


def at(skip: Any, tasks: Any) -> dict[str, Any]:
    return {"of.skip": skip, "tasks": tasks}


sweep = Sweep(
    question=__doc__,
    cells=product(
        Leanest.grid(of=NetTailor.grid(skip=[1, 3, 5, None]), removed=(1, 3, 5), drop=0.01),
        network=cifar_resnet(2),
        tasks=[easy, hard],
        seed=range(5),
    ),
    expect=40,
    claims=[
        # Farther proxies make the easy task's network leaner, and not the hard one's.
        claims.Higher(metric="flops_at_drop", where=at(3, easy), than=at("none", easy), paper="N6"),
        claims.Equal(
            metric="flops_at_drop",
            where=at(3, hard),
            than=at("none", hard),
            within=0.05,
            paper="N6",
        ),
        # Three blocks are enough.
        *(
            claims.NoWorse(
                metric="area",
                where=at(3, tasks),
                than=at(more, tasks),
                by=0.005,
                never=0.01,
                paper="N6",
            )
            for tasks in (easy, hard)
            for more in (5, "none")
        ),
        *(
            claims.Higher(metric="area", where=at(3, tasks), than=at(1, tasks), paper="N6")
            for tasks in (easy, hard)
        ),
    ],
)
