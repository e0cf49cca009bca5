"""A kept network as MLflow loads it, with no pickle: `mlflow.pyfunc.load_model("models:/<id>")`.

The folder holds `part.json` (what to build, and how images are normalised) and
`weights.safetensors`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orchestrator.parts.component import ComponentRecord, Part, rebuild
from orchestrator.spec.preparation import Statistics
from orchestrator.spec.task import DataRecord, Task


def write(
    folder: Path, component: ComponentRecord, weights: bytes, data: DataRecord, task: Task
) -> None:
    """Write the folder that `_load_pyfunc` reads; `data` is the record of the task's data set."""
    by = task.normalised_by or Statistics(data.mean, data.std)
    description = {
        "path": component.path,
        "config": dict(component.config),
        "mean": by.mean,
        "std": by.std,
        "classes": list(task.class_names),
        "shape": task.image(data),
    }
    (folder / "part.json").write_text(json.dumps(description))
    (folder / "weights.safetensors").write_bytes(weights)


class PyfuncModel:
    """What `mlflow.pyfunc.load_model` gives: `part` is the torch module, which takes normalised
    images, and `classes` are the names of its logits.
    """

    def __init__(self, part: Part, description: Mapping[str, Any]) -> None:
        self.part, self.classes = part, tuple(description["classes"])
        self._mean = torch.tensor(description["mean"]).view(1, -1, 1, 1)  # [1, channels, 1, 1]
        self._std = torch.tensor(description["std"]).view(1, -1, 1, 1)

    @torch.no_grad()
    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Logits [images, classes] of pixels 0 to 255, [images, channels, height, width]."""
        pixels = torch.as_tensor(np.asarray(model_input), dtype=torch.float32)
        return self.part((pixels / 255 - self._mean) / self._std).numpy()


def _load_pyfunc(path: str) -> PyfuncModel:
    """MLflow's entry: the folder written by `write`."""
    folder = Path(path)
    description = json.loads((folder / "part.json").read_text())
    weights = (folder / "weights.safetensors").read_bytes()
    part = rebuild(description["path"], description["config"], weights)
    return PyfuncModel(part, description)
