"""Does the penalty of elastic weight consolidation keep what was learned before?"""

from elastic_weights import ElasticWeights

from methods.networks import resnet8
from orchestrator import Sweep, claims, digits, product

tasks = tuple(digits.classes(*range(first, first + 3)).named(f"from{first}") for first in (0, 3, 6))

sweep = Sweep(
    question=__doc__,
    cells=product(
        ElasticWeights.grid(strength=[0.0, 10.0, 100.0]),
        network=resnet8(width=4),
        tasks=tasks,
        seed=range(3),
    ),
    expect=9,
    claims=[
        claims.Higher(
            metric="forgetting",
            where={"strength": 0.0, "task": "from0"},
            than={"strength": 100.0, "task": "from0"},
            paper="fig. 2A",
        ),
        claims.Higher(
            metric="mean_accuracy",
            where={"strength": 100.0},
            than={"strength": 0.0},
            paper="fig. 2A",
        ),
    ],
)
