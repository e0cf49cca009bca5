"""A kept network as MLflow loads it, with no pickle: `mlflow.pyfunc.load_model("models:/<id>")`.

The folder holds `part.json` (what to build, and how images are normalised) and
`weights.safetensors`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orchestrator.parts.component import ComponentRecord, Part, rebuild
from orchestrator.spec.task import DataRecord


def write(
    folder: Path, component: ComponentRecord, weights: bytes, data: DataRecord, classes: list[str]
) -> None:
    """Lay out the folder that `_load_pyfunc` reads."""
    about = {
        "path": component.path,
        "config": dict(component.config),
        "mean": data.mean,
        "std": data.std,
        "classes": classes,
        "shape": data.shape,
    }
    (folder / "part.json").write_text(json.dumps(about))
    (folder / "weights.safetensors").write_bytes(weights)


class Served:
    """`predict(images)` takes pixels 0..255, [N, C, H, W], and gives logits [N, classes]; `part` is
    the torch module (it takes normalised images).
    """

    def __init__(self, part: Part, about: dict[str, Any]) -> None:
        self.part, self.classes = part, tuple(about["classes"])
        self._mean, self._std = (torch.tensor(about[k]).view(1, -1, 1, 1) for k in ("mean", "std"))

    @torch.no_grad()
    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        x = torch.as_tensor(np.asarray(model_input), dtype=torch.float32)
        return self.part((x / 255 - self._mean) / self._std).numpy()


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry: the folder written by `write`."""
    about = json.loads((Path(path) / "part.json").read_text())
    return Served(
        rebuild(about["path"], about["config"], (Path(path) / "weights.safetensors").read_bytes()),
        about,
    )
