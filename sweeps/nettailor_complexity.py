"""Does the weight of the expected complexity decide how much of a network attention leaves, and
does its form matter?

NetTailor (Morgado and Vasconcelos 2019): students before pruning on the hardest task of
nettailor_difficulty, over weights of the complexity term and over its forms (the paper's, its
code's, and our independent one).
"""

from methods.nettailor import NetTailor
from methods.networks import cifar_resnet
from orchestrator import Sweep, claims, parquet, product, union

cifar = parquet("cifar10").rgb().resized(16)
source = cifar.classes(0, 1, 2, 3, 4).images(limit=6000).drawn().named("source")
target = cifar.classes(5, 6, 7, 8, 9).images(limit=2400).drawn().validation(0.375).named("cifar")

sweep = Sweep(
    question=__doc__,
    cells=product(
        union(
            NetTailor.grid(complexity_weight=[0.0, 0.1, 0.3, 1.0]),
            NetTailor.grid(form=["disjoint", "disjoint_code"]),
        ),
        network=cifar_resnet(2),
        tasks=(source, target),
        seed=range(5),
    ),
    expect=30,
    claims=[
        claims.Ranked(
            axis="complexity_weight", metric="attended_complexity", how="falls", rho=0.8, paper="N9"
        )
    ],
)
