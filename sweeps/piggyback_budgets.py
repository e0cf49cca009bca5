"""How much of the distance between masks and fine-tuning is training: too few steps, and a rate
that was chosen for one side only? (P4)

Piggyback (Mallya, Davis, Lazebnik 2018), on the tasks of piggyback_tasks, without batch norm. Masks
and fine-tuned networks train 15 and 60 epochs, and on each task both sides take what is best on
validation images: masks the learning rate and the threshold, fine-tuning the learning rate. Beside
them a network for each task as the authors train it.
"""

from typing import Any

from methods.fine_tune import INDIVIDUAL, FineTune
from methods.networks import small_vgg
from methods.piggyback import Piggyback
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

fashion = torchvision_set("FashionMNIST")
base = fashion.resized(14).images(limit=10_000).drawn().validation(0.1).named("fashion")
# Each by its own statistics, as in piggyback_tasks, whose trainings this sweep shares.
targets = {
    name: data.resized(14).images(limit=2500).drawn().validation(0.2).normalised("own").named(name)
    for name, data in (
        ("mnist", torchvision_set("MNIST")),
        ("inverted", fashion.shifted("inverted")),
        ("kmnist", parquet("kmnist")),
        ("permuted", fashion.shifted("permuted")),
        ("omniglot", parquet("omniglot")),
    )
}
trained = FineTune(epochs=15, lr=0.03)


def masks(name: str, epochs: int) -> dict[str, Any]:
    return {"method": "piggyback", "epochs": epochs, "tasks": (base, targets[name])}


def tuned(name: str, epochs: int) -> dict[str, Any]:
    return {"method": "fine_tune", "epochs": epochs, "tasks": (base, targets[name])}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            Piggyback.grid(
                epochs=[15, 60], lr=[1e-4, 3e-4], threshold=[5e-3, 7.5e-3], base=trained
            ),
            FineTune.grid(epochs=[15, 60], lr=[0.01, 0.03, 0.1], batch=32, base=trained),
            # A network for each task as the authors train it.
            FineTune.grid(**INDIVIDUAL, base=trained),
        ),
        network=small_vgg(),
        tasks=[(base, target) for target in targets.values()],
        seed=range(5),
    ),
    expect=375,
    claims=[
        # Within a point of fine-tuning of the same length, each side at its best.
        *(
            claims.Higher(
                metric="accuracy",
                where=masks(name, epochs),
                than=tuned(name, epochs),
                by=-0.01,
                choose="val_accuracy",
                over=("lr", "threshold"),
                paper="P4",
            )
            for epochs in (15, 60)
            for name in targets
        ),
        # The authors' recipe for a network of one's own is no ceiling in short trainings.
        *(
            claims.Higher(
                metric="accuracy",
                where=tuned(name, 15) | {"lr": 0.03},
                than=tuned(name, 30) | {"lr": 1e-3},
                paper="P4, ceiling",
            )
            for name in targets
        ),
        # And longer training is what brings masks nearer.
        *(
            claims.GainHigher(
                metric="accuracy",
                gain={"method": "piggyback", "lr": 1e-4, "threshold": 5e-3},
                without={"method": "fine_tune", "lr": 0.03, "threshold": "-"},
                where={"epochs": 60, "tasks": (base, targets[name])},
                than={"epochs": 15, "tasks": (base, targets[name])},
                paper="P4, length",
            )
            for name in targets
        ),
    ],
)
