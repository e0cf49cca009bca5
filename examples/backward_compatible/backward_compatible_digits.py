"""Do new features work with an old classifier and an old gallery, and at what price?"""

from backward_compatible import BackwardCompatible

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, claims, digits, product

WITH, WITHOUT = {"influence": 1.0}, {"influence": 0.0}

sweep = Sweep(
    question=__doc__,
    cells=product(
        BackwardCompatible.grid(influence=[0.0, 1.0], epochs=15, old=FineTune(epochs=15)),
        network=resnet8(width=8),
        tasks=(
            digits.classes(0, 1, 2, 3, 4, 5).images(0, of=2).named("old"),
            digits.images(1, of=2).named("new"),
        ),
        seed=range(3),
    ),
    expect=6,
    claims=[
        claims.Higher(metric="cross_accuracy", where=WITH, than=WITHOUT, by=0.3, paper="table 2"),
        claims.Higher(metric="cross_retrieval", where=WITH, than=WITHOUT, by=0.3, paper="table 2"),
        claims.NoWorse(
            metric="accuracy", where=WITH, than=WITHOUT, by=0.03, never=0.1, paper="table 2"
        ),
    ],
)
