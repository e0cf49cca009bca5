"""Are masks over a frozen network as good as fine-tuning it, and for which tasks are they not?

Piggyback (Mallya, Davis, Lazebnik 2018): a network trained on Fashion-MNIST, once without and once
with batch norm, and five tasks of 2,000 training images each at 14 x 14 pixels. MNIST and inverted
Fashion-MNIST are near to the base; KMNIST, Fashion-MNIST with its pixels permuted, and Omniglot's
242 characters are far from it. Beside the masks: a classifier only, fine-tuning, batch norm only,
and masks of equal density that nobody learned.
"""

from typing import Any

from methods.batch_norm_only import BatchNormOnly
from methods.control_masks import ControlMasks
from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.networks import resnet8, small_vgg
from methods.piggyback import Piggyback
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

fashion = torchvision_set("FashionMNIST")
base = fashion.resized(14).images(limit=10_000).drawn().validation(0.1).named("fashion")
# Each by its own statistics, not the base's: so the tables of docs/reproduction were measured.
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
near, far = ("mnist", "inverted"), ("kmnist", "permuted", "omniglot")
# Each target by itself; sequences of all five share these trials.
one_by_one = [(base, target) for target in targets.values()]

trained = FineTune(epochs=15, lr=0.03)
masks = Piggyback(epochs=15, base=trained)
with_norms = masks.replace(norm="full")


def at(*names: str) -> dict[str, Any]:
    """Each of these tasks by itself behind the base; several are averaged."""
    return {"tasks": [(base, targets[name]) for name in names]}


VGG, RESNET = {"network": small_vgg()}, {"network": resnet8()}
MASKS, NORMS = {"method": "piggyback", "norm": "frozen"}, {"method": "piggyback", "norm": "full"}
CLASSIFIER, TUNED = {"method": "feature_extraction"}, {"method": "fine_tune"}

sweep = Sweep(
    question=__doc__,
    cells=union(
        product(
            union(
                Piggyback.grid(epochs=15, base=trained, norm=["frozen"]),
                FeatureExtraction.grid(epochs=15, base=trained),
                FineTune.grid(epochs=15, lr=0.03, batch=32, base=trained),
            ),
            network=[small_vgg(), resnet8()],
            tasks=one_by_one,
            seed=range(5),
        ),
        product(
            union(
                Piggyback.grid(epochs=15, base=trained, norm=["full"]),
                BatchNormOnly.grid(epochs=15, base=trained),
            ),
            network=resnet8(),
            tasks=one_by_one,
            seed=range(5),
        ),
        product(
            ControlMasks.grid(of=masks, by=["random", "magnitude"]),
            network=small_vgg(),
            tasks=[(base, targets[name]) for name in ("inverted", "kmnist", "permuted")],
            seed=range(5),
        ),
        product(
            Piggyback.grid(epochs=15, base=trained, norm=["frozen"]),
            network=[small_vgg(), resnet8()],
            tasks=(base, *targets.values()),
            seed=range(5),
        ),
    ),
    expect=240,
    claims=[
        *(
            claims.Higher(
                metric="accuracy", where=MASKS | n | at(t), than=CLASSIFIER | n | at(t), paper="P4"
            )
            for n in (VGG, RESNET)
            for t in targets
        ),
        *(
            claims.Recovered(
                metric="accuracy",
                where=MASKS,
                floor=CLASSIFIER,
                ceiling=TUNED,
                above=0.7,
                at=n | at(t),
                paper="P4",
            )
            for n in (VGG, RESNET)
            for t in near
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=MASKS | VGG | at(t),
                than=TUNED | VGG | at(t),
                by=-0.01,
                paper="P4",
            )
            for t in targets
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=NORMS | RESNET | at(t),
                than=MASKS | RESNET | at(t),
                paper="P5",
            )
            for t in targets
        ),
        claims.GainHigher(
            metric="accuracy",
            gain=NORMS | RESNET,
            without=MASKS | RESNET,
            where=at(*far),
            than=at(*near),
            paper="P5",
        ),
        *(
            claims.Related(
                metric="zeroed",
                axis="tasks",
                where=MASKS | n | at(*targets),
                how="against",
                other="accuracy",
                at=CLASSIFIER | n | at(*targets),
                paper="P8",
            )
            for n in (VGG, RESNET)
        ),
        *(
            claims.Within(metric="late_bias", where=MASKS | n | at(*targets), above=0.0, paper="P8")
            for n in (VGG, RESNET)
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=MASKS | VGG | at(t),
                than={"method": "control_masks", "by": by} | VGG | at(t),
                paper="control",
            )
            for by in ("random", "magnitude")
            for t in ("inverted", "kmnist", "permuted")
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=NORMS | RESNET | at(t),
                than={"method": "batch_norm_only"} | RESNET | at(t),
                paper="control",
            )
            for t in targets
        ),
    ],
)
