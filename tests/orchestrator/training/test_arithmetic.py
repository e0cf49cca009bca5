"""The arithmetic of a trial is the key's, whatever else the process has set."""

from __future__ import annotations

import pytest
import torch
from sample_methods import Looped
from torch.nn import functional as F

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import Store, Trial, digits, resolve, sgd
from orchestrator.testing import fingerprint
from orchestrator.training.arithmetic import arithmetic
from orchestrator.training.execute import execute
from orchestrator.training.kernels import without_faulty_kernels
from orchestrator.training.local import local_run

BACKENDS = {
    "matmul": torch.backends.cuda.matmul,
    "conv": torch.backends.cudnn.conv,
    "rnn": torch.backends.cudnn.rnn,
    "cpu matmul": torch.backends.mkldnn.matmul,
    "cpu conv": torch.backends.mkldnn.conv,
    "cpu rnn": torch.backends.mkldnn.rnn,
}
ON_GPU, ON_CPU = ("matmul", "conv", "rnn"), ("cpu matmul", "cpu conv", "cpu rnn")


def precisions():
    return {name: backend.fp32_precision for name, backend in BACKENDS.items()}


def by_the_older_way():
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = False


def by_the_newer_way():
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "ieee"


def by_both():
    by_the_older_way()
    by_the_newer_way()
    torch.set_float32_matmul_precision("high")
    torch.backends.cuda.matmul.fp32_precision = "ieee"


def short_cuts_on_the_cpu():
    torch.set_float32_matmul_precision("medium")
    torch.backends.mkldnn.conv.fp32_precision = "bf16"


def everything_by_default():
    torch.backends.fp32_precision = "tf32"


WAYS = [
    by_the_older_way,
    by_the_newer_way,
    by_both,
    short_cuts_on_the_cpu,
    everything_by_default,
]


@pytest.fixture(autouse=True)
def _as_it_was():
    """Torch's settings are the process's: other tests find them as they were."""
    before, everywhere = precisions(), torch.backends.fp32_precision
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.fp32_precision = everywhere
    for name, precision in before.items():
        BACKENDS[name].fp32_precision = precision


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("numerics", "on_gpu"), [("fp32", "ieee"), ("tf32", "tf32")])
def test_it_is_the_keys_inside_and_as_before_outside(way, numerics, on_gpu):
    way()
    before = precisions(), torch.get_num_threads()
    with arithmetic(1, numerics):
        inside = precisions()
    assert {inside[name] for name in ON_GPU} == {on_gpu}
    assert {inside[name] for name in ON_CPU} == {"ieee"}
    assert (precisions(), torch.get_num_threads()) == before


@pytest.mark.parametrize("way", WAYS)
def test_a_trial_leaves_the_same_bits_on_a_worker_where_somebody_set_it(way, store, tmp_path):
    other = Store(tmp_path / "other")
    other.prepare()
    tasks = (digits.classes(0, 1, 2).images(limit=90),)
    trial = resolve(Trial(method=Looped(epochs=1), tasks=tasks, seed=0), store)
    assert execute(trial, store).kind == "done"
    way()
    assert execute(trial, other).kind == "done"
    assert fingerprint(other.find(trial.key)) == fingerprint(store.find(trial.key))


def test_what_a_trial_sets_is_not_the_next_ones():
    before = precisions()
    with arithmetic(1, "fp32"):
        by_both()
        short_cuts_on_the_cpu()
    assert precisions() == before


# ---------------------------------------------------------------------- faulty kernels

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capability", "layer", "is_on"),
    [
        ("AVX2", torch.nn.Conv2d(4, 8, 1, stride=2), False),
        ("AVX2", torch.nn.Conv2d(8, 8, 1, stride=2), True),
        ("AVX512", torch.nn.Conv2d(8, 8, 1, stride=2), False),
        ("AVX512", torch.nn.Conv2d(16, 8, 1, stride=2), True),
        ("AVX2", torch.nn.Conv2d(4, 8, 1), True),
        ("AVX2", torch.nn.Conv2d(4, 8, 3, stride=2), True),
    ],
    ids=["narrow", "wide", "narrow for longer vectors", "wider", "not strided", "of size 3"],
)
def test_onednn_is_off_for_what_it_computes_wrongly(monkeypatch, capability, layer, is_on):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with without_faulty_kernels([torch.nn.Sequential(layer)], CPU):
        assert torch.backends.mkldnn.enabled == is_on
    assert torch.backends.mkldnn.enabled


def test_a_fit_keeps_off_them(store):
    """A ResNet that is 4 wide has them, and corrupted memory."""
    seen = []

    def watch():
        seen.append(torch.backends.mkldnn.enabled)
        return {}

    task = digits.classes(0, 1).images(limit=20)
    trial = Trial(method=FineTune(), network=resnet8(width=4), tasks=(task,), seed=0)
    run = local_run(trial, store=store.address)
    run.fit(
        "train",
        {"net": run.network("net")},
        lambda nets, batch: F.cross_entropy(nets["net"](batch.x), batch.y),
        run.tasks[0].train,
        optimizer=sgd(0.1),
        epochs=1,
        watch=watch,
    )
    assert set(seen) == {False}
    assert torch.backends.mkldnn.enabled
