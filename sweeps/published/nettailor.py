"""NetTailor's table 1: ResNet-34 tailored to flowers and house numbers, with the authors' settings,
at the paper's size.

Morgado and Vasconcelos (CVPR 2019): skip ranges of one, three and five blocks, or any number, each
with as many blocks removed as the table's row has. (The authors' scripts take out seven for flowers
and eleven for house numbers, SVHN, by default.) Wants below the data folder
`weights/resnet34-b627a593.pth` of torchvision, `flowers` with `train/CLASS/` (the official training
and validation parts) and `test/CLASS/`, and SVHN as torchvision reads it. House numbers are scaled
to 224 pixels and not cropped: the authors' page says that cropping was taken out after publication,
with better results, and their code still crops. Random crops of flowers are taken from the middle
of the image, theirs from all of it. For GPUs; what it takes has not been measured.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.nettailor import PUBLISHED, NetTailor
from methods.networks import torchvision_network
from orchestrator import Sweep, claims, image_folder, product, torchvision_set, union, unseen

base = unseen("imagenet", classes=1000)
trained = FineTune(epochs=0, classifier="trained")
flowers = image_folder("flowers", size=224, scaled=256, reduced=True).validation(0).named("flowers")
numbers = torchvision_set("SVHN").resized(224).validation(0).named("svhn")

# What differs by task in the authors' scripts.
taught: FineTune = PUBLISHED["teacher"]
ON_FLOWERS: dict[str, Any] = PUBLISHED | {
    "base": trained,
    "threshold": 0.04,
    "augmentation": "random resized crop",
    "teacher": taught.replace(augmentation="random resized crop"),
}
ON_NUMBERS: dict[str, Any] = PUBLISHED | {
    "base": trained,
    "threshold": 0.075,
    "epochs": 20,
    "retrain_epochs": 20,
    "retrain_drops_at": (0.4, 0.8),
    "teacher": taught.replace(epochs=20),
}


# Blocks of 16 that are removed, by skip range: the table counts what is left, with stem and
# classifier, of 18.
REMOVED: dict[str, dict[int | None, int]] = {
    "flowers": {1: 5, 3: 9, 5: 9, None: 7},
    "svhn": {1: 9, 3: 9, 5: 11, None: 13},
}


def tailored(name: str, settings: dict[str, Any]) -> Any:
    """A tailored network for each row of the table."""
    rows = (
        NetTailor.grid(**{**settings, "skip": [skip], "removed": [removed]})
        for skip, removed in REMOVED[name].items()
    )
    return union(*rows)


def tuned(settings: dict[str, Any]) -> Any:
    """The teacher itself, which is the row "fine-tuning"."""
    return FineTune.grid(**settings["teacher"].replace(base=trained).settings())


def of(method: str, name: str, skip: Any = "-") -> dict[str, Any]:
    # Each at the rate and in the batches of the authors.
    lr, batch = (0.1, 32) if method == "nettailor" else (0.01, 64)
    where = {"method": method, "tasks": f"imagenet + {name}", "skip": skip}
    return where | {"lr": lr, "batch": batch}


# Table 1: accuracies of fine-tuning, and by skip range.
TUNED = {"flowers": 0.9584, "svhn": 0.9659}
TAILORED = {
    ("flowers", 1): 0.9605,
    ("flowers", 3): 0.9551,
    ("flowers", 5): 0.9556,
    ("flowers", "none"): 0.9558,
    ("svhn", 1): 0.9660,
    ("svhn", 3): 0.9653,
    ("svhn", 5): 0.9679,
    ("svhn", "none"): 0.9613,
}

# And what is left of it: millions of parameters, and billions of operations by the paper's count.
PARAMETERS = {
    ("flowers", 1): 8.06,
    ("flowers", 3): 6.07,
    ("flowers", 5): 7.12,
    ("flowers", "none"): 6.45,
    ("svhn", 1): 5.13,
    ("svhn", 3): 5.65,
    ("svhn", 5): 6.14,
    ("svhn", "none"): 4.01,
}
OPERATIONS = {
    ("flowers", 1): 2.66,
    ("flowers", 3): 1.85,
    ("flowers", 5): 2.45,
    ("flowers", "none"): 2.29,
    ("svhn", 1): 1.79,
    ("svhn", 3): 1.94,
    ("svhn", 5): 1.62,
    ("svhn", "none"): 1.22,
}


def within_a_fifth(metric: str, row: tuple[str, Any], size: float) -> claims.Within:
    """Which blocks go differs from run to run."""
    where = of("nettailor", *row)
    return claims.Within(
        metric=metric, where=where, above=0.8 * size, below=1.2 * size, paper="table 1, sizes"
    )


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            product(
                union(tailored("flowers", ON_FLOWERS), tuned(ON_FLOWERS)), tasks=(base, flowers)
            ),
            product(union(tailored("svhn", ON_NUMBERS), tuned(ON_NUMBERS)), tasks=(base, numbers)),
        ),
        network=torchvision_network("resnet34", weights="resnet34-b627a593.pth"),
        seed=range(3),
    ),
    expect=30,
    claims=[
        *(
            claims.Within(
                metric="accuracy",
                where=of("fine_tune", name),
                above=accuracy - 0.005,
                below=accuracy + 0.005,
                paper="table 1",
            )
            for name, accuracy in TUNED.items()
        ),
        *(
            claims.Within(
                metric="accuracy",
                where=of("nettailor", *row),
                above=accuracy - 0.007,
                below=accuracy + 0.007,
                paper="table 1",
            )
            for row, accuracy in TAILORED.items()
        ),
        *(within_a_fifth("parameters", row, 1e6 * size) for row, size in PARAMETERS.items()),
        *(within_a_fifth("flops_paper", row, 1e9 * size) for row, size in OPERATIONS.items()),
        *(
            claims.Higher(
                metric="accuracy",
                where=of("nettailor", *row),
                than=of("fine_tune", row[0]),
                by=-0.005,
                paper="N2",
            )
            for row in TAILORED
        ),
    ],
)
