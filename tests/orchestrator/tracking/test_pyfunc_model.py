"""A network as MLflow loads it prepares images as its training did."""

from __future__ import annotations

import numpy as np
import torch

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Trial, digits, in_order, pasted, resolve
from orchestrator.parts.component import ComponentRecord, state_bytes
from orchestrator.tracking import pyfunc_model
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
    pyfunc_model.write(tmp_path, record, state_bytes(net), data, task)
    model = pyfunc_model._load_pyfunc(str(tmp_path))

    x, _ = next(in_order(task.test, torch.device("cpu"), 8))  # normalised like the base's
    by, own = task.normalised_by, task.statistics
    assert by != own
    pixels = (x * by.std[0] + by.mean[0]) * 255
    with torch.no_grad():
        assert np.allclose(model.predict(pixels.numpy()), net(x).numpy(), atol=1e-4)
