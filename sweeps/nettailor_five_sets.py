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
HALF = 87_500  # of the 175,258 parameters of the network with ten classes
LOST = 0.02  # validation accuracy that the leanest may lose: 3 of 150 images
OTHERS = ("feature_extraction", "packnet", "piggyback", "residual_adapters")


def of(method: str, name: str, **settings: Any) -> dict[str, Any]:
    return {"method": method, "tasks": (base, targets[name]), **settings}


def small(name: str) -> dict[str, Any]:
    """The most accurate pruning on validation images that is half as large: never fine-tuning."""
    return of("leanest", name, parameters_at_most=HALF)


def lean(name: str) -> dict[str, Any]:
    """The leanest within `LOST` of fine-tuning, which is fine-tuning itself where none is."""
    return of("leanest", name, parameters_at_most="none")


sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            Leanest.grid(
                of=tailored,
                removed=(1, 2, 3, 4, 5),
                against=tuned,
                drop=LOST,
                parameters_at_most=[None, HALF],
            ),
            FeatureExtraction.grid(epochs=[20, 80], lr=[1e-3, 1e-2], base=trained),
            PackNet.grid(epochs=[20, 80], lr=[0.02, 0.05], retrain_epochs=10, base=trained),
            Piggyback.grid(epochs=[20, 80], lr=[1e-4, 3e-4], base=trained),
            ResidualAdapters.grid(epochs=[20, 80], lr=[0.01, 0.03], base=trained),
            FineTune.grid(epochs=20, lr=0.03, batch=32, base=trained),
        ),
        network=cifar_resnet(2),
        tasks=[(base, target) for target in targets.values()],
        seed=range(5),
    ),
    expect=475,
    claims=[
        # With half the parameters at most, against rivals that compute with the whole network.
        *(
            claims.Higher(
                metric="accuracy",
                where=small(name),
                than=of(other, name),
                # Each rival takes what is best on validation images of the task.
                choose="val_accuracy",
                over=("lr", "epochs"),
                paper="N10",
            )
            for other in OTHERS
            for name in targets
        ),
        # Whether a pruning that is good enough is there at all, and what it saves.
        *(
            claims.Within(metric="tailored", where=lean(name), above=0.5, paper="N2, tailored")
            for name in targets
        ),
        *(
            claims.Within(metric=share, where=lean(name), below=1.0, paper="N2")
            for share in ("parameters_share", "flops_share")
            for name in targets
        ),
        *(
            claims.Higher(
                metric="accuracy",
                where=small(name),
                than=of("fine_tune", name),
                by=-0.01,
                paper="N2, half the size",
            )
            for name in targets
        ),
    ],
)
