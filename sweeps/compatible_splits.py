"""Which ingredient makes two networks compatible, where are they best cut, and does it cost them accuracy?

Compatible Features (Gygli et al. 2020) on CIFAR-10 (a JPEG re-encoding) at 16 x 16 pixels, 1,620 training images a task and disjoint between tasks,
resnet8. Two tasks with six common classes of eight, and two that have no class in common.
"""

from methods.compatible_features import CompatibleFeatures
from orchestrator.data import parquet
from orchestrator.grid import union

cifar = parquet("cifar10").resized(16)
OVERLAPPING = (
    cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2, limit=1800).named("a"),
    cifar.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2, limit=1800).named("b"),
)
DISJOINT = (
    cifar.classes(0, 1, 2, 3, 4).images(0, of=2, limit=1800).named("low"),
    cifar.classes(5, 6, 7, 8, 9).images(1, of=2, limit=1800).named("high"),
)
FIT = {"epochs": 10, "batch": 32, "lr": 0.05}
SPLITS = ["stage1", "stage2", "stage3"]

overlapping = union(
    CompatibleFeatures.grid(ingredients=[(), ("identical",)], **FIT),
    CompatibleFeatures.grid(ingredients=[("rotation",), ("common",), ("rotation", "common"), ("shared",)], split=SPLITS, **FIT),
    CompatibleFeatures.grid(ingredients=("identical",), identical_part="extractor", split=SPLITS, **FIT),
    CompatibleFeatures.grid(
        ingredients=[("rotation", "identical"), ("common", "identical"), ("rotation", "common", "identical")], split=SPLITS[1:], **FIT
    ),
)
disjoint = union(
    CompatibleFeatures.grid(ingredients=[(), ("identical",)], **FIT),
    CompatibleFeatures.grid(ingredients=[("rotation",), ("rotation", "identical")], split="stage2", **FIT),
)
