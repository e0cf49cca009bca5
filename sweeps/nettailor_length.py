"""Do NetTailor's students want longer training or faster attention, and does retraining hide which
blocks were removed? (N1, N8, attention against random order)

NetTailor (Morgado and Vasconcelos 2019), on the hardest task of nettailor_difficulty and on MNIST:
students of 20 and of 40 epochs from both starts; scores that learn twice as fast; and prunings by
attention and at random, retrained for two and for ten epochs.
"""

from typing import Any

from methods.nettailor import NetTailor
from methods.networks import cifar_resnet
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

cifar = parquet("cifar10").rgb().resized(16)
source = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).drawn().named("source")
targets = {
    name: task.rgb().resized(16).images(limit=2400).drawn().validation(0.375).normalised("own")
    for name, task in (
        ("cifar", cifar.classes(5, 6, 7, 8, 9).named("cifar")),
        ("mnist", torchvision_set("MNIST").named("mnist")),
    )
}
RETRAINED = (2, 10)


def student(name: str, start: str, epochs: int, rate: float = 0.05) -> dict[str, Any]:
    where = {"removed": "none", "tasks": (source, targets[name])}
    return where | {"start": start, "epochs": epochs, "attention_lr": rate}


def pruned(name: str, order: str, epochs: int) -> dict[str, Any]:
    where = {"removed": 3, "tasks": (source, targets[name])}
    return where | {"order": order, "retrain_epochs": epochs}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            NetTailor.grid(
                removed=[None],
                start=[(2.0, -2.0), (0.0, 0.0)],
                epochs=[20, 40],
                attention_lr=[0.05],
            ),
            NetTailor.grid(removed=[None], start=[(0.0, 0.0)], epochs=[20], attention_lr=[0.1]),
            NetTailor.grid(
                removed=[3], order=["attention", "random"], retrain_epochs=list(RETRAINED)
            ),
        ),
        network=cifar_resnet(2),
        tasks=[(source, target) for target in targets.values()],
        seed=range(5),
    ),
    expect=90,
    claims=[
        *(
            claims.Higher(
                metric="accuracy",
                where=student(name, "2,-2", 40),
                than=student(name, "0,0", 40),
                paper="N8, longer",
            )
            for name in targets
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=student(name, start, 40),
                than=student(name, start, 20),
                paper="length",
            )
            for name in targets
            for start in ("2,-2", "0,0")
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=student(name, "0,0", 20, rate=0.1),
                than=student(name, "0,0", 20),
                paper="N1, attention",
            )
            for name in targets
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=pruned(name, "attention", epochs),
                than=pruned(name, "random", epochs),
                paper="control, retraining",
            )
            for name in targets
            for epochs in RETRAINED
        ),
    ],
)
