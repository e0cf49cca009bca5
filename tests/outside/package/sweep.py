"""Does a longer echo agree more with its teacher?"""

from spolia_echo.echo import Echo, TinyNetwork

from orchestrator import Sweep, digits, network_spec, product

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
