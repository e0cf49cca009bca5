"""Do gradients beat outputs, and do deeper adapters need more images, over many categories; and is
a module useless without an adapter wherever it is cut? (T5, T6)

Network Transplanting (Zhang, Yang, Yu, Wu 2018): the networks and images of transplanting_samples
with four garments as guests and ten seeds, cut after the first, second and third stage.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import small_vgg
from orchestrator import Grid, Sweep, Task, claims, product, torchvision_set, union

fashion = torchvision_set("FashionMNIST").resized(14)
BACKGROUND, HOST, GUESTS = (5, 6, 7, 8, 9), 0, (1, 2, 3, 4)


def classify(category: int) -> Task:
    return (
        fashion.classes(category, *BACKGROUND)
        .binary(category, called="category")
        .images(limit=2400)
        .drawn()
        .validation(0.25)
    )


def adapters(**settings: Any) -> Grid:
    every = {
        "split": ["stage2"],
        "depth": [3],
        "gradients": ["none"],
        "labels": ["none"],
        "samples": [0],
        **settings,
    }
    return NetworkTransplanting.grid(
        specific=FineTune(epochs=10, lr=0.03, batch=32), steps=400, **every
    )


def at(labels: str, samples: int, depth: int) -> dict[str, Any]:
    return {
        "split": "stage2",
        "gradients": "none",
        "labels": labels,
        "samples": samples,
        "depth": depth,
    }


ZERO = {**at("none", 0, 3), "gradients": "noise"}

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            adapters(gradients=["noise"]),
            adapters(labels=["synthetic"]),
            adapters(labels=["direct"], samples=[10, 20], depth=[1, 3]),
            adapters(depth=[0], split=["stage1", "stage2", "stage3"]),
        ),
        network=small_vgg(),
        tasks=[
            (
                fashion.classes(*BACKGROUND).images(limit=4000).drawn().named("pretrain"),
                classify(HOST).named("host"),
                classify(guest).named(f"guest{guest}"),
            )
            for guest in GUESTS
        ],
        seed=range(10),
    ),
    expect=360,
    claims=[
        claims.Higher(
            metric="balanced_error", where=at("synthetic", 0, 3), than=ZERO, paper="outputs"
        ),
        *(
            claims.Higher(
                metric="balanced_error",
                where=at("direct", n, 3),
                than=at("direct", n, 1),
                paper="T5, depth",
            )
            for n in (10, 20)
        ),
        *(
            claims.Higher(metric="balanced_error", where=at("direct", n, 3), than=ZERO, paper="T5")
            for n in (10, 20)
        ),
        # Ranking alone: for both sides the threshold that is best on validation images.
        *(
            claims.Higher(
                metric="calibrated_error",
                where=at("direct", n, 3),
                than=ZERO,
                paper="T5, ranking",
            )
            for n in (10, 20)
        ),
        *(
            claims.Within(
                metric="balanced_error",
                where={**at("none", 0, 0), "split": split},
                above=0.4,
                paper="T6",
            )
            for split in ("stage1", "stage2", "stage3")
        ),
    ],
)
