"""Do networks that differ only in their seed stitch, and is it their training that does it?"""

from model_stitching import ModelStitching

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, claims, digits, product

SPLITS = ["stem", "stage2", "pool"]

sweep = Sweep(
    question=__doc__,
    cells=product(
        ModelStitching.grid(
            front=["trained", "untrained"], split=SPLITS, networks=FineTune(epochs=15)
        ),
        network=resnet8(width=8),
        tasks=digits.named("digits"),
        seed=range(3),
    ),
    expect=18,
    claims=[
        claims.Higher(
            metric="accuracy",
            where={"front": "trained", "split": "pool"},
            than={"front": "untrained", "split": "pool"},
            paper="section 5",
        ),
        claims.Within(
            metric="penalty",
            where={"front": "trained", "split": "pool"},
            below=0.1,
            paper="section 5",
        ),
        claims.Higher(
            metric=claims.entry("stitched", row="network 0", column="network 1"),
            where={"front": "trained", "split": "stage2"},
            than={"front": "untrained", "split": "stage2"},
            paper="section 5",
        ),
    ],
)
