"""How many images does it take to join a category's network to a task module that never saw the
category?

Network Transplanting (Zhang, Yang, Yu, Wu 2018): back-distillation without and with samples against
labels, distillation of outputs, and no adapter. Classification: three garments against five others,
with the task module of a fourth; 14 x 14 pixels. Segmentation: the same garments pasted on textured
canvases, 16 x 16 pixels, which pixels are the garment's.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import small_fcn, small_vgg
from orchestrator import Grid, Sweep, Task, claims, pasted, product, torchvision_set, union

fashion = torchvision_set("FashionMNIST")
BACKGROUND, HOST, GUESTS = (5, 6, 7, 8, 9), 0, (1, 2, 3)
SAMPLES = (10, 20, 50, 100)


def classify(category: int) -> Task:
    """Is it this garment, or one of the background?"""
    return (
        fashion.classes(category, *BACKGROUND)
        .binary(category, called="category")
        .resized(14)
        .images(limit=2400)
        .drawn()
        .validation(0.25)
    )


def segment(*garments: int) -> Task:
    """Which pixels belong to one of these garments?"""
    return (
        pasted(fashion)
        .classes(*garments)
        .foreground()
        .resized(16)
        .images(limit=800)
        .drawn()
        .validation(0.25)
    )


def adapters(**settings: Any) -> Grid:
    """Adapters of three layers behind stage2 that are not trained, but for these settings."""
    all_settings = {
        "split": ["stage2"],
        "depth": [3],
        "gradients": ["none"],
        "labels": ["none"],
        "samples": [0],
        **settings,
    }
    return NetworkTransplanting.grid(
        specific=FineTune(epochs=10, lr=0.03, batch=32), steps=400, **all_settings
    )


classification = union(
    adapters(depth=[0, 1, 3]),
    adapters(gradients=["lin", "dummy", "noise"]),
    adapters(labels=["synthetic"]),
    adapters(gradients=["noise"], depth=[1]),
    adapters(gradients=["noise", "none"], labels=["direct"], samples=[10, 20], depth=[1]),
    adapters(labels=["direct"], samples=[50, 100], depth=[1]),
    adapters(gradients=["noise", "none"], labels=["direct"], samples=list(SAMPLES)),
    adapters(labels=["distill", "both"], samples=list(SAMPLES)),
    adapters(gradients=["real"], samples=list(SAMPLES)),
    adapters(labels=["direct"], samples=[10, 100], everything=[True]),
    adapters(split=["stage1"], depth=[0, 3]),
    adapters(split=["stage1"], gradients=["noise"]),
)
segmentation = union(
    adapters(depth=[0, 3]),
    adapters(gradients=["noise"]),
    adapters(gradients=["noise", "none"], labels=["direct"], samples=[10, 100]),
)

# Classification and segmentation; cells that train everything are a reference, in no claim.
CLS, SEG = (
    {"network": network, "split": "stage2", "everything": "-"}
    for network in (small_vgg(), small_fcn())
)


def at(gradients: str, labels: str, samples: int, depth: int = 3) -> dict[str, Any]:
    return {"gradients": gradients, "labels": labels, "samples": samples, "depth": depth}


ZERO = at("noise", "none", 0)

sweep = Sweep(
    question=__doc__,
    cells=union(
        product(
            classification,
            network=small_vgg(),
            tasks=[
                (
                    fashion.classes(*BACKGROUND)
                    .resized(14)
                    .images(limit=4000)
                    .drawn()
                    .named("pretrain"),
                    classify(HOST).named("host"),
                    classify(c).named(f"guest{c}"),
                )
                for c in GUESTS
            ],
            seed=range(5),
        ),
        product(
            segmentation,
            network=small_fcn(),
            tasks=[
                (
                    segment(*BACKGROUND).named("pretrain"),
                    segment(HOST).named("host"),
                    segment(c).named(f"guest{c}"),
                )
                for c in GUESTS
            ],
            seed=range(5),
        ),
    ),
    expect=690,
    claims=[
        # Asked after the first results were seen: a shallow adapter serves both sides better.
        claims.Higher(
            metric="balanced_error",
            where=CLS | at("none", "direct", 100, 1),
            than=CLS | at("noise", "none", 0, 1),
            paper="T1, depth 1",
        ),
        # An error that is higher with N images than without any: no image does better than N.
        *(
            claims.Higher(
                metric="balanced_error",
                where=CLS | at("none", how, n),
                than=CLS | ZERO,
                paper="T1" if n == 100 else "T5",
            )
            for n in (100, 10, 20)
            for how in ("direct", "distill")
        ),
        # Ranking alone: for both sides the threshold that is best on validation images.
        *(
            claims.Higher(
                metric="calibrated_error",
                where=task | at("none", "direct", n),
                than=task | ZERO,
                paper="T1, ranking" if n == 100 else "T5, ranking",
            )
            for n in (100, 10)
            for task in (CLS, SEG)
        ),
        # With as many images, gradients and labels do better than any comparison of outputs.
        *(
            claims.Higher(
                metric="balanced_error",
                where=CLS | at("none", how, n),
                than=CLS | at("noise", "direct", n),
                paper="T2",
            )
            for n in SAMPLES
            for how in ("direct", "distill", "both")
        ),
        # The deeper adapter needs more images, compared by labels.
        *(
            claims.Higher(
                metric="balanced_error",
                where=CLS | at("none", "direct", n, 3),
                than=CLS | at("none", "direct", n, 1),
                paper="T5, depth",
            )
            for n in (10, 20)
        ),
        # What the host computes does not change. 1e-12: it is
        # exactly 0, and a bar has to be above it.
        *(
            claims.Within(metric="retention", where=task, below=1e-12, paper="T3")
            for task in (CLS, SEG)
        ),
        # Without an adapter, or with a random one, the two modules do not fit.
        *(
            claims.Within(
                metric="balanced_error",
                where=CLS | at("none", "none", 0, depth),
                above=0.4,
                paper="T6",
            )
            for depth in (0, 3)
        ),
        claims.Higher(
            metric="balanced_error",
            where=CLS | at("none", "synthetic", 0),
            than=CLS | ZERO,
            paper="outputs",
        ),
        *(
            claims.Higher(
                metric="balanced_error",
                where=SEG | at("none", "direct", n),
                than=SEG | ZERO,
                paper="T1" if n == 100 else "T5",
            )
            for n in (100, 10)
        ),
        *(
            claims.Higher(
                metric="balanced_error",
                where=SEG | at("none", "direct", n),
                than=SEG | at("noise", "direct", n),
                paper="T2",
            )
            for n in (10, 100)
        ),
        *(
            claims.Within(
                metric="balanced_error",
                where=SEG | at("none", "none", 0, depth),
                above=0.4,
                paper="T6",
            )
            for depth in (0, 3)
        ),
    ],
)
