"""Do new features work with an old classifier and an old gallery? On sketches (QuickDraw)."""

from backward_compatible import BackwardCompatible

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, claims, parquet, product

WITH, WITHOUT = {"influence": 1.0}, {"influence": 0.0}
sketches = parquet("quickdraw6").validation(0)

sweep = Sweep(
    question=__doc__,
    cells=product(
        BackwardCompatible.grid(influence=[0.0, 1.0], epochs=4, old=FineTune(epochs=4)),
        network=resnet8(width=4),
        tasks=(
            sketches.classes(0, 1, 2, 3).images(0, of=2, limit=600).named("old"),
            sketches.images(1, of=2, limit=1200).named("new"),
        ),
        seed=range(3),
    ),
    expect=6,
    claims=[
        claims.Higher(metric="cross_accuracy", where=WITH, than=WITHOUT, by=0.2, paper="table 2"),
        claims.Higher(metric="cross_retrieval", where=WITH, than=WITHOUT, by=0.2, paper="table 2"),
        claims.NoWorse(
            metric="accuracy", where=WITH, than=WITHOUT, by=0.03, never=0.1, paper="table 2"
        ),
    ],
)
