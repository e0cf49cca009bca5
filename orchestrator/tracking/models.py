"""Components as models in MLflow, once a trial, and which run was made from which models."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, LoggedModelInput, LoggedModelOutput

from orchestrator.errors import SpoliaError
from orchestrator.spec.naming import reference_of
from orchestrator.spec.task import DataRecord, Task
from orchestrator.store.store import Store
from orchestrator.tracking.data_sets import DataSets
from orchestrator.tracking.finished_run import FinishedRun, metric_name
from orchestrator.tracking.names import model_name
from orchestrator.tracking.patience import of_artifacts
from orchestrator.tracking.runs import OfModel, pages

if TYPE_CHECKING:
    from orchestrator.parts.component import ComponentRecord

READY = "READY"
EXAMPLE = 4096  # numbers of an image up to which one is an example: it is JSON
Known = dict[tuple[str, str], str]
"""Ids of a trial's models by component and weights."""


class Models:
    """The models that one store has in one experiment. They load without pickle, by
    `orchestrator.tracking.pyfunc_model`.
    """

    def __init__(self, client: MlflowClient, experiment: str, store: Store, identity: str) -> None:
        self.client, self.experiment, self.store = client, experiment, store
        self._identity = identity
        self._known: dict[str, Known] = {}  # by the trial's key
        self._data_sets = DataSets(store)
        self._begun: dict[str, Known] = {}  # those that a writer did not bring to their end
        self.look_again()

    def look_again(self, key: str = "") -> None:
        """Ask MLflow which models there are, of one trial or of all."""
        for known in (self._known, self._begun):
            known.pop(key, None)
        for model in self._search(key):
            by_key = self._known if str(model.status) == READY else self._begun
            component = model.tags.get("spolia.component", ""), model.tags.get("spolia.blob", "")
            by_key.setdefault(model.tags["spolia.key"], {})[component] = model.model_id

    def _search(self, key: str) -> Iterator[Any]:
        condition = f"tags.`spolia.store` = '{self._identity}'"
        if key:
            condition += f" and tags.`spolia.key` = '{key}'"
        return pages(
            lambda token: self.client.search_logged_models(
                [self.experiment], condition, max_results=100, page_token=token
            )
        )

    def write(
        self, run_id: str, record: Mapping[str, Any], finished: FinishedRun
    ) -> dict[str, OfModel]:
        """The models of a trial as this run's outputs, those of its needs and its data sets as its
        inputs. Returns, by name, of which model and on what data its metrics are.
        """
        data = self._data_sets.of(record)
        if not record["components"] and not record["needs"]:
            self._link(run_id, [], [], data)
            return {}
        # Brings torch: two seconds that runs without models can do without.
        from orchestrator.parts.component import ComponentRecord

        known = self._known.setdefault(record["key"], {})
        outputs = []
        by_labels: dict[tuple[tuple[str, str], ...], str] = {}
        # Of a trial without tasks nobody knows how images are to be prepared.
        kept = record["components"] if record["trial"]["tasks"] else ()
        for stored in kept:
            component = ComponentRecord(**stored)
            identity = (component.title, component.blob)
            if identity not in known:
                known[identity] = self._write_model(run_id, record, component, finished)
            outputs.append(LoggedModelOutput(known[identity], step=0))
            by_labels.setdefault(tuple(sorted(component.labels.items())), known[identity])
        # None, where they are another sweep's.
        inputs = [LoggedModelInput(model) for model in self._made_from(record, finished.joined)]
        self._link(run_id, outputs, inputs, data)
        return metrics_of_models(record, by_labels, data)

    def _made_from(self, record: Mapping[str, Any], joined: Container[str]) -> Iterator[str]:
        """Lineage: the models that a trial was made from. Of each need those that the trial's
        matrices are about (a need may have kept more, such as the heads of another loss), or all
        where they are about none.
        """
        for key in dict.fromkeys(need["key"] for need in record["needs"].values()):
            known = self._known.get(key)
            needed = self.store.find(key) if known else None
            if known is None or needed is None:
                continue
            from orchestrator.parts.component import ComponentRecord

            kept = [ComponentRecord(**stored) for stored in needed["components"]]
            about = [one for one in kept if reference_of(key, one.name, one.labels) in joined]
            for one in about or kept:
                # Not those of a result that was replaced, nor copies that were promoted.
                if (one.title, one.blob) in known:
                    yield known[one.title, one.blob]

    def _link(
        self,
        run_id: str,
        outputs: Sequence[LoggedModelOutput],
        inputs: Sequence[LoggedModelInput],
        data: Mapping[str, DatasetInput],
    ) -> None:
        """Link a run to models, those that it is not linked to: MLflow refuses a link that is
        there, which a writer that died after it had made it leaves behind. Data sets it takes
        twice.
        """
        if not outputs and not inputs:
            if data:
                self.client.log_inputs(run_id, datasets=list(data.values()))
            return
        run = self.client.get_run(run_id)
        have = {
            *(one.model_id for one in run.outputs.model_outputs or []),
            *(one.model_id for one in run.inputs.model_inputs or []),
        }
        new_outputs = [one for one in outputs if one.model_id not in have]
        new_inputs = [one for one in inputs if one.model_id not in have]
        if new_outputs:
            self.client.log_outputs(run_id, models=new_outputs)
        if new_inputs or data:
            self.client.log_inputs(run_id, datasets=list(data.values()), models=new_inputs)

    def _write_model(
        self,
        run_id: str,
        record: Mapping[str, Any],
        component: ComponentRecord,
        finished: FinishedRun,
    ) -> str:
        """One component as a model; its id."""
        with tempfile.TemporaryDirectory() as folder:
            saved = self._save(Path(folder), record, component)
            begun = self._begun.get(record["key"], {})
            model_id = begun.get((component.title, component.blob))
            if model_id is None:
                model_id = self._create(run_id, record, component, finished)
            with of_artifacts():
                self.client.log_model_artifacts(model_id, str(saved))
            self.client.finalize_logged_model(model_id, READY)
        return model_id

    def _create(
        self,
        run_id: str,
        record: Mapping[str, Any],
        component: ComponentRecord,
        finished: FinishedRun,
    ) -> str:
        """A model that says what it is: whose it is, of which task, and where it can be split."""
        network = record["trial"]["network"] or {}
        about = {
            "spolia.task": component.labels.get("task", ""),
            "spolia.splits": ", ".join(network.get("splits", ())),
        }
        model = self.client.create_logged_model(
            self.experiment,
            name=model_name(f"{finished.name.removeprefix('train: ')} · {component.title}"),
            source_run_id=run_id,
            tags={
                "spolia.store": self._identity,
                "spolia.key": record["key"],
                "spolia.component": component.title,
                "spolia.blob": component.blob,
                **{name: value for name, value in about.items() if value},
            },
            params={**finished.params, **component.labels},
            model_type="spolia",
        )
        return str(model.model_id)

    def _save(self, folder: Path, record: Mapping[str, Any], component: ComponentRecord) -> Path:
        """A component in MLflow's format below a folder; the path of it."""
        from mlflow import pyfunc

        from orchestrator.tracking import pyfunc_model

        all_tasks = [Task.from_json(task) for task in record["trial"]["tasks"]]
        tasks = {task.name: task for task in all_tasks}
        task = tasks.get(component.labels.get("task", "")) or next(iter(tasks.values()))
        data = self.store.data(task.data)
        assert data is not None  # planning wrote it before the trial had a key
        parts, model = folder / "parts", folder / "model"
        parts.mkdir()
        blob = partial(self.store.blob, of=record["key"])
        pyfunc_model.write(parts, component, blob, data, task)
        versions = record["provenance"]
        requirements = [
            f"{name}=={versions[name].partition('+')[0]}"
            for name in ("spolia", "torch")
            if name in versions
        ]
        pyfunc.save_model(
            model,
            loader_module="orchestrator.tracking.pyfunc_model",
            data_path=str(parts),
            pip_requirements=requirements,
            **form_of(component, task, data),
        )
        return model


def metrics_of_models(
    record: Mapping[str, Any],
    by_labels: Mapping[tuple[tuple[str, str], ...], str],
    data: Mapping[str, DatasetInput],
) -> dict[str, OfModel]:
    """By its name of which model a metric is: the one that was kept by the same labels; and on the
    data of which task it was measured.
    """
    found = {}
    for entry in record["metrics"]:
        model = by_labels.get(tuple(sorted(entry["labels"].items())))
        task = data.get(entry["labels"].get("task", ""))
        if model is not None:
            names = (task.dataset.name, task.dataset.digest) if task else (None, None)
            found[metric_name(entry)] = OfModel(model, *names)
    return found


def form_of(component: ComponentRecord, task: Task, data: DataRecord) -> dict[str, Any]:
    """What a network takes and gives, as MLflow notes it; nothing of what takes something else than
    images.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from orchestrator.parts.network import Network
    from orchestrator.spec.classes import class_at

    # What requires another component takes images as soon as it is joined with that.
    if not component.pins:
        try:
            class_at(component.path, Network)
        except SpoliaError:
            return {}
    shape = task.image(data)
    given = (-1, len(task.class_names), *(shape[1:] if task.each_pixel else ()))
    pixels = Schema([TensorSpec(np.dtype("uint8"), (-1, *shape))])
    signature = ModelSignature(pixels, Schema([TensorSpec(np.dtype("float32"), given)]))
    if np.prod(shape) > EXAMPLE:
        return {"signature": signature}
    return {"signature": signature, "input_example": np.full((1, *shape), 127, np.uint8)}
