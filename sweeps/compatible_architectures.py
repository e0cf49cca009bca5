"""Can a classifier be moved to an extractor of another architecture? (C9)

Compatible Features (Gygli et al. 2020), second application, on CIFAR-10 (a JPEG re-encoding) at 16
x 16 pixels: a residual network, one in the manner of VGG and one of MobileNetV2 learn six classes,
each from images of its own; then a head for other classes, or for other images of the same ones.
"""

from typing import Any

from methods.compatible_features import CompatibleFeatures
from methods.compatible_features.moved_classifier import MovedClassifier
from methods.networks import projected, resnet8, small_mobilenet, small_vgg
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").resized(16)
learned = [
    cifar.classes(0, 1, 2, 3, 4, 5)
    .images(number, of=4, limit=1500)
    .drawn()
    .validation(0)
    .named(name)
    for number, name in enumerate(("resnet", "vgg", "mobilenet"))
]
same = (
    cifar.classes(0, 1, 2, 3, 4, 5).images(3, of=4, limit=1500).drawn().validation(0).named("same")
)
other = cifar.classes(6, 7, 8, 9).images(3, of=4, limit=1000).drawn().validation(0).named("other")

FIT = {
    "split": "common",
    "epochs": 10,
    "batch": 32,
    "lr": 0.05,
    "other_networks": (
        projected(small_vgg(), behind="stage2"),
        projected(small_mobilenet(), behind="stage3"),
    ),
}
extractors = union(
    CompatibleFeatures.grid(
        ingredients=[(), ("common",), ("rotation", "common")], incremental=False, **FIT
    ),
    CompatibleFeatures.grid(
        ingredients=[("common",), ("rotation", "common")], incremental=True, **FIT
    ),
)


def at(ingredients: str, new: str, incremental: bool = False) -> dict[str, Any]:
    return {
        "ingredients": ingredients,
        "incremental": incremental,
        "tasks": f"{new} + resnet + vgg + mobilenet",
    }


sweep = Sweep(
    question=__doc__,
    cells=product(
        MovedClassifier.grid(extractors=extractors, split="common", epochs=10),
        network=projected(resnet8(), behind="stage3"),
        tasks=[(new, *learned) for new in (same, other)],
        seed=range(5),
    ),
    expect=50,
    claims=[
        # A head keeps most of what it is above chance, on extractors that it never saw.
        *(
            claims.Within(
                metric="kept_share", where=at(ingredients, new, incremental), above=0.8, paper="C9"
            )
            for new in ("same", "other")
            for ingredients in ("common", "common+rotation")
            for incremental in (False, True)
        ),
        *(
            claims.Within(metric="kept_share", where=at("none", new), below=0.15, paper="control")
            for new in ("same", "other")
        ),
        # A bar that is lower: whether common classes help at all.
        *(
            claims.Higher(
                metric="kept_share",
                where=at("common", new),
                than=at("none", new),
                by=0.2,
                paper="C9, at all",
            )
            for new in ("same", "other")
        ),
    ],
)
