"""A method that sees which GPUs it was given. Where PRETENDED_GPUS names a node, torch says it can
use them: there are none on the machines that run the tests, and Ray counts what it is told.

Departs from the paper: there is none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import torch
from sample_methods import note, wait_until

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
    """Leaves a file that says on which device it runs and which GPUs it sees, when so many have
    begun: none of them has ended by then.
    """

    name = "sees_gpus"
    uses = frozenset({"seed"})
    metrics = (Metric("total"),)

    folder: str = axis("")
    gpus: float = axis(1.0)
    at_once: int = axis(1)

    def resources(self, trial: Trial) -> Resources:
        return Resources(gpus=self.gpus)

    def train(self, run: Run) -> None:
        note(self.folder, "began")
        wait_until(lambda: len(list(Path(self.folder).glob("began-*"))) >= self.at_once)
        seen = {
            "device": run.device.type,
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        }
        file = f"{self.gpus:g}-{run.seed}.json"
        Path(self.folder, file).write_text(json.dumps(seen))
        run.log(total=1.0)
