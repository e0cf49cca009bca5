"""Does elastic weight consolidation keep what was learned before? On KMNIST."""

from elastic_weights import ElasticWeights

from methods.networks import resnet8
from orchestrator import Sweep, claims, parquet, product

kmnist = parquet("kmnist").images(limit=3000).validation(0)

sweep = Sweep(
    question=__doc__,
    cells=product(
        ElasticWeights.grid(strength=[0.0, 100.0], epochs=4),
        network=resnet8(width=8),
        tasks=(
            kmnist.classes(0, 1, 2, 3, 4).named("first"),
            kmnist.classes(5, 6, 7, 8, 9).named("second"),
        ),
        seed=range(3),
    ),
    expect=6,
    claims=[
        claims.Higher(
            metric="forgetting",
            where={"strength": 0.0, "task": "first"},
            than={"strength": 100.0, "task": "first"},
            paper="fig. 2A",
        ),
    ],
)
