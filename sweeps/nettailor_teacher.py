"""Does the teacher help where frozen blocks can reach what it asks for? (N4)

NetTailor (Morgado and Vasconcelos 2019), the hardest task of nettailor_difficulty. A teacher that
is fine-tuned at a high rate moves away from the universal network, whose frozen blocks have to
imitate it: teachers at three rates and the authors' own recipe, at three weights, with one to five
blocks removed.
"""

from typing import Any

from methods.fine_tune import FineTune
from methods.nettailor import NetTailor
from methods.nettailor.leanest import Leanest
from methods.networks import cifar_resnet
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").rgb().resized(16)
source = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).drawn().named("source")
target = cifar.classes(5, 6, 7, 8, 9).images(limit=2400).drawn().validation(0.375).named("cifar")

teachers = [
    *(FineTune(lr=lr) for lr in (0.1, 0.03, 0.01)),
    FineTune(lr=0.01, schedule="drops", drops_at=(0.4, 0.8)),
]
taught = union(
    NetTailor.grid(teacher=teachers, teacher_weight=[0.1, 1.0]),
    NetTailor.grid(teacher_weight=[0.0]),
)


def at(teacher: Any, weight: float) -> dict[str, Any]:
    return {"of.teacher": teacher, "of.teacher_weight": weight}


NONE = at("-", 0.0)

sweep = Sweep(
    question=__doc__,
    cells=product(
        Leanest.grid(of=taught, removed=(1, 2, 3, 4, 5), drop=0.01),
        network=cifar_resnet(2),
        tasks=(source, target),
        seed=range(5),
    ),
    expect=45,
    claims=[
        *(
            claims.Higher(metric="area", where=at(teacher, weight), than=NONE, paper="N4")
            for teacher in teachers
            for weight in (0.1, 1.0)
        ),
        # One that stays near to the universal network teaches better.
        *(
            claims.Higher(
                metric="area",
                where=at(teachers[2], weight),
                than=at(teachers[0], weight),
                paper="N4, distance",
            )
            for weight in (0.1, 1.0)
        ),
    ],
)
