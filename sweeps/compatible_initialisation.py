"""How much of the compatibility that identical initial weights give depends on how large these
weights are?

Where `compatible_digits` differs from the table in our specification, the networks may have been
drawn differently: there by torch's default, here as in He et al. 2015. The same cells with both;
what `compatible_digits` has trained already is shared.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, digits, product, union

networks = union(
    CompatibleFeatures.grid(
        ingredients=("identical",),
        identical_part="extractor",
        split=["stage2", "stage3"],
        transforms="dihedral",
        rotated_statistics=True,
        epochs=33,
    ),
    CompatibleFeatures.grid(
        ingredients=[("rotation",), ("rotation", "common")],
        identical_part="full",
        split=["stage1", "stage2"],
        transforms="dihedral",
        rotated_statistics=True,
        epochs=33,
    ),
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks),
        network=[resnet8(init="he"), resnet8(init="torch")],
        tasks=(
            digits.classes(*range(9)).images(0, of=2).drawn().validation(0).named("a"),
            digits.classes(*range(8), 9).images(1, of=2).drawn().validation(0).named("b"),
        ),
        seed=range(5),
    ),
    expect=60,
)
