"""Does the order matter in which networks are made compatible with the first one? (C5, on digits)

Three tasks of scikit-learn's digits, eight classes in common, in all six orders. A later network depends on the first only, so the six orders of a
seed are three first networks and six later ones.
"""

import itertools

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator.claims import DependsOn, Within
from orchestrator.data import digits
from orchestrator.grid import product
from orchestrator.sweep import Sweep

tasks = [
    digits.classes(*range(8), *more).images(number, of=3).validation(0).named(name)
    for number, (name, more) in enumerate({"a": (8,), "b": (9,), "c": (8, 9)}.items())
]

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=CompatibleFeatures.grid(ingredients=[(), ("common",)], split="stage3", incremental=True, epochs=33)),
        network=resnet8(),
        tasks=list(itertools.permutations(tasks)),
        seed=range(5),
    ),
    expect=60,
    claims=[
        Within(metric="compatibility", where={"ingredients": "common"}, above=0.5, paper="C5"),
        Within(metric="compatibility", where={"ingredients": "none"}, below=0.15, paper="control"),
        DependsOn(metric="compatibility", axis="tasks", paper="C5"),
    ],
)
