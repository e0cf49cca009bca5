"""On five sets of images, is a tailored network better than other ways to reuse one network, with
fewer parameters? (N10)

NetTailor (Morgado and Vasconcelos 2019), tables 2 and 3, with five small sets: house numbers,
photographs, flowers, textures and sketches, behind a residual network of CIFAR-100 at 32 x 32
pixels. Against a classifier only, PackNet, Piggyback, residual adapters and fine-tuning.
"""

from typing import Any

from methods.feature_extraction import FeatureExtraction
from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.nettailor.leanest import Leanest
from methods.networks import cifar_resnet
from methods.packnet import PackNet
from methods.piggyback import Piggyback
from methods.residual_adapters import ResidualAdapters
from orchestrator import Sweep, claims, parquet, product, union

trained = FineTune(epochs=15, lr=0.1)
base = parquet("cifar100").images(limit=10_000).drawn().validation(0).named("cifar100")
targets = {
    name: data.images(limit=600).drawn().validation(0.25).named(name)
    for name, data in (
        ("numbers", parquet("svhn_grey").rgb()),
        ("photographs", parquet("imagenette64").resized(32)),
        ("flowers", parquet("flowers17").resized(32)),
        ("textures", parquet("dtd10").resized(32)),
        ("sketches", parquet("quickdraw6").rgb().resized(32)),
    )
}
tuned = FineTune(epochs=20, lr=0.03, batch=32)
tailored = NetTailor(base=trained, teacher=tuned)
OTHERS = ("feature_extraction", "packnet", "piggyback", "residual_adapters")


def of(method: str, name: str) -> dict[str, Any]:
    return {"method": method, "tasks": (base, targets[name])}


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            Leanest.grid(of=tailored, removed=(1, 2, 3, 4, 5), against=tuned, drop=0.005),
            FeatureExtraction.grid(epochs=20, base=trained),
            PackNet.grid(epochs=20, retrain_epochs=10, base=trained),
            Piggyback.grid(epochs=20, base=trained),
            ResidualAdapters.grid(epochs=20, base=trained),
            FineTune.grid(epochs=20, lr=0.03, batch=32, base=trained),
        ),
        network=cifar_resnet(2),
        tasks=[(base, target) for target in targets.values()],
        seed=range(5),
    ),
    expect=150,
    claims=[
        *(
            claims.Higher(
                metric="accuracy", where=of("leanest", name), than=of(other, name), paper="N10"
            )
            for other in OTHERS
            for name in targets
        ),
        # All of those compute with the whole network.
        *(
            claims.Within(metric=share, where=of("leanest", name), below=1.0, paper="N10")
            for share in ("parameters_share", "flops_share")
            for name in targets
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=of("leanest", name),
                than=of("fine_tune", name),
                by=-0.01,
                paper="N2",
            )
            for name in targets
        ),
    ],
)
