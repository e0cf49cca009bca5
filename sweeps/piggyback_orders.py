"""Does the order of the tasks matter, for masks over one frozen network and for weights that are
divided among the tasks?

Piggyback and PackNet (Mallya et al. 2018; Mallya and Lazebnik 2018), and fine-tuning one network on
task after task, which forgets. Four tasks behind Fashion-MNIST, in four orders that bring every
task to every place.
"""

from methods.fine_tune import FineTune
from methods.networks import small_vgg
from methods.packnet import PackNet
from methods.piggyback import Piggyback
from methods.sequential_fine_tuning import SequentialFineTuning
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

fashion = torchvision_set("FashionMNIST")
base = fashion.resized(14).images(limit=10_000).drawn().validation(0.1).named("fashion")
# Each by its own statistics, not the base's: so the tables of docs/reproduction were measured.
targets = [
    data.resized(14).images(limit=2500).drawn().validation(0.2).normalised("own").named(name)
    for name, data in (
        ("mnist", torchvision_set("MNIST")),
        ("inverted", fashion.shifted("inverted")),
        ("kmnist", parquet("kmnist")),
        ("permuted", fashion.shifted("permuted")),
    )
]
orders = [(base, *targets[first:], *targets[:first]) for first in range(4)]

trained = FineTune(epochs=15, lr=0.03)
tuned = FineTune(epochs=15, lr=0.03, batch=32, base=trained)
MASKS, PACKED, TUNED = (
    {"method": "piggyback", "epochs": 15},
    {"method": "packnet", "epochs": 10},  # and five of retraining
    {"method": "sequential_fine_tuning"},
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            product(
                union(
                    Piggyback.grid(epochs=15, base=trained),
                    PackNet.grid(epochs=10, retrain_epochs=5, base=trained),
                ),
                tasks=orders,
            ),
            product(SequentialFineTuning.grid(training=tuned), tasks=orders[::2]),
        ),
        network=small_vgg(),
        seed=range(5),
    ),
    expect=50,
    claims=[
        claims.Unchanged(metric="accuracy", axis="tasks", where=MASKS, paper="P11"),
        *(
            claims.Varies(
                metric="accuracy", axis="tasks", where=PACKED | {"task": t.name}, paper="P11"
            )
            for t in targets
        ),
        claims.Higher(
            metric="accuracy_at",
            where=PACKED | {"place": 1},
            than=PACKED | {"place": 4},
            paper="P11",
        ),
        claims.Higher(metric="accuracy", where=MASKS, than=PACKED, paper="P11"),
        *(
            claims.Within(
                metric="forgetting", where=TUNED | {"task": t.name}, above=0.0, paper="control"
            )
            for t in targets[:2]
        ),
    ],
)
