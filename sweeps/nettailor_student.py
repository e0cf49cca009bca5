"""What does a student lose before anything is pruned: is it the frozen features, the start of the
proxies, or the teacher? (N8)

NetTailor (Morgado and Vasconcelos 2019): students with all blocks and proxies against fine-tuning
and against a classifier on frozen features, from universal networks of 5,400 and of 22,500
photographs, on the hardest task of nettailor_difficulty and on MNIST.
"""

from typing import Any

from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.networks import cifar_resnet
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

cifar = parquet("cifar10").rgb().resized(16)
few = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).drawn().named("few")
many = cifar.classes(0, 1, 2, 3, 4).drawn().named("many")
targets = [
    task.rgb().resized(16).images(limit=2400).drawn().validation(0.375).normalised("own")
    for task in (
        cifar.classes(5, 6, 7, 8, 9).named("cifar"),
        torchvision_set("MNIST").named("mnist"),
    )
]
PAIRS = [(source, target) for source in (few, many) for target in targets]


def student(start: str, weight: float, statistics: str = "task") -> dict[str, Any]:
    return {
        "method": "nettailor",
        "start": start,
        "teacher_weight": weight,
        "statistics": statistics,
    }


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            NetTailor.grid(
                removed=[None],
                start=[(2.0, -2.0), (0.0, 0.0)],
                teacher_weight=[0.0, 1.0],
                statistics=["task"],
            ),
            NetTailor.grid(
                removed=[None], start=[(2.0, -2.0)], teacher_weight=[1.0], statistics=["frozen"]
            ),
            FineTune.grid(),
            FeatureExtraction.grid(epochs=[30, 80], lr=[1e-3, 1e-2]),
        ),
        network=cifar_resnet(2),
        tasks=PAIRS,
        seed=range(5),
    ),
    expect=200,
    claims=[
        # The paper's start against equal scores, with few and with many images of the source.
        *(
            claims.Higher(
                metric="accuracy",
                where=student("2,-2", 1.0) | {"tasks": pair},
                than=student("0,0", 1.0) | {"tasks": pair},
                paper="N8",
            )
            for pair in PAIRS
        ),
        # Within a point of fine-tuning before pruning.
        *(
            claims.Higher(
                metric="accuracy",
                where=student("2,-2", 1.0) | {"tasks": pair},
                than={"method": "fine_tune", "tasks": pair},
                by=-0.01,
                paper="before pruning",
            )
            for pair in PAIRS
        ),
        # Better than a classifier on features that nobody trains for the task; and both better
        # where the features come of four times the images, and so of four times the steps.
        *(
            claims.Higher(
                metric="accuracy",
                where=student("2,-2", 1.0) | {"tasks": pair},
                than={"method": "feature_extraction", "tasks": pair},
                choose="val_accuracy",
                over=("epochs", "lr"),
                paper="frozen features",
            )
            for pair in PAIRS
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=where | {"tasks": (many, target)},
                than=where | {"tasks": (few, target)},
                choose="val_accuracy",
                over=("epochs", "lr"),
                paper="a universal network of more images and steps",
            )
            for where in (student("2,-2", 1.0), {"method": "feature_extraction"})
            for target in targets
        ),
        # What the teacher, and what the task's own statistics add.
        *(
            claims.Higher(
                metric="accuracy",
                where=student("2,-2", 1.0) | {"tasks": pair},
                than=student("2,-2", 0.0) | {"tasks": pair},
                paper="teacher",
            )
            for pair in PAIRS
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=student("2,-2", 1.0) | {"tasks": pair},
                than=student("2,-2", 1.0, "frozen") | {"tasks": pair},
                paper="statistics",
            )
            for pair in PAIRS
        ),
    ],
)
