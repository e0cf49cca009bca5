"""Is a deep network, tailored to the size of a shallow one, better than the shallow one, where
depth pays? (N5)

NetTailor (Morgado and Vasconcelos 2019), figure 5, at 32 x 32 pixels: universal networks of 20 and
8 layers on fifty classes of CIFAR-100, the task ten others. That depth pays at all is the first
claim; where it does not hold, the others decide nothing. For a GPU.
"""

from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.nettailor.leanest import Leanest
from methods.networks import resnet8, resnet20
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar100")
source = cifar.classes(*range(50)).drawn().validation(0.1).named("source")
target = cifar.classes(*range(50, 60)).drawn().validation(0.2).named("target")
trained = FineTune(epochs=60, lr=0.1, augmentation="crop and flip")
tuned = FineTune(epochs=60, lr=0.03, augmentation="crop and flip")
SHALLOW = 78_042  # parameters of resnet8 with ten classes

tailored = NetTailor.grid(
    base=trained,
    teacher=tuned,
    teacher_weight=[0.0, 1.0],
    augmentation="crop and flip",
    epochs=50,
    retrain_epochs=20,
)
DEEP, FLAT = ({"method": "fine_tune", "network": network} for network in (resnet20(), resnet8()))

sweep = Sweep(
    question=__doc__,
    cells=union(
        product(
            FineTune.grid(epochs=60, lr=0.03, augmentation="crop and flip", base=trained),
            network=[resnet20(), resnet8()],
            tasks=(source, target),
            seed=range(5),
        ),
        product(
            Leanest.grid(
                of=tailored, removed=(5, 6, 7, 8), against=tuned, parameters_at_most=SHALLOW
            ),
            network=resnet20(),
            tasks=(source, target),
            seed=range(5),
        ),
    ),
    expect=20,
    claims=[
        claims.Higher(metric="accuracy", where=DEEP, than=FLAT, by=0.01, paper="N5, if"),
        claims.Higher(
            metric="accuracy",
            where={"method": "leanest", "of.teacher_weight": 1.0},
            than=FLAT,
            paper="N5",
        ),
        claims.Higher(
            metric="accuracy",
            where={"method": "leanest", "of.teacher_weight": 0.0},
            than=FLAT,
            paper="N5, no teacher",
        ),
    ],
)
