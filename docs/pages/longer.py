"""Does longer training help where the split is late?"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, digits, product

networks = CompatibleFeatures.grid(
    ingredients=[("rotation",), ("common",), ("identical",)], split=["stage3", "pool"], epochs=32
)
sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks),
        network=resnet8(width=4),
        tasks=(
            digits.classes(0, 1, 2, 3).images(0, of=2).named("a"),
            digits.classes(0, 1, 4, 5).images(1, of=2).named("b"),
        ),
        seed=range(5),
    ),
    expect=30,
)
