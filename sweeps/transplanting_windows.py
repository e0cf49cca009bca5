"""Is a real thing there, and where: can two tasks of a new category be joined to a network without
a sample? (T1, T3, T4: categories by tasks, real masks)

Network Transplanting (Zhang, Yang, Yu, Wu 2018): windows of 48 x 48 pixels cut from the road scenes
of CamVid, around a category's pixels and away from them, scaled to 32 x 32. Roads bring two task
modules, is it there and which pixels show it; trees, cars and pedestrians are joined to both. All
start from networks for pavements.
"""

from typing import Any

from methods.network_transplanting import NetworkTransplanting
from methods.network_transplanting.category_networks import CategoryNetworks
from methods.network_transplanting.transplanted_tasks import TransplantedTasks
from methods.networks import small_fcn, small_vgg
from orchestrator import Sweep, Task, claims, parquet, product, windows

scenes = parquet("camvid", mask="mask")


def both(category: str) -> tuple[Task, Task]:
    """Is it there, and where is it?"""
    cut = windows(scenes, category, size=48)
    which = cut.binary(category, called="category").named(f"{category}.which")
    where = cut.classes(category).foreground(category).named(f"{category}.where")
    return seen(which), seen(where)


def seen(task: Task) -> Task:
    return task.resized(32).drawn().validation(0.2)


pavement, road, tree, car, pedestrian = (
    both(category) for category in ("pavement", "road", "tree", "car", "pedestrian")
)
WAYS = {
    "none": NetworkTransplanting(steps=400),
    "few": NetworkTransplanting(steps=400, gradients="none", labels="direct", samples=10),
    "many": NetworkTransplanting(steps=400, gradients="none", labels="direct", samples=100),
    "both": NetworkTransplanting(steps=400, labels="direct", samples=10),
}
KINDS = ("which", "where")


def at(way: str, kind: str) -> dict[str, Any]:
    return {"adapters": WAYS[way], "kind": kind}


sweep = Sweep(
    question=__doc__,
    cells=product(
        TransplantedTasks.grid(
            adapters=list(WAYS.values()),
            networks=CategoryNetworks(columns=2, epochs=20, other_networks=(small_fcn(),)),
        ),
        network=small_vgg(),
        tasks=(*pavement, *road, *tree, *car, *pedestrian),
        seed=range(5),
    ),
    expect=20,
    claims=[
        *(
            claims.Higher(
                metric="balanced_error",
                where=at(way, kind),
                than=at("none", kind),
                paper="T1" if way == "many" else "T5",
            )
            for way in ("many", "few")
            for kind in KINDS
        ),
        *(
            claims.Higher(
                metric="balanced_error",
                where=at("few", kind),
                than=at("both", kind),
                paper="T2",
            )
            for kind in KINDS
        ),
        *(
            claims.Within(metric="retention", where={"adapters": way}, below=1e-12, paper="T3")
            for way in WAYS.values()
        ),
        *(
            claims.Within(metric="gap", where=at("none", kind), below=0.05, paper="T4")
            for kind in KINDS
        ),
        *(
            claims.Within(metric="bare_error", where=at("none", kind), above=0.4, paper="T6")
            for kind in KINDS
        ),
    ],
)
