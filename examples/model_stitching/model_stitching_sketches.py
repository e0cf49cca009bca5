"""Do networks that differ only in their seed stitch? On sketches (QuickDraw)."""

from model_stitching import ModelStitching

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Sweep, claims, parquet, product

sweep = Sweep(
    question=__doc__,
    cells=product(
        ModelStitching.grid(
            front=["trained", "untrained"], split="pool", epochs=3, networks=FineTune(epochs=4)
        ),
        network=resnet8(width=4),
        tasks=parquet("quickdraw6").images(limit=1200).validation(0).named("sketches"),
        seed=range(3),
    ),
    expect=6,
    claims=[
        claims.Higher(
            metric="accuracy",
            where={"front": "trained"},
            than={"front": "untrained"},
            paper="section 5",
        ),
        claims.Within(metric="penalty", where={"front": "trained"}, below=0.1, paper="section 5"),
    ],
)
