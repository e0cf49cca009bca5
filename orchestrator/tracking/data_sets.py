"""Tasks as data sets in MLflow: what a run was trained or measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag

from orchestrator.spec.canonical import digest
from orchestrator.spec.task import Task
from orchestrator.tracking.names import LONGEST_NAME, fit_text

if TYPE_CHECKING:
    from orchestrator.store.store import Store

CONTEXT = "mlflow.data.context"


class DataSets:
    """The tasks of trials as inputs of runs, each looked up once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Dataset] = {}

    def of(self, record: Mapping[str, Any]) -> dict[str, DatasetInput]:
        """The tasks of a trial, by name."""
        context = "training" if record["timings"].get("fits") else "evaluation"
        tags = [InputTag(CONTEXT, context)]
        tasks = [Task.from_json(task) for task in record["trial"]["tasks"]]
        return {task.name: DatasetInput(self._data_set(task), tags) for task in tasks}

    def _data_set(self, task: Task) -> Dataset:
        of_task = digest(task.identity())[:12]
        key = f"{task.name} {of_task}"
        if key not in self._known:
            data = self._store.data(task.data)
            told = {"data set": task.data, "classes": len(task.class_names)}
            if data is not None:
                told["images to train and to test"] = list(data.counts)
            self._known[key] = Dataset(
                name=fit_text(task.name, LONGEST_NAME),
                digest=of_task,
                source_type="spolia",
                source=json.dumps({"name": task.data, "digest": data.digest if data else ""}),
                profile=json.dumps(told),
            )
        return self._known[key]
