"""Do networks that were trained to be compatible still need an adapter?

Network Transplanting (Zhang et al. 2018) meets Compatible Features (Gygli et al. 2020): the
networks of two garments are trained together, with what makes features compatible, and joined with
and without an adapter; 14 x 14 pixels.
"""

from typing import Any

from methods.compatible_features import CompatibleFeatures
from methods.network_transplanting import NetworkTransplanting
from methods.networks import small_vgg
from orchestrator import Sweep, claims, product, torchvision_set

fashion = torchvision_set("FashionMNIST").resized(14)
BACKGROUND = (5, 6, 7, 8, 9)
WAYS: list[tuple[str, ...]] = [(), ("common",), ("identical",), ("rotation", "common", "identical")]

pretrain = fashion.classes(*BACKGROUND).images(limit=4000).drawn().named("pretrain")
host, *guests = [
    fashion.classes(number, *BACKGROUND)
    .binary(number, called="category")
    .images(limit=2400)
    .drawn()
    .validation(0.25)
    .named(f"garment{number}")
    for number in range(4)
]


def at(way: tuple[str, ...], depth: int) -> dict[str, Any]:
    return {"ingredients": way, "depth": depth}


sweep = Sweep(
    question=__doc__,
    cells=product(
        NetworkTransplanting.grid(
            split="stage2",
            jointly=CompatibleFeatures.grid(
                ingredients=WAYS, split="stage2", epochs=10, lr=0.03, batch=32
            ),
            depth=[0, 3],
            steps=400,
        ),
        network=small_vgg(),
        tasks=[(pretrain, host, guest) for guest in guests],
        seed=range(5),
    ),
    expect=120,
    claims=[
        *(
            claims.Within(metric="gap", where=at(way, 0), below=0.02, paper="no adapter needed")
            for way in (("common",), ("identical",))
        ),
        *(
            claims.Higher(
                metric="balanced_error",
                where=at(way, 0),
                than=at(way, 3),
                paper="an adapter helps",
            )
            for way in ((), ("common",))
        ),
        claims.Equal(
            metric="balanced_error",
            where=at(("common",), 0),
            than=at((), 3),
            within=0.02,
            paper="either way",
        ),
    ],
)
