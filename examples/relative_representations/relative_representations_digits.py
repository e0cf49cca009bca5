"""Does a head on similarities to anchors serve networks of other seeds, untrained?"""

from relative_representations import RelativeRepresentations

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, claims, digits, product

sweep = Sweep(
    question=__doc__,
    cells=product(
        RelativeRepresentations.grid(anchors=[0, 20, 50], networks=FineTune(epochs=15), epochs=10),
        network=resnet8(width=8),
        tasks=digits.named("digits"),
        seed=range(3),
    ),
    expect=9,
    claims=[
        claims.Higher(
            metric="swapped_accuracy",
            where={"anchors": 50},
            than={"anchors": 0},
            by=0.2,
            paper="table 1",
        ),
        claims.NoWorse(
            metric="own_accuracy",
            where={"anchors": 50},
            than={"anchors": 0},
            by=0.05,
            never=0.15,
            paper="table 1",
        ),
    ],
)
