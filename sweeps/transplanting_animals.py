"""Does no sample beat 100 where the categories' own networks are far from perfect? (T1, T2)

Network Transplanting (Zhang, Yang, Yu, Wu 2018) on CIFAR-10 (a JPEG re-encoding) at its 32 x 32
pixels: each animal against the four vehicles, all images, a network in the manner of VGG without
batch norm. For a GPU.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import small_vgg
from orchestrator import Grid, Sweep, Task, claims, parquet, product, union

cifar = parquet("cifar10")
VEHICLES = (0, 1, 8, 9)
ANIMALS = {"bird": 2, "cat": 3, "deer": 4, "dog": 5, "frog": 6, "horse": 7}
HOST, *GUESTS = ANIMALS


def animal(name: str) -> Task:
    number = ANIMALS[name]
    whole = cifar.classes(number, *VEHICLES).binary(number, called="category")
    return whole.drawn().validation(0.2).named(name)


def adapters(**settings: Any) -> Grid:
    every = {"gradients": ["none"], "labels": ["none"], "samples": [0], **settings}
    return NetworkTransplanting.grid(
        split="stage2",
        depth=3,
        specific=FineTune(epochs=30, lr=0.03, augmentation="crop and flip"),
        steps=2000,
        **every,
    )


def at(gradients: str, labels: str, samples: int) -> dict[str, Any]:
    return {"gradients": gradients, "labels": labels, "samples": samples}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            adapters(gradients=["noise"]),
            adapters(labels=["direct", "distill", "both", "hint"], samples=[10, 20, 50, 100]),
            adapters(gradients=["noise"], labels=["direct"], samples=[10, 20, 50, 100]),
        ),
        network=small_vgg(width=32),
        tasks=[
            (
                cifar.classes(*VEHICLES).drawn().validation(0).named("vehicles"),
                animal(HOST),
                animal(guest),
            )
            for guest in GUESTS
        ],
        seed=range(5),
    ),
    expect=525,
    claims=[
        *(
            claims.Higher(
                metric="balanced_error",
                where=at("none", how, 100),
                than=at("noise", "none", 0),
                paper="T1",
            )
            for how in ("direct", "distill", "both", "hint")
        ),
        # Ranking alone: for both sides the threshold that is best on validation images.
        *(
            claims.Higher(
                metric="calibrated_error",
                where=at("none", how, 100),
                than=at("noise", "none", 0),
                paper="T1, ranking",
            )
            for how in ("direct", "distill", "both", "hint")
        ),
        *(
            claims.Higher(
                metric="balanced_error",
                where=at("none", "direct", n),
                than=at("noise", "direct", n),
                paper="T2",
            )
            for n in (10, 20, 50, 100)
        ),
    ],
)
