"""Does batch norm of its own help a mask on tasks far from the base, once it is trained long enough
and at a rate of its own? (P5)

Piggyback (Mallya, Davis, Lazebnik 2018), resnet8 on the tasks of piggyback_tasks. The scores' rate
of 1e-4, which batch norm takes in the authors' code, moves its scales by a tenth at most in 15
epochs.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.piggyback import Piggyback
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

fashion = torchvision_set("FashionMNIST")
base = fashion.resized(14).images(limit=10_000).drawn().validation(0.1).named("fashion")
targets = {
    name: data.resized(14).images(limit=2500).drawn().validation(0.2).normalised("own").named(name)
    for name, data in (
        ("inverted", fashion.shifted("inverted")),
        ("kmnist", parquet("kmnist")),
        ("omniglot", parquet("omniglot")),
    )
}
trained = FineTune(epochs=15, lr=0.03)


def at(name: str, norm: str, rate: Any) -> dict[str, Any]:
    return {"tasks": (base, targets[name]), "norm": norm, "norm_lr": rate}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            Piggyback.grid(epochs=60, norm=["frozen"], base=trained),
            Piggyback.grid(epochs=60, norm=["affine", "full"], norm_lr=[None, 1e-3], base=trained),
        ),
        network=resnet8(),
        tasks=[(base, target) for target in targets.values()],
        seed=range(5),
    ),
    expect=75,
    claims=[
        *(
            claims.Higher(
                metric="accuracy",
                where=at(name, "full", rate),
                than=at(name, "frozen", "-"),
                paper="P5",
            )
            for rate in ("none", 1e-3)
            for name in targets
        ),
        claims.GainHigher(
            metric="accuracy",
            gain={"norm": "full", "norm_lr": 1e-3},
            without={"norm": "frozen", "norm_lr": "-"},
            where={"tasks": (base, targets["kmnist"])},
            than={"tasks": (base, targets["inverted"])},
            paper="P5",
        ),
        # Statistics of a batch of 32 images of 242 classes may be what harms.
        claims.Higher(
            metric="accuracy",
            where=at("omniglot", "affine", 1e-3),
            than=at("omniglot", "full", 1e-3),
            paper="statistics",
        ),
    ],
)
