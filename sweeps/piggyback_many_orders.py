"""Do weights that are shared out run short with eight tasks, and are masks better then? (P11, P12)

Piggyback and PackNet (Mallya et al. 2018; Mallya and Lazebnik 2018) on eight tasks behind
Fashion-MNIST, in two opposite orders, both trained 60 epochs, PackNet at the rate that is best on
validation images.
"""

from methods.fine_tune import FineTune
from methods.networks import small_vgg
from methods.packnet import PackNet
from methods.piggyback import Piggyback
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

fashion, mnist = torchvision_set("FashionMNIST"), torchvision_set("MNIST")
kmnist = parquet("kmnist")
base = fashion.resized(14).images(limit=10_000).drawn().validation(0.1).named("fashion")
targets = [
    data.resized(14).images(limit=2500).drawn().validation(0.2).normalised("own").named(name)
    for name, data in (
        ("mnist", mnist),
        ("inverted", fashion.shifted("inverted")),
        ("kmnist", kmnist),
        ("permuted", fashion.shifted("permuted")),
        ("numbers", parquet("svhn_grey")),
        ("sketches", parquet("quickdraw6")),
        ("rotated", fashion.shifted("rotated")),
        ("noisy", fashion.shifted("noisy")),
    )
]
orders = [(base, *targets), (base, *reversed(targets))]
trained = FineTune(epochs=15, lr=0.03)
MASKS, PACKED = (
    {"method": "piggyback", "epochs": 60},
    {"method": "packnet", "epochs": 40},  # and twenty of retraining
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            Piggyback.grid(epochs=60, lr=[1e-4, 3e-4], base=trained),
            PackNet.grid(epochs=40, retrain_epochs=20, lr=[5e-3, 0.02, 0.05], base=trained),
        ),
        network=small_vgg(),
        tasks=orders,
        seed=range(5),
    ),
    expect=50,
    claims=[
        # There is nothing to gain from what came before: masks are the same in any order.
        claims.Unchanged(metric="accuracy", axis="tasks", where=MASKS | {"lr": 1e-4}, paper="P12"),
        claims.Higher(
            metric="accuracy",
            where=MASKS,
            than=PACKED,
            choose="val_accuracy",
            over=("lr",),
            paper="P11",
        ),
        claims.Higher(
            metric="accuracy_at",
            where=PACKED | {"place": 1, "lr": 0.02},
            than=PACKED | {"place": 8, "lr": 0.02},
            paper="P11",
        ),
    ],
)
