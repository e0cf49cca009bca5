"""Which ingredient makes two networks compatible, and at which split, on photographs of clothes?

Compatible Features (Gygli et al. 2020) on Fashion-MNIST: two tasks of eight classes, six of them
common, 2,000 disjoint training images each, a narrow resnet8. Decides nothing about the paper's own
numbers, which are on CIFAR-10 and STL-10.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, product, torchvision_set

fashion = torchvision_set("FashionMNIST")

networks = CompatibleFeatures.grid(
    ingredients=[(), ("rotation",), ("common",), ("rotation", "common"), ("identical",)],
    split=["stem", "stage1", "stage2", "stage3", "pool"],
    epochs=15,
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks),
        network=resnet8(width=8),
        tasks=(
            fashion.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2, limit=2000).drawn().named("a"),
            fashion.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2, limit=2000).drawn().named("b"),
        ),
        seed=range(3),
    ),
    expect=75,
)
