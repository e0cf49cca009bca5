"""A method that sees which GPUs it was given. Where PRETENDED_GPUS names a node, torch says it can
use them: there are none on the machines that run the tests, and Ray counts what it is told.

Departs from the paper: there is none.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import torch

from orchestrator import Method, Metric, Resources, Run, Trial, axis

if os.environ.get("PRETENDED_GPUS"):
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_name = lambda device=None: "pretended"
    torch.cuda.init = lambda: None
    torch.cuda.memory_allocated = lambda device=None: 0
    torch.cuda.reset_peak_memory_stats = lambda device=None: None
    torch.cuda.max_memory_allocated = lambda device=None: 0
    torch.cuda.max_memory_reserved = lambda device=None: 0
    torch.cuda.get_device_properties = lambda device=None: SimpleNamespace(total_memory=2**30)


class SeesGpus(Method):
    """Leaves a file that says on which device it runs, which GPUs it sees, and when."""

    name = "sees_gpus"
    uses = frozenset({"seed"})
    metrics = (Metric("total"),)

    folder: str = axis("")
    gpus: float = axis(1.0)
    nap: float = axis(0.0)

    def resources(self, trial: Trial) -> Resources:
        return Resources(gpus=self.gpus)

    def train(self, run: Run) -> None:
        began = time.time()
        time.sleep(self.nap)
        seen = {
            "device": run.device.type,
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "node": os.environ.get("PRETENDED_GPUS"),
            "began": began,
            "ended": time.time(),
        }
        file = f"{self.gpus:g}-{run.seed}.json"
        Path(self.folder, file).write_text(json.dumps(seen))
        run.log(total=1.0)
