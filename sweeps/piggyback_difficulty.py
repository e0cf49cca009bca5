"""Is more of a network masked out for tasks that its features fit less? (P8)

Piggyback (Mallya, Davis, Lazebnik 2018): a network trained on Fashion-MNIST and thirteen tasks, so
that a correlation over tasks has something to stand on; they are made of six image sets, so it is
about these tasks. How hard a task is, is what a classifier on the base's features alone gets wrong.
"""

from typing import Any

from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.networks import resnet8, small_vgg
from methods.piggyback import Piggyback
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

fashion, mnist = torchvision_set("FashionMNIST"), torchvision_set("MNIST")
kmnist = parquet("kmnist")
base = fashion.resized(14).images(limit=10_000).drawn().validation(0.1).named("fashion")
targets = [
    data.resized(14).images(limit=2500).drawn().validation(0.2).normalised("own").named(name)
    for name, data in (
        ("mnist", mnist),
        ("mnist-inverted", mnist.shifted("inverted")),
        ("mnist-permuted", mnist.shifted("permuted")),
        ("kmnist", kmnist),
        ("kmnist-rotated", kmnist.shifted("rotated")),
        ("omniglot", parquet("omniglot")),
        ("numbers", parquet("svhn_grey")),
        ("sketches", parquet("quickdraw6")),
        ("inverted", fashion.shifted("inverted")),
        ("permuted", fashion.shifted("permuted")),
        ("rotated", fashion.shifted("rotated")),
        ("noisy", fashion.shifted("noisy")),
        ("pale", fashion.shifted("contrast", 0.3)),
    )
]
trained = FineTune(epochs=15, lr=0.03)
MASKS, CLASSIFIER = {"method": "piggyback"}, {"method": "feature_extraction"}


def of(network: Any) -> dict[str, Any]:
    return {"network": network, "tasks": [(base, target) for target in targets]}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            Piggyback.grid(epochs=15, base=trained),
            FeatureExtraction.grid(epochs=15, base=trained),
        ),
        network=[small_vgg(), resnet8()],
        tasks=[(base, target) for target in targets],
        seed=range(5),
    ),
    expect=260,
    claims=[
        *(
            claims.Related(
                metric="zeroed",
                axis="tasks",
                where=MASKS | of(network),
                how="against",
                other="accuracy",
                at=CLASSIFIER | of(network),
                paper="P8",
            )
            for network in (small_vgg(), resnet8())
        ),
        *(
            claims.Within(metric="late_bias", where=MASKS | of(network), above=0.0, paper="P8")
            for network in (small_vgg(), resnet8())
        ),
    ],
)
