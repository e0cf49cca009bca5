"""Is a new task better throughout its training when it starts from compatible parts? (C10)

Compatible Features (Gygli et al. 2020), third application: the networks and tasks of
compatible_transfer, ten seeds, batches of 16 images, a bar of 0.98, and the mean accuracy over the
whole training beside the steps to the bar, which are a first crossing of a noisy curve.
"""

from methods.compatible_features import CompatibleFeatures
from methods.compatible_features.cheaper_transfer import CheaperTransfer
from methods.networks import resnet8
from orchestrator import Sweep, claims, parquet, product

cifar = parquet("cifar10").resized(16)
rich = cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=3, limit=4000).drawn().named("rich")
near = cifar.classes(4, 5, 6, 7, 8, 9).images(1, of=3, limit=1500).drawn().named("near")
target = (
    cifar.classes(6, 7, 8, 9).images(2, of=3, limit=720).drawn().validation(0.5).named("target")
)
COMPATIBLE = ("common", "identical", "common+identical+rotation")


def at(ingredients: str, start: str) -> dict[str, str]:
    return {"ingredients": ingredients, "start": start}


sweep = Sweep(
    question=__doc__,
    cells=product(
        CheaperTransfer.grid(
            parts=CompatibleFeatures.grid(
                ingredients=[("common",), ("identical",), ("rotation", "common", "identical")],
                split="stage3",
                epochs=8,
                batch=32,
                lr=0.05,
            ),
            start=["parts", "new_head", "near"],
            split="stage3",
            epochs=20,
            batch=16,
            share=0.98,
        ),
        network=resnet8(),
        tasks=(rich, near, target),
        seed=range(10),
    ),
    expect=90,
    claims=[
        *(
            claims.Higher(
                metric="mean_val_accuracy",
                where=at(one, "parts"),
                than=at(one, other),
                paper="C10" if other == "new_head" else "against the near network",
            )
            for other in ("new_head", "near")
            for one in COMPATIBLE
        ),
        *(
            claims.Higher(
                metric="steps_to_bar", where=at(one, "new_head"), than=at(one, "parts"), paper="C10"
            )
            for one in COMPATIBLE
        ),
    ],
)
