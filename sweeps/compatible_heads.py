"""Can a classifier for other classes be moved between architectures when the auxiliary head pins
more of the features than the directions of its own classes? (C9)

Compatible Features (Gygli et al. 2020), second application: the networks of
compatible_architectures on CIFAR-100, whose shared classes are fifty instead of six, with an
auxiliary head of one linear layer and of two; then a head for ten other classes is trained on one
extractor and used on others. For a GPU.
"""

from typing import Any

from methods.compatible_features import CompatibleFeatures
from methods.compatible_features.moved_classifier import MovedClassifier
from methods.networks import projected, resnet8, small_mobilenet, small_vgg
from orchestrator import Sweep, claims, parquet, product

cifar = parquet("cifar100").resized(16)
COUNTS = (6, 50)


def learned(number: int) -> list[Any]:
    return [
        cifar.classes(*range(number))
        .images(place, of=4)
        .drawn(classes=True)
        .validation(0)
        .named(f"{name}{number}")
        for place, name in enumerate(("resnet", "vgg", "mobilenet"))
    ]


new = (
    cifar.classes(*range(90, 100)).images(3, of=4).drawn(classes=True).validation(0).named("other")
)
TASKS = {number: (new, *learned(number)) for number in COUNTS}
KINDS = ("linear", "mlp")

sweep = Sweep(
    question=__doc__,
    cells=product(
        MovedClassifier.grid(
            extractors=CompatibleFeatures.grid(
                ingredients=("common",),
                auxiliary=list(KINDS),
                incremental=True,
                split="common",
                epochs=20,
                batch=32,
                lr=0.05,
                other_networks=(
                    projected(small_vgg(), behind="stage2"),
                    projected(small_mobilenet(), behind="stage3"),
                ),
            ),
            split="common",
            epochs=10,
        ),
        network=projected(resnet8(), behind="stage3"),
        tasks=list(TASKS.values()),
        seed=range(5),
    ),
    expect=20,
    claims=[
        *(
            claims.Within(
                metric="kept_share",
                where={"auxiliary": kind, "tasks": TASKS[number]},
                above=0.8,
                paper="C9",
            )
            for kind in KINDS
            for number in COUNTS
        ),
        *(
            claims.Higher(
                metric="kept_share",
                where={"auxiliary": "mlp", "tasks": TASKS[number]},
                than={"auxiliary": "linear", "tasks": TASKS[number]},
                paper="C9, heads",
            )
            for number in COUNTS
        ),
        *(
            claims.Higher(
                metric="kept_share",
                where={"auxiliary": kind, "tasks": TASKS[50]},
                than={"auxiliary": kind, "tasks": TASKS[6]},
                paper="C9, classes",
            )
            for kind in KINDS
        ),
    ],
)
