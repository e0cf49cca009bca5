"""Does elastic weight consolidation keep what was learned before? On sketches (QuickDraw)."""

from elastic_weights import ElasticWeights

from methods.networks import resnet8
from orchestrator import Sweep, claims, parquet, product

sketches = parquet("quickdraw6").images(limit=1800).validation(0)

sweep = Sweep(
    question=__doc__,
    cells=product(
        ElasticWeights.grid(strength=[0.0, 10.0, 100.0], epochs=6),
        network=resnet8(width=4),
        tasks=(
            sketches.classes(0, 1, 2).named("first"),
            sketches.classes(3, 4, 5).named("second"),
        ),
        seed=range(3),
    ),
    expect=9,
    claims=[
        claims.Higher(
            metric="forgetting",
            where={"strength": 0.0, "task": "first"},
            than={"strength": 100.0, "task": "first"},
            paper="fig. 2A",
        ),
    ],
)
