"""What is a small network of CIFAR-100 worth on five other sets of images, and does it matter by
whose statistics their images are normalised?

House numbers (SVHN, grey), photographs (Imagenette), flowers (Flowers-17), textures (DTD) and
sketches (QuickDraw), each with 400 training images at 32 x 32 pixels, all drawn by the seed. The
network that 4,000 images of CIFAR-100 trained is fine-tuned, masked (Piggyback), given batch norms
of its own, or left as it is behind a new classifier; the last once more with images normalised by
their own statistics and not by those of CIFAR-100.
"""

from typing import Any

from methods.batch_norm_only import BatchNormOnly
from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.networks import resnet8
from methods.piggyback import Piggyback
from orchestrator import Sweep, claims, parquet, product, union

trained = FineTune(epochs=10, lr=0.1)
base = parquet("cifar100").images(limit=4000).drawn().validation(0).named("cifar100")
targets = {
    name: data.images(limit=400).drawn().validation(0).named(name)
    for name, data in (
        ("numbers", parquet("svhn_grey").rgb()),
        ("photographs", parquet("imagenette64").resized(32)),
        ("flowers", parquet("flowers17").resized(32)),
        ("textures", parquet("dtd10").resized(32)),
        ("sketches", parquet("quickdraw6").rgb().resized(32)),
    )
}
# The same images in their own statistics; by default they have those of the base.
by_own = {name: task.normalised("own") for name, task in targets.items()}


def of(method: str, name: str) -> dict[str, Any]:
    return {"method": method, "tasks": (base, targets[name])}


sweep = Sweep(
    question=__doc__,
    cells=union(
        product(
            union(
                FeatureExtraction.grid(epochs=15, base=trained),
                FineTune.grid(epochs=15, lr=0.03, batch=32, base=trained),
                Piggyback.grid(epochs=15, base=trained),
                BatchNormOnly.grid(epochs=15, base=trained),
            ),
            network=resnet8(width=8),
            tasks=[(base, target) for target in targets.values()],
            seed=range(3),
        ),
        product(
            FeatureExtraction.grid(epochs=15, base=trained),
            network=resnet8(width=8),
            tasks=[(base, target) for target in by_own.values()],
            seed=range(3),
        ),
    ),
    expect=75,
    claims=[
        *(
            claims.Higher(
                metric="accuracy",
                where=of(method, name),
                than=of("feature_extraction", name),
                paper="more than a classifier",
            )
            for method in ("fine_tune", "piggyback", "batch_norm_only")
            for name in targets
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=of("piggyback", name),
                than=of("fine_tune", name),
                by=-0.05,
                paper="masks nearly as good as fine-tuning",
            )
            for name in targets
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=of("feature_extraction", name),
                than={"method": "feature_extraction", "tasks": (base, by_own[name])},
                paper="the base's statistics",
            )
            for name in targets
        ),
    ],
)
