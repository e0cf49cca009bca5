"""Does an extractor that was made compatible without labels beat a network that saw only the source
domain? (C8)

Compatible Features (Gygli et al. 2020), first application: domains of PACS (photographs and
cartoons, 24 x 24 pixels) and shifts of MNIST, Fashion-MNIST and KMNIST (14 x 14), both directions.
Against one network with rotation on both domains (Sun et al. 2019) and re-estimated batch norm.
"""

from typing import Literal

from methods.compatible_features import CompatibleFeatures
from methods.compatible_features.domain_adaptation import DomainAdaptation
from methods.networks import resnet8
from orchestrator import Sweep, Task, claims, parquet, product, torchvision_set, union

photo, cartoon = (
    parquet("pacs", where={"domain": domain})
    .resized(24)
    .images(limit=1200)
    .drawn()
    .validation(0)
    .named(domain)
    for domain in ("photo", "cartoon")
)


def shifted(
    data: Task,
    name: str,
    kind: Literal["inverted", "noisy", "contrast"],
    amount: float | None = None,
) -> tuple[Task, Task]:
    """Two halves of a data set, the second one shifted to another domain."""
    first, second = (
        data.resized(14).images(half, of=2, limit=1200).drawn().validation(0) for half in (0, 1)
    )
    return first.named(name), second.shifted(kind, amount).named(f"{name}-{kind[:3]}")


mnist = shifted(torchvision_set("MNIST"), "mnist", "inverted")
fashion = shifted(torchvision_set("FashionMNIST"), "fashion", "noisy", 0.3)
kmnist = shifted(parquet("kmnist"), "kmnist", "contrast", 0.3)
directions = []
# Either domain may be the one without labels.
for first, second in ((photo, cartoon), mnist, fashion, kmnist):
    directions += [(first, second), (second, first)]

FIT = {"epochs": 10, "batch": 32, "lr": 0.05, "unlabelled": True, "transforms": "rotate"}
trainings = union(
    CompatibleFeatures.grid(
        ingredients=[("rotation", "identical"), ("rotation", "trained")],
        split="stage2",
        incremental=True,
        **FIT,
    ),
    CompatibleFeatures.grid(
        ingredients=("rotation", "shared"), split="stage3", incremental=False, **FIT
    ),
)

WAYS = [
    {"ingredients": ("identical", "rotation"), "split": "stage2", "incremental": True},
    {"ingredients": ("rotation", "trained"), "split": "stage2", "incremental": True},
]
SHARED = {"ingredients": ("rotation", "shared"), "split": "stage3", "incremental": False}

sweep = Sweep(
    question=__doc__,
    cells=product(
        DomainAdaptation.grid(training=trainings),
        network=resnet8(width=8),
        tasks=directions,
        seed=range(5),
    ),
    expect=120,
    claims=[
        # In each direction by itself: a mean over domains would hide where it fails.
        *(
            claims.Within(metric="gain", where={**way, "tasks": tasks}, above=0.0, paper="C8")
            for way in WAYS
            for tasks in directions
        ),
        *(
            claims.Within(
                metric="gain", where={**SHARED, "tasks": tasks}, above=0.0, paper="one network"
            )
            for tasks in directions
        ),
        # Against the older way, one network with rotation on both domains.
        *(
            claims.Higher(
                metric="adapted_accuracy",
                where=way,
                than=SHARED,
                paper="C8, one network",
            )
            for way in WAYS
        ),
        # With the statistics of the target's images on both sides: what is left of the gain.
        *(
            claims.Within(
                metric="re_estimated_gain", where=way, above=0.0, paper="C8, both re-estimated"
            )
            for way in WAYS
        ),
        # And against what takes no training at all.
        *(
            claims.Within(
                metric="gain_over_re_estimated", where=way, above=0.0, paper="C8, batch norm"
            )
            for way in WAYS
        ),
    ],
)
