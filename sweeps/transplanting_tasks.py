"""Can a category be joined to several tasks of one network, and does anything old change? (T1, T3,
T4: categories by tasks)

Network Transplanting (Zhang, Yang, Yu, Wu 2018): garments on textured canvases of 16 x 16 pixels,
each with two tasks, which share the garment's category module: is it this garment or one of five
others, and which pixels show it. A first garment brings both task modules; two more are joined to
each of them by an adapter, with no sample or with labelled ones. In two orders.
"""

from typing import Any

from methods.network_transplanting import NetworkTransplanting
from methods.network_transplanting.category_networks import CategoryNetworks
from methods.network_transplanting.transplanted_tasks import TransplantedTasks
from methods.networks import small_fcn, small_vgg
from orchestrator import Sweep, Task, claims, pasted, product, torchvision_set, union

fashion = pasted(torchvision_set("FashionMNIST"))
BACKGROUND = (5, 6, 7, 8, 9)
NAMES = {0: "shirt", 1: "trouser", 3: "dress"}


def seen(task: Task, limit: int, name: str) -> Task:
    return task.resized(16).images(limit=limit).drawn().validation(0.25).named(name)


def both(number: int) -> tuple[Task, Task]:
    """Is it this garment, and where is it?"""
    whole = fashion.classes(number, *BACKGROUND).binary(number, called="category")
    shown = fashion.classes(number).foreground()
    name = NAMES[number]
    return seen(whole, 2400, f"{name}.which"), seen(shown, 800, f"{name}.where")


pretrain = (
    seen(fashion.classes(*BACKGROUND), 4000, "others.which"),
    seen(fashion.classes(*BACKGROUND).foreground(), 800, "others.where"),
)
shirt, trouser, dress = (both(number) for number in NAMES)
ORDERS = [(*pretrain, *shirt, *trouser, *dress), (*pretrain, *shirt, *dress, *trouser)]


def adapters(**settings: Any) -> NetworkTransplanting:
    return NetworkTransplanting(split="stage2", steps=400, **settings)


WAYS = {
    "none": adapters(),
    "labels": adapters(gradients="none", labels="direct", samples=100),
    "few": adapters(gradients="none", labels="direct", samples=10),
}


def at(way: str, kind: str) -> dict[str, Any]:
    return {"adapters": WAYS[way], "kind": kind}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            *(
                TransplantedTasks.grid(
                    adapters=[way],
                    networks=CategoryNetworks(columns=2, other_networks=(small_fcn(),)),
                )
                for way in WAYS.values()
            )
        ),
        network=small_vgg(),
        tasks=ORDERS,
        seed=range(5),
    ),
    expect=30,
    claims=[
        # No sample against labelled ones, task by task.
        *(
            claims.Higher(
                metric="balanced_error",
                where=at(way, kind),
                than=at("none", kind),
                paper="T1" if way == "labels" else "T5",
            )
            for way in ("labels", "few")
            for kind in ("which", "where")
        ),
        # Nothing that is there changes, whatever is joined later, in any order.
        *(
            claims.Within(metric="retention", where={"adapters": way}, below=1e-12, paper="T3")
            for way in WAYS.values()
        ),
        claims.Unchanged(
            metric="balanced_error", axis="tasks", where={"adapters": WAYS["none"]}, paper="T4"
        ),
        *(
            claims.Within(metric="gap", where=at("none", kind), below=0.05, paper="T4")
            for kind in ("which", "where")
        ),
        # Without adapters the modules do not fit.
        *(
            claims.Within(metric="bare_error", where=at("none", kind), above=0.4, paper="T6")
            for kind in ("which", "where")
        ),
    ],
)
