"""Does the order matter in which networks are made compatible with the first one? (C5, on digits)

Three tasks of scikit-learn's digits, eight classes in common, in all six orders. A later network
depends on the first only, so the six orders of a seed are three first networks and six later ones.
"""

import itertools

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, claims, digits, product

a, b, c = (digits.images(third, of=3).drawn().validation(0) for third in range(3))
# Classes 0 to 7 are in common; what each task has besides tells them apart.
tasks = [
    a.classes(*range(8), 8).named("a"),
    b.classes(*range(8), 9).named("b"),
    c.classes(*range(8), 8, 9).named("c"),
]

PROTOCOLS = ("compatibility", "compatibility_by_head")
orders = list(itertools.permutations(tasks))
SAME_FIRST = [[order for order in orders if order[0] == first] for first in tasks]

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(
            of=CompatibleFeatures.grid(
                ingredients=[(), ("common",)], split="stage3", incremental=True, epochs=33
            )
        ),
        network=resnet8(),
        tasks=orders,
        seed=range(5),
    ),
    expect=60,
    claims=[
        *(
            claims.Within(
                metric=protocol, where={"ingredients": ("common",)}, above=0.5, paper="C5"
            )
            for protocol in PROTOCOLS
        ),
        claims.Within(
            metric="compatibility", where={"ingredients": ()}, below=0.15, paper="control"
        ),
        *(
            claims.Unchanged(
                metric=protocol,
                axis="tasks",
                where={"ingredients": ("common",), "tasks": same_first},
                paper="C5",
            )
            for protocol in PROTOCOLS
            for same_first in SAME_FIRST
        ),
        claims.Spread(
            metric="compatibility",
            axis="tasks",
            above=0.05,
            where={"ingredients": ("common",)},
            paper="which is first",
        ),
    ],
)
