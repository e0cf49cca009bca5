"""How lean may each task's network be, measured where noise of the choice matters less? (N1, N2)

NetTailor (Morgado and Vasconcelos 2019): the tasks of nettailor_difficulty with 1,500 training
images each and 3,000 for validation, all numbers of removed blocks, proxies that begin at full
strength, and the operations at which a point of accuracy is lost, read off between two prunings.
"""

from methods.nettailor import NetTailor
from methods.nettailor.leanest import Leanest
from methods.networks import cifar_resnet
from orchestrator import Sweep, claims, parquet, product, torchvision_set

cifar = parquet("cifar10").rgb().resized(16)
source = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).drawn().named("source")
targets = {
    name: task.rgb().resized(16).images(limit=4500).drawn().validation(2 / 3).normalised("own")
    for name, task in (
        ("cifar", cifar.classes(5, 6, 7, 8, 9).named("cifar")),
        ("coarse", cifar.classes(5, 6, 7, 8, 9).binary(8, 9).named("coarse")),
        ("mnist", torchvision_set("MNIST").named("mnist")),
    )
}
SLOW, EVEN = {"of.start": "2,-2"}, {"of.start": "0,0"}


def on(name: str) -> dict[str, object]:
    return {"tasks": (source, targets[name])}


sweep = Sweep(
    question=__doc__,
    cells=product(
        Leanest.grid(
            of=NetTailor.grid(start=[(2.0, -2.0), (0.0, 0.0)]),
            removed=(1, 2, 3, 4, 5),
            drop=0.01,
        ),
        network=cifar_resnet(2),
        tasks=[(source, target) for target in targets.values()],
        seed=range(5),
    ),
    expect=30,
    claims=[
        *(
            claims.Higher(
                metric="flops_at_drop", where=start | on("cifar"), than=start | on(easy), paper="N1"
            )
            for start in (SLOW, EVEN)
            for easy in ("coarse", "mnist")
        ),
        *(
            claims.Within(metric="flops_at_drop", where=start | on(easy), below=0.6, paper="N2")
            for start in (SLOW, EVEN)
            for easy in ("coarse", "mnist")
        ),
        *(
            claims.Within(metric="flops_at_drop", where=start | on("cifar"), below=1.0, paper="N2")
            for start in (SLOW, EVEN)
        ),
    ],
)
