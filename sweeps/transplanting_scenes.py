"""Do adapters learn without a sample where masks are real? (T1, T3, T6)

Network Transplanting (Zhang, Yang, Yu, Wu 2018): road scenes of CamVid at 64 x 64 pixels, which
pixels are road, sky, building or tree. A network that tells cars, pavements and other things from
all else is what all start from; the road's brings the task module.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import small_fcn
from orchestrator import Grid, Sweep, Task, claims, parquet, product, union

scenes = parquet("camvid", mask="mask").resized(64).drawn().validation(0.2)
GUESTS = ("sky", "building", "tree")


def shown(*categories: str) -> Task:
    return scenes.foreground(*categories)


def adapters(**settings: Any) -> Grid:
    every = {"depth": [3], "gradients": ["none"], "labels": ["none"], "samples": [0], **settings}
    return NetworkTransplanting.grid(
        split="stage2",
        specific=FineTune(epochs=20, lr=0.03, batch=16),
        steps=400,
        batch=16,
        **every,
    )


def at(gradients: str, labels: str, samples: int) -> dict[str, Any]:
    return {"depth": 3, "gradients": gradients, "labels": labels, "samples": samples}


ZERO = at("noise", "none", 0)

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            adapters(depth=[0, 3]),
            adapters(gradients=["noise"]),
            adapters(gradients=["noise", "none"], labels=["direct"], samples=[10, 100]),
            adapters(labels=["distill", "hint"], samples=[10, 100]),
        ),
        network=small_fcn(),
        tasks=[
            (
                shown("car", "pavement", "fence", "pole").named("things"),
                shown("road").named("road"),
                shown(category).named(category),
            )
            for category in GUESTS
        ],
        seed=range(5),
    ),
    expect=165,
    claims=[
        *(
            claims.Higher(
                metric="balanced_error",
                where=at("none", how, n),
                than=ZERO,
                paper="T1" if n == 100 else "T5",
            )
            for n in (100, 10)
            for how in ("direct", "distill", "hint")
        ),
        # Ranking alone: for both sides the threshold that is best on validation images.
        *(
            claims.Higher(
                metric="calibrated_error",
                where=at("none", "direct", n),
                than=ZERO,
                paper="T1, ranking" if n == 100 else "T5, ranking",
            )
            for n in (100, 10)
        ),
        *(
            claims.Higher(
                metric="balanced_error",
                where=at("none", "direct", n),
                than=at("noise", "direct", n),
                paper="T2",
            )
            for n in (10, 100)
        ),
        claims.Within(metric="retention", where={}, below=1e-12, paper="T3"),
        *(
            claims.Within(
                metric="balanced_error",
                where={**at("none", "none", 0), "depth": depth},
                above=0.4,
                paper="T6",
            )
            for depth in (0, 3)
        ),
    ],
)
