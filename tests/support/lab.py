"""A method and a network of one's own, in a module that a test writes beside its sweep file."""

from __future__ import annotations

# With a folder, each trial that begins leaves a note there and takes half a second.
LAB = """
import time
from pathlib import Path

from torch import nn
from orchestrator import Method, Metric, Network, axis

class Small(Network):
    def __init__(self, *, channels=1, classes=2):
        super().__init__()
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.set_stages({"pool": pool, "classifier": nn.Linear(channels, classes)})

class Beside(Method):
    name = "beside"
    metrics = (Metric("outputs"),)
    folder: str = axis("")
    def train(self, run):
        if self.folder:
            Path(self.folder, f"{run.seed}-{time.monotonic_ns()}").touch()
            time.sleep(0.5)
        run.log(outputs=run.network("net").last_layer.out_features)
"""
