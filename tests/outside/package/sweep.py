"""Does a longer echo agree more with its teacher?"""

from spolia_echo.echo import Echo, TinyNetwork

from orchestrator.parts.network import network_spec
from orchestrator.spec.datasets import digits
from orchestrator.spec.grid import product
from orchestrator.spec.sweep import Sweep

sweep = Sweep(
    question=__doc__,
    cells=product(
        Echo.grid(epochs=[1, 2]),
        network=network_spec(TinyNetwork, width=4),
        tasks=digits.classes(0, 1, 2).images(limit=60).named("t"),
        seed=range(2),
    ),
    expect=4,
)
