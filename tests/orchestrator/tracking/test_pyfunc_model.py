"""A network as MLflow loads it prepares images as its training did."""

from __future__ import annotations

import numpy as np
import torch
from sample_methods import Stitched

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Trial, digits, in_order, pasted, resolve
from orchestrator.parts.component import ComponentRecord, state_bytes
from orchestrator.parts.result import Result
from orchestrator.tracking import pyfunc_model
from orchestrator.training.execute import execute
from orchestrator.training.local import local_run


def test_images_are_normalised_by_the_statistics_of_the_base(store, tmp_path):
    base = digits.images(limit=60).named("base")
    other = pasted(digits).images(limit=60).named("other")
    trial = resolve(
        Trial(method=FineTune(), network=resnet8(width=4), tasks=(base, other), seed=0), store
    )
    task = trial.tasks[1]
    net = local_run(trial).network("network", task).eval()
    record = ComponentRecord("network", {"task": "other"}, net.path, net.config, "", {})
    data = store.data(task.data)
    pyfunc_model.write(tmp_path, record, lambda blob: state_bytes(net), data, task)
    model = pyfunc_model._load_pyfunc(str(tmp_path))

    x, _ = next(in_order(task.test, torch.device("cpu"), 8))  # normalised like the base's
    by, own = task.normalised_by, task.statistics
    assert by != own
    pixels = (x * by.std[0] + by.mean[0]) * 255
    with torch.no_grad():
        assert np.allclose(model.predict(pixels.numpy()), net(x).numpy(), atol=1e-4)


def test_a_part_that_requires_networks_is_joined_with_them(store, tmp_path):
    task = digits.classes(0, 1).images(limit=20).named("t")
    trial = resolve(
        Trial(method=Stitched(), network=resnet8(width=4), tasks=(task,), seed=0), store
    )
    for one in [*trial.needs.values(), trial]:
        assert execute(one, store).kind == "done"
    (component,) = Result(store, store.find(trial.key)).every_component()
    data = store.data(component.task.data)
    pyfunc_model.write(tmp_path, component.record, store.blob, data, component.task)
    model = pyfunc_model._load_pyfunc(str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8)).astype(np.uint8)
    x = (torch.from_numpy(pixels).float() / 255 - data.mean[0]) / data.std[0]
    with torch.no_grad():
        assert np.allclose(model.predict(pixels), component.ready()(x).numpy(), atol=1e-5)
