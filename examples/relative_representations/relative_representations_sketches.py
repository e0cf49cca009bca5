"""Does a head on similarities to anchors serve other networks? On sketches (QuickDraw)."""

from relative_representations import RelativeRepresentations

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, claims, parquet, product

sweep = Sweep(
    question=__doc__,
    cells=product(
        RelativeRepresentations.grid(
            anchors=[0, 20, 50], split="pool", epochs=5, networks=FineTune(epochs=4)
        ),
        network=resnet8(width=4),
        tasks=parquet("quickdraw6").images(limit=1200).validation(0).named("sketches"),
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
