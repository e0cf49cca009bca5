"""Where gradients at synthetic features rank images well and miss the threshold: is a constant
missing, or are margins too small; and do ten images without labels mend it? (T1)

Network Transplanting (Zhang, Yang, Yu, Wu 2018), on scikit-learn's digits: adapters of one and of
three layers behind the first and the second stage. With the first, gradients do not agree well. An
offset from ten images, five of each label: so that the mean margin is the teacher's, or so that
they fall on the sides on which the teacher puts them.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import small_vgg
from orchestrator import Grid, Sweep, Task, claims, digits, product, union

BACKGROUND, GUESTS = (5, 6, 7, 8, 9), (1, 2, 3)
SPLITS, DEPTHS = ("stage1", "stage2"), (1, 3)


def category(number: int) -> Task:
    whole = digits.classes(number, *BACKGROUND).binary(number, called="category")
    return whole.drawn().validation(0.2).named(f"digit{number}")


def adapters(**settings: Any) -> Grid:
    return NetworkTransplanting.grid(
        split=list(SPLITS),
        depth=list(DEPTHS),
        specific=FineTune(epochs=15, lr=0.03, batch=32),
        steps=300,
        **settings,
    )


def at(split: str, depth: int, calibrate: str = "none") -> dict[str, Any]:
    return {"split": split, "depth": depth, "calibrate": calibrate}


PLACES = [(split, depth) for split in SPLITS for depth in DEPTHS]

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            adapters(calibrate=["none"]),
            adapters(calibrate=["teacher", "decisions"], samples=[10]),
        ),
        network=small_vgg(),
        tasks=[
            (
                digits.classes(*BACKGROUND).drawn().validation(0).named("pretrain"),
                category(0),
                category(guest),
            )
            for guest in GUESTS
        ],
        seed=range(5),
    ),
    expect=180,
    claims=[
        # Margins are smaller than the teacher's, or agree with them less, most of all where
        # gradients agree least: a slope is a correlation times a ratio of spreads.
        *(
            claims.Within(metric="margin_slope", where=at(*place), below=0.9, paper="margins")
            for place in PLACES
        ),
        *(
            claims.Higher(
                metric="margin_slope",
                where=at("stage2", depth),
                than=at("stage1", depth),
                paper="margins",
            )
            for depth in DEPTHS
        ),
        # Where they are smallest the teacher's mean is no measure of what is missing.
        claims.Higher(
            metric="balanced_error",
            where=at("stage1", 1, calibrate="teacher"),
            than=at("stage1", 1),
            paper="the teacher's mean does harm",
        ),
        *(
            claims.Higher(
                metric="balanced_error",
                where=at(*place),
                than=at(*place, calibrate="decisions"),
                paper="T1, offset",
            )
            for place in PLACES
        ),
    ],
)
