"""The small sweeps that are disturbed, as files."""

from __future__ import annotations

from pathlib import Path

_TASKS = """\
A = digits.classes(0, 1, 2, 3).images(0, of=2, limit=96).named("a")
B = digits.classes(0, 1, 4, 5).images(1, of=2, limit=96).named("b")
"""

# Two trainings with checkpoints, and two measurements that join their parts.
TRAINED = f'''\
"""Do two networks with a common loss join?"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, digits, product

{_TASKS}
networks = CompatibleFeatures.grid(ingredients=[("common",)], epochs=2, batch=32)
sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks), network=resnet8(width=4), tasks=(A, B), seed=range(2)
    ),
    expect=2,
)
'''

# Long enough to be killed in the middle: 16 trainings of some seconds, 16 measurements behind them.
LONG = f'''\
"""What does a night of kills leave of a sweep?"""

from methods.compatible_features import CompatibleFeatures
from methods.networks import resnet8
from methods.recombine import Recombine
from orchestrator import Sweep, digits, product

{_TASKS}
networks = CompatibleFeatures.grid(
    ingredients=[(), ("common",)], split=["stage2", "pool"], epochs=EPOCHS, batch=32
)
sweep = Sweep(
    question=__doc__,
    cells=product(
        Recombine.grid(of=networks), network=resnet8(width=16), tasks=(A, B), seed=range(4)
    ),
    expect=16,
)
'''


def write(folder: Path, name: str, text: str) -> Path:
    """A sweep file in a folder that holds nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


# What `mutations` changes: cheap to run, and it is known what comes out (`counted`).
COUNTED = '''\
"""How does the value follow from number and text?"""

from disturbed.counted import Counted
from orchestrator import Sweep, claims, product, union

numbers = [1, 2, 3]
cells = product(
    union(
        Counted.grid(number=numbers, text=["plain", "longer"], factor=2.0),
        Counted.grid(number=4, depth=2),
    ),
    seed=range(2),
)
sweep = Sweep(
    question=__doc__,
    cells=cells.where(lambda cell: cell.number != 2, reason="2 is known"),
    expect=10,
    claims=[
        claims.Higher(
            metric="value", where={"text": "longer"}, than={"text": "plain"}, by=0.5
        ),
    ],
)
'''
