"""Which gradients, from which start, join two modules without a sample; and is what is left an
offset? (T1)

Network Transplanting (Zhang, Yang, Yu, Wu 2018), on scikit-learn's digits: gradients without images
(all gates open; gates drawn, those of the adapter, too) and at synthetic features, from random
first weights and from the identity; an offset from ten labelled images, or from ten without labels.
With baselines of the same ten images: labels, hints, gradients with respect to the images, and a
task module of one's own.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import small_vgg
from orchestrator import Grid, Sweep, Task, claims, digits, product, union

BACKGROUND, GUESTS = (5, 6, 7, 8, 9), (1, 2, 3)


def category(number: int) -> Task:
    whole = digits.classes(number, *BACKGROUND).binary(number, called="category")
    return whole.drawn().validation(0.2).named(f"digit{number}")


def adapters(**settings: Any) -> Grid:
    every = {
        "gradients": ["none"],
        "labels": ["none"],
        "samples": [0],
        "start": ["he"],
        "calibrate": ["none"],
        "new_task_module": [False],
        **settings,
    }
    return NetworkTransplanting.grid(
        split="stage2",
        depth=3,
        specific=FineTune(epochs=15, lr=0.03, batch=32),
        steps=300,
        **every,
    )


def at(gradients: str, start: str = "he", calibrate: str = "none") -> dict[str, Any]:
    return {
        "gradients": gradients,
        "labels": "none",
        "start": start,
        "calibrate": calibrate,
        "samples": 0 if calibrate == "none" else 10,
    }


def with_ten(gradients: str, labels: str) -> dict[str, Any]:
    return {
        "gradients": gradients,
        "labels": labels,
        "samples": 10,
        "start": "he",
        "calibrate": "none",
        "new_task_module": False,
    }


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            adapters(gradients=["lin", "dummy", "noise"], start=["he", "dirac"]),
            adapters(gradients=["dummy", "noise"], calibrate=["labels", "teacher"], samples=[10]),
            adapters(labels=["direct", "hint"], samples=[10]),
            adapters(gradients=["real", "input"], samples=[10]),
            adapters(labels=["direct"], samples=[10], new_task_module=[True]),
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
    expect=225,
    claims=[
        # Drawn gates are more than none; the true ones at synthetic features more than drawn ones.
        claims.Higher(
            metric="balanced_error", where=at("lin"), than=at("dummy"), paper="T1, gates"
        ),
        claims.Higher(
            metric="balanced_error", where=at("dummy"), than=at("noise"), paper="T1, gates"
        ),
        # From the identity, less is left to learn.
        *(
            claims.Higher(
                metric="balanced_error",
                where=at(gradients),
                than=at(gradients, start="dirac"),
                paper="T1, start",
            )
            for gradients in ("lin", "dummy", "noise")
        ),
        # Gradients say nothing about a constant: what a threshold of ten images makes good.
        *(
            claims.Higher(
                metric="balanced_error",
                where=at(gradients),
                than=at(gradients, calibrate=how),
                paper="T1, offset",
            )
            for gradients in ("dummy", "noise")
            for how in ("labels", "teacher")
        ),
        # What ten images are good for otherwise, against no image at all.
        *(
            claims.Higher(
                metric="balanced_error",
                where=with_ten(gradients, labels),
                than=at("noise"),
                paper="T5, baselines",
            )
            for gradients, labels in (("none", "direct"), ("none", "hint"), ("input", "none"))
        ),
        claims.Higher(
            metric="balanced_error",
            where={"new_task_module": True},
            than=at("noise"),
            paper="T5, a task module of its own",
        ),
    ],
)
