"""Does an easier task get a leaner network at the same loss of accuracy?

NetTailor (Morgado and Vasconcelos 2019): a network of six residual blocks, trained on five classes of CIFAR-10, is tailored to five tasks with 1,500
training images each, at 16 x 16 pixels: MNIST, Fashion-MNIST, KMNIST, traffic signs, and the other five classes of CIFAR-10.
"""

from methods.fine_tune import FineTune
from methods.leanest import Leanest
from methods.nettailor import NetTailor
from methods.networks import cifar_resnet
from methods.tailored_tasks import TailoredTasks
from orchestrator.claims import Higher, Within
from orchestrator.data import parquet, torchvision_set
from orchestrator.grid import product, union
from orchestrator.sweep import Sweep

cifar = parquet("cifar10").rgb().resized(16)
source = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).named("source")
targets = [
    task.rgb().resized(16).images(limit=2400).validation(0.375)
    for task in (
        torchvision_set("MNIST").named("mnist"),
        torchvision_set("FashionMNIST").named("fashion"),
        parquet("kmnist").named("kmnist"),
        parquet("gtsrb").named("signs"),
        cifar.classes(5, 6, 7, 8, 9).named("cifar"),
    )
]
easy, hard = {"method": "leanest", "tasks": "source + mnist"}, {"method": "leanest", "tasks": "source + cifar"}

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            product(
                union(NetTailor.grid(removed=[None, 1, 2, 3, 4, 5]), Leanest.grid(drop=0.01), FineTune.grid()),
                tasks=[(source, target) for target in targets],
            ),
            product(TailoredTasks.grid(of=Leanest(drop=0.01)), tasks=(source, *targets)),
        ),
        network=cifar_resnet(2),
        seed=range(5),
    ),
    expect=205,
    claims=[
        Higher(metric="flops_share", where=hard, than=easy, paper="N1"),
        Higher(metric="parameters_share", where=hard, than=easy, paper="N1"),
        Within(metric="flops_share", where=easy, below=0.6, paper="N2"),
        Within(metric="flops_share", where=hard, below=1.0, paper="N2"),
        Within(metric="task_share", where=easy, below=0.15, paper="N3"),
        *(Within(metric="late_bias", where={"tasks": "source + cifar", "removed": str(k)}, above=0.0, paper="N7") for k in (1, 2, 3)),
    ],
)
