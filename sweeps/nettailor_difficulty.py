"""Does an easier task end up with a leaner network, at the same loss of accuracy?

NetTailor (Morgado and Vasconcelos 2019): a network of six residual blocks, trained on five classes
of CIFAR-10, is tailored to three tasks with 1,500 training images each, at 16 x 16 pixels: MNIST,
the other five classes of CIFAR-10, and (coarse) whether one of these very images shows a vehicle or
an animal.
"""

from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.nettailor.leanest import Leanest
from methods.nettailor.tailored_tasks import TailoredTasks
from methods.networks import cifar_resnet
from orchestrator import Sweep, claims, parquet, product, torchvision_set, union

cifar = parquet("cifar10").rgb().resized(16)
source = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).drawn().named("source")
# Each by its own statistics, not the base's: so the tables of docs/reproduction were measured.
targets = [
    task.rgb().resized(16).images(limit=2400).drawn().validation(0.375).normalised("own")
    for task in (
        cifar.classes(5, 6, 7, 8, 9).named("cifar"),
        cifar.classes(5, 6, 7, 8, 9).binary(8, 9).named("coarse"),
        torchvision_set("MNIST").named("mnist"),
    )
]
coarse, mnist, hard = (
    {"method": "leanest", "tasks": f"source + {name}"} for name in ("coarse", "mnist", "cifar")
)

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            product(
                union(
                    NetTailor.grid(removed=[None, 1, 3, 5]),
                    Leanest.grid(removed=(1, 3, 5), drop=0.01),
                    FineTune.grid(),
                ),
                tasks=[(source, target) for target in targets],
            ),
            product(
                TailoredTasks.grid(of=Leanest(removed=(1, 3, 5), drop=0.01)),
                tasks=(source, *targets),
            ),
        ),
        network=cifar_resnet(2),
        seed=range(5),
    ),
    expect=95,
    claims=[
        # The harder task keeps more of the network.
        *(
            claims.Higher(metric=m, where=hard, than=easy, paper="N1")
            for easy in (coarse, mnist)
            for m in ("flops_share", "parameters_share")
        ),
        # At least two fifths of the multiply-accumulates go on an easy task, some on the hard one.
        *(
            claims.Within(metric="flops_share", where=easy, below=0.6, paper="N2")
            for easy in (coarse, mnist)
        ),
        claims.Within(metric="flops_share", where=hard, below=1.0, paper="N2"),
        claims.Within(metric="task_share", where={"method": "leanest"}, below=0.15, paper="N3"),
        # Late blocks go first.
        *(
            claims.Within(
                metric="late_bias",
                where={"tasks": "source + cifar", "removed": k},
                above=0.0,
                paper="N7",
            )
            for k in (1, 3)
        ),
    ],
)
