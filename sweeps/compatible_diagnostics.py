"""Where two networks do not fit together, what is missing: another basis, other statistics, or
another head?

Compatible Features (Gygli et al. 2020) on CIFAR-10 (a JPEG re-encoding): networks of
`compatible_splits`, whose trainings this sweep shares, joined as they are, with batch norm
re-estimated, with a learned 1x1 stitch, and with the head fine-tuned; and the linear CKA of their
features.
"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.pair_diagnostics import PairDiagnostics
from orchestrator import Sweep, claims, parquet, product

cifar = parquet("cifar10").resized(16)
networks = CompatibleFeatures.grid(
    ingredients=[(), ("rotation",), ("common",), ("identical",)],
    split=["stage2", "stage3"],
    epochs=10,
    batch=32,
    lr=0.05,
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        PairDiagnostics.grid(of=networks),
        network=resnet8(),
        tasks=(
            cifar.classes(0, 1, 2, 3, 4, 5, 6, 7).images(0, of=2, limit=1800).drawn().named("a"),
            cifar.classes(0, 1, 2, 3, 4, 5, 8, 9).images(1, of=2, limit=1800).drawn().named("b"),
        ),
        seed=range(5),
    ),
    expect=40,
    claims=[
        claims.Higher(
            metric="cka",
            where={"ingredients": one, "split": split},
            than={"ingredients": "none", "split": split},
            paper="features alike",
        )
        for one in ("rotation", "common", "identical")
        for split in ("stage2", "stage3")
    ],
)
