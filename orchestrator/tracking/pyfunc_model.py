"""A kept network as MLflow loads it, with no pickle: `mlflow.pyfunc.load_model("models:/<id>")`.

The folder holds `part.json` (what to build, what it is joined with, and how images are normalised),
`weights.safetensors`, and a file of weights for each component without which it computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from orchestrator.parts.component import ComponentRecord, Part, rebuild
from orchestrator.spec.preparation import Statistics
from orchestrator.spec.task import DataRecord, Task

WEIGHTS = "weights.safetensors"


def write(
    folder: Path,
    component: ComponentRecord,
    blob: Callable[[str], bytes],
    data: DataRecord,
    task: Task,
) -> None:
    """Write the folder that `_load_pyfunc` reads; `data` is the record of the task's data set,
    `blob` gives the weights of a name.
    """
    by = task.normalised_by or Statistics(data.mean, data.std)
    required = {}
    for number, (name, pin) in enumerate(component.pins.items()):
        file = f"required-{number}.safetensors"
        (folder / file).write_bytes(blob(pin["blob"]))
        required[name] = {"path": pin["path"], "config": dict(pin["config"]), "weights": file}
    description = {
        "path": component.path,
        "config": dict(component.config),
        "requires": required,
        "mean": by.mean,
        "std": by.std,
        "classes": list(task.class_names),
        "shape": task.image(data),
    }
    (folder / "part.json").write_text(json.dumps(description))
    (folder / WEIGHTS).write_bytes(blob(component.blob))


class PyfuncModel:
    """What `mlflow.pyfunc.load_model` gives: `part` is the torch module, joined with what it
    requires, which takes normalised images, and `classes` are the names of its logits.
    """

    def __init__(self, part: nn.Module, description: Mapping[str, Any]) -> None:
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

    def built(told: Mapping[str, Any], weights: str) -> Part:
        return rebuild(told["path"], told["config"], (folder / weights).read_bytes())

    part = built(description, WEIGHTS)
    # Models that an earlier version wrote say nothing of it.
    required = description.get("requires", {})
    modules = {name: built(told, told["weights"]) for name, told in required.items()}
    return PyfuncModel(_ready(part, modules), description)


def _ready(part: Part, required: dict[str, Part]) -> nn.Module:
    """As `Component.ready` joins a part with what it requires; the name of an only one is empty."""
    if not required:
        return part
    alone = [required.pop("")] if "" in required else []
    return part.joined(*alone, **required).eval()
