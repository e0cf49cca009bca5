"""Is what keeps masks below fine-tuning on far tasks the base, which was trained on few images?
(P4, P9)

Piggyback (Mallya, Davis, Lazebnik 2018), on three tasks of piggyback_tasks, without batch norm:
bases of 9,000 and of 54,000 images of Fashion-MNIST. Masks and fine-tuned networks train 60 epochs;
masks take the learning rate that is best on validation images.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.networks import small_vgg
from methods.piggyback import Piggyback
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

fashion = torchvision_set("FashionMNIST")
few = fashion.resized(14).images(limit=10_000).drawn().validation(0.1).named("fashion")
many = fashion.resized(14).drawn().validation(0.1).named("all_of_fashion")
# Each by its own statistics, as in piggyback_budgets, whose trainings this sweep shares.
targets = {
    name: data.resized(14).images(limit=2500).drawn().validation(0.2).normalised("own").named(name)
    for name, data in (
        ("inverted", fashion.shifted("inverted")),
        ("kmnist", parquet("kmnist")),
        ("omniglot", parquet("omniglot")),
    )
}
trained = FineTune(epochs=15, lr=0.03)


def of(method: str, name: str, base: Any) -> dict[str, Any]:
    return {"method": method, "tasks": (base, targets[name])}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            Piggyback.grid(epochs=60, lr=[1e-4, 3e-4], threshold=7.5e-3, base=trained),
            FineTune.grid(epochs=60, lr=0.03, batch=32, base=trained),
        ),
        network=small_vgg(),
        tasks=[(base, target) for base in (few, many) for target in targets.values()],
        seed=range(5),
    ),
    expect=90,
    claims=[
        *(
            claims.Higher(
                metric="accuracy",
                where=of("piggyback", name, many),
                than=of("piggyback", name, few),
                choose="val_accuracy",
                over=("lr",),
                paper="P9",
            )
            for name in targets
        ),
        # Within a point of fine-tuning behind the better base.
        *(
            claims.Higher(
                metric="accuracy",
                where=of("piggyback", name, many),
                than=of("fine_tune", name, many),
                by=-0.01,
                choose="val_accuracy",
                over=("lr",),
                paper="P4",
            )
            for name in targets
        ),
    ],
)
