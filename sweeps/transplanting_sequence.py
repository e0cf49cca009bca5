"""Can categories be joined to one task module one after another, and does it matter which of them
the module was trained for?

Network Transplanting (Zhang, Yang, Yu, Wu 2018): five garments against five others at 14 x 14
pixels. Each provides the task module once, and the others are joined to it in turn, without a
sample.
"""

from methods.fine_tune import FineTune
from methods.network_transplanting import NetworkTransplanting
from methods.networks import small_vgg
from orchestrator import Sweep, claims, product, torchvision_set

fashion = torchvision_set("FashionMNIST").resized(14)
BACKGROUND = (5, 6, 7, 8, 9)
NAMES = ("shirt", "trouser", "pullover", "dress", "coat")

pretrain = fashion.classes(*BACKGROUND).images(limit=4000).drawn().named("pretrain")
categories = [
    fashion.classes(number, *BACKGROUND)
    .binary(number, called="category")
    .images(limit=2400)
    .drawn()
    .validation(0.25)
    .named(name)
    for number, name in enumerate(NAMES)
]

sweep = Sweep(
    question=__doc__,
    cells=product(
        NetworkTransplanting.grid(
            split="stage2", specific=FineTune(epochs=10, lr=0.03, batch=32), steps=400
        ),
        network=small_vgg(),
        tasks=[
            (pretrain, *categories[first:], *categories[:first]) for first in range(len(categories))
        ],
        seed=range(5),
    ),
    expect=25,
    claims=[
        claims.Within(metric="retention", where={}, below=1e-12, paper="T3"),
        claims.Equal(
            metric="error_at", where={"place": 4}, than={"place": 1}, within=0.02, paper="T4"
        ),
        claims.Within(metric="gap", where={}, below=0.05, paper="T4"),
    ],
)
