"""Does a new task take fewer steps when it starts from compatible parts than when its head is
initialised from scratch? (C10)

Compatible Features (Gygli et al. 2020), third application, on CIFAR-10 (a JPEG re-encoding) at 16 x
16 pixels: an extractor that learned eight classes from 3,600 images, the head of a network that
learned six from 1,350, and 360 images of four classes, two of them new to the extractor.
"""

from methods.compatible_features import CompatibleFeatures
from methods.compatible_features.cheaper_transfer import CheaperTransfer
from methods.networks import resnet8
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").resized(16)
rich = cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=3, limit=4000).drawn().named("rich")
near = cifar.classes(4, 5, 6, 7, 8, 9).images(1, of=3, limit=1500).drawn().named("near")
target = (
    cifar.classes(6, 7, 8, 9).images(2, of=3, limit=720).drawn().validation(0.5).named("target")
)

FIT = {"split": "stage3", "epochs": 8, "batch": 32, "lr": 0.05}
parts = CompatibleFeatures.grid(
    ingredients=[(), ("common",), ("identical",), ("rotation", "common", "identical")], **FIT
)
COMPATIBLE = ("common", "identical", "common+identical+rotation")


def at(ingredients: str, start: str) -> dict[str, str]:
    return {"ingredients": ingredients, "start": start}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            CheaperTransfer.grid(
                parts=parts, start=["parts", "new_head", "near"], split="stage3", epochs=30
            ),
            CheaperTransfer.grid(
                parts=CompatibleFeatures.grid(ingredients=(), **FIT),
                start="drawn",
                split="stage3",
                epochs=30,
            ),
        ),
        network=resnet8(),
        tasks=(rich, near, target),
        seed=range(5),
    ),
    expect=65,
    claims=[
        # Steps to the bar: fewer from compatible parts than with a new head.
        *(
            claims.Higher(
                metric="steps_to_bar", where=at(one, "new_head"), than=at(one, "parts"), paper="C10"
            )
            for one in COMPATIBLE
        ),
        claims.Higher(
            metric="steps_to_bar",
            where=at("none", "new_head"),
            than=at("none", "parts"),
            paper="control",
        ),
        # A head that fits is far above chance before the first step.
        *(
            claims.Higher(
                metric="first_val_accuracy",
                where=at(one, "parts"),
                than=at(one, "new_head"),
                by=0.1,
                paper="C10",
            )
            for one in COMPATIBLE
        ),
        # And fewer than from the whole network of the near task, which has the same head.
        *(
            claims.Higher(
                metric="steps_to_bar",
                where=at(one, "near"),
                than=at(one, "parts"),
                paper="against the near network",
            )
            for one in COMPATIBLE
        ),
    ],
)
