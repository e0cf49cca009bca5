"""The arithmetic of a trial is the key's, whatever else the process has set."""

from __future__ import annotations

import os

import pytest
import torch
from sample_methods import Looped
from torch.nn import functional as F

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import MethodError, Store, Trial, digits, resolve, sgd
from orchestrator.executors.handshake import problem_with_gpu
from orchestrator.testing import fingerprint
from orchestrator.training import arithmetic as module
from orchestrator.training.arithmetic import CUBLAS, arithmetic
from orchestrator.training.execute import execute
from orchestrator.training.kernels import without_faulty_kernels
from orchestrator.training.local import local_run

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
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
    with arithmetic(1, numerics, CPU):
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
    with arithmetic(1, "fp32", CPU):
        by_both()
        short_cuts_on_the_cpu()
    assert precisions() == before


# ---------------------------------------------------------------------- the same bits on a GPU


@pytest.fixture
def _fresh(monkeypatch):
    """As in a process in which cuBLAS has not begun."""
    module._cublas_repeats.cache_clear()
    monkeypatch.delenv(CUBLAS, raising=False)
    yield
    module._cublas_repeats.cache_clear()


def repeats():
    """Torch's mode (2: what repeats, or an error), and cuBLAS's workspaces."""
    return torch.get_deterministic_debug_mode(), os.environ.get(CUBLAS)


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    ("numerics", "device", "inside"),
    [
        ("fp32", CUDA, (2, ":4096:8")),
        ("fp32", torch.device("cuda:1"), (2, ":4096:8")),
        ("tf32", CUDA, (0, None)),
        ("bf16", CUDA, (0, None)),
        ("fp32", CPU, (0, None)),
    ],
)
def test_fp32_takes_kernels_on_a_gpu_that_repeat(numerics, device, inside):
    filling = torch.utils.deterministic.fill_uninitialized_memory
    with arithmetic(1, numerics, device):
        assert repeats() == inside
        assert torch.utils.deterministic.fill_uninitialized_memory == (inside[0] == 0)
    assert repeats() == (0, None)
    assert torch.utils.deterministic.fill_uninitialized_memory == filling


@pytest.mark.usefixtures("_fresh")
def test_what_somebody_set_for_cublas_is_left_where_it_repeats(monkeypatch):
    for variable, inside in ((":16:8", ":16:8"), (":0:0", ":4096:8")):
        monkeypatch.setenv(CUBLAS, variable)
        with arithmetic(1, "fp32", CUDA):
            assert os.environ[CUBLAS] == inside
        assert os.environ[CUBLAS] == variable


@pytest.mark.usefixtures("_fresh")
def test_where_cublas_began_before_torch_only_warns(monkeypatch):
    """It would refuse all products of matrices: in a notebook that has used its GPU."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    for _ in range(2):
        with arithmetic(1, "fp32", CUDA):
            assert repeats() == (1, ":4096:8")


@pytest.mark.usefixtures("_fresh")
def test_where_cublas_began_under_a_trial_the_next_trial_is_strict_too(monkeypatch):
    with arithmetic(1, "fp32", CUDA):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with arithmetic(1, "fp32", CUDA):
        assert repeats()[0] == 2


@pytest.mark.usefixtures("_fresh")
def test_an_operation_that_does_not_repeat_is_named_with_the_way_out():
    refused = "put_: this operation gives other bits each time on a GPU.*numerics tf32"
    x = torch.zeros(3)
    with pytest.raises(MethodError, match=refused), arithmetic(1, "fp32", CUDA):
        x.put_(torch.tensor([0, 0]), torch.ones(2))  # torch refuses it on a CPU, too
    with pytest.raises(RuntimeError, match="another"), arithmetic(1, "fp32", CUDA):
        raise RuntimeError("another")
    assert repeats() == (0, None)


@pytest.mark.usefixtures("_fresh")
def test_a_node_is_tried_as_a_trial_computes(monkeypatch):
    """What cuBLAS reads when it begins stays for the life of the process."""
    seen = []

    def ones(*shape, device):
        seen.append(repeats())
        return torch.zeros(shape)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    assert problem_with_gpu() == ""
    assert seen == [(2, ":4096:8")] * 2


def test_drawing_a_network_puts_the_generator_of_the_gpu_back(store, monkeypatch):
    forked = []
    real = torch.random.fork_rng

    def fork(devices):
        forked.append(list(map(str, devices)))
        return real([])

    trial = Trial(method=FineTune(), network=resnet8(width=4), tasks=(digits,), seed=0)
    run = local_run(trial, store=store.address)
    monkeypatch.setattr(torch.random, "fork_rng", fork)
    for device in (CPU, CUDA):
        run.device = device
        run.network("net")
    assert forked == [[], ["cuda"]]


# ---------------------------------------------------------------------- faulty kernels


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
