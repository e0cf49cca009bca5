"""A component as a registered model of MLflow's: a file that needs torch and nothing of ours, under
a name and an alias by which others load it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import InputError, StoreError, TrackingError
from orchestrator.parts.result import Component
from orchestrator.tracking.patience import ERRORS, first_line, of_artifacts, settings
from orchestrator.tracking.runs import pages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


class Promoted(NamedTuple):
    """A version of a registered model: `models:/NAME@ALIAS` loads it."""

    name: str
    version: str
    alias: str

    @property
    def address(self) -> str:
        return f"models:/{self.name}@{self.alias}"


def promote(component: Component, tracking: str, name: str, alias: str) -> Promoted:
    """Export a component, register it and give it the alias, which another version loses. Raises
    InputError for what is no network of images, or is not tracked there; TrackingError where MLflow
    does not take it.
    """
    from mlflow import MlflowClient

    if not name.strip() or set(name) & set("/:"):
        raise InputError(f"--as {name!r}: MLflow's names have letters in them, no slash, no colon")
    # Here, since MLflow refuses an alias only when all else is done.
    if not re.fullmatch(r"[\w-]{1,255}", alias) or re.fullmatch(r"latest|v\d+", alias.lower()):
        raise InputError(
            f"--alias {alias!r}: MLflow's aliases have letters, digits, dashes and underscores; "
            "none is called 'latest', nor as a version is, such as 'v1'"
        )
    with settings():
        try:
            return _promote(MlflowClient(tracking), component, name, alias)
        except ERRORS as error:
            if isinstance(error, InputError | StoreError):
                raise
            raise TrackingError(f"MLflow does not take {name!r}: {first_line(error)}") from error


def _promote(client: MlflowClient, component: Component, name: str, alias: str) -> Promoted:
    from mlflow.exceptions import MlflowException

    tracked = _tracked(client, component)
    with tempfile.TemporaryDirectory() as folder:
        saved = _saved(component, Path(folder) / "model")
        made = client.create_logged_model(
            tracked.experiment_id,
            name=f"{tracked.name} (pt2)",
            source_run_id=tracked.source_run_id,
            tags={**tracked.tags, "spolia.component": f"{component.record.title} (pt2)"},
            params=tracked.params,
            model_type="spolia",
        )
        with of_artifacts():
            client.log_model_artifacts(made.model_id, str(saved))
        client.finalize_logged_model(made.model_id, "READY")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name,
        made.artifact_location,
        run_id=tracked.source_run_id,
        model_id=made.model_id,
        description=f"{component.reference}, made by {component.result.trial.label}",
        tags={"spolia.component": component.reference},
    )
    client.set_registered_model_alias(name, alias, version.version)
    return Promoted(name, str(version.version), alias)


def _tracked(client: MlflowClient, component: Component) -> LoggedModel:
    """The component as the model that tracking has made of it."""
    key, store = component.result.key, component.result.store.identity()
    condition = f"tags.`spolia.store` = '{store}' and tags.`spolia.key` = '{key}'"
    wanted = component.record.title, component.record.blob
    for experiment in pages(lambda token: client.search_experiments(page_token=token)):
        for model in _models(client, experiment.experiment_id, condition):
            # A result that was replaced had others of the same title.
            if (model.tags.get("spolia.component"), model.tags.get("spolia.blob")) == wanted:
                return model
    raise InputError(
        f"MLflow does not have {component.record.title} of {key[:12]}: bring it level first, by "
        "`spolia track` with a sweep that has this trial"
    )


def _models(client: MlflowClient, experiment: str, condition: str) -> Iterator[LoggedModel]:
    return pages(
        lambda token: client.search_logged_models([experiment], condition, page_token=token)
    )


def _saved(component: Component, folder: Path) -> Path:
    """The network with all that comes before it, from pixels to logits, in torch's own format."""
    import numpy as np
    from mlflow import pytorch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from orchestrator.parts.export import NOT_OF_IMAGES, not_of_images, of_pixels

    network, shape, classes = of_pixels(component)
    number = np.dtype("float32")
    signature = ModelSignature(
        Schema([TensorSpec(number, (-1, *shape))]),
        Schema([TensorSpec(number, (-1, len(classes)))]),
    )
    versions = component.result.record["provenance"]
    torch = versions.get("torch", "").partition("+")[0]
    try:
        pytorch.save_model(
            network,
            str(folder),
            signature=signature,
            input_example=np.zeros((2, *shape), number),
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch}" if torch else "torch"],
            metadata={"component": component.reference, "classes": list(classes)},
        )
    except NOT_OF_IMAGES as error:
        raise not_of_images(component, shape, error) from error
    return folder
