"""Do networks fit across seeds and ingredients, or only those that were trained together?

Compatible Features (Gygli et al. 2020) on CIFAR-10 (a JPEG re-encoding): 40 networks of
`compatible_splits` (four ways, five seeds, two tasks), whose trainings this sweep shares, every
extractor with every head in one matrix.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, parquet, product

cifar = parquet("cifar10").resized(16)
networks = CompatibleFeatures.grid(
    ingredients=[(), ("common",), ("identical",), ("rotation", "common", "identical")],
    split="stage3",
    epochs=10,
    batch=32,
    lr=0.05,
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks.together(), split="stage3", other_seeds=(1, 2, 3, 4)),
        network=resnet8(),
        tasks=(
            cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2, limit=1800).drawn().named("a"),
            cifar.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2, limit=1800).drawn().named("b"),
        ),
        seed=0,
    ),
    expect=1,
)
