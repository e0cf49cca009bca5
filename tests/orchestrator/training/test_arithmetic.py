"""The arithmetic of a trial is the key's, whatever else the process has set."""

from __future__ import annotations

import copy
import os
import pickle

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


@pytest.mark.usefixtures("_fresh")
def test_a_gpu_that_others_fill_is_not_broken_for_those_who_share_it(monkeypatch):
    def ones(*shape, device):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    assert problem_with_gpu(0.25) == ""
    assert problem_with_gpu(1.0).startswith("its GPU cannot compute: CUDA out of memory")


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


def narrow(stride=2, **options):
    return torch.nn.Conv2d(4, 8, 1, stride=stride, **options).to(memory_format=torch.channels_last)


def images(size=(8, 8)):
    x = torch.randn(2, 4, *size).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_()


@pytest.fixture
def strides(monkeypatch):
    """The strides with which torch was asked to convolve."""
    seen, convolve = [], F.conv2d

    def noted(x, weight, bias, stride, *others):
        seen.append(tuple(stride))
        return convolve(x, weight, bias, stride, *others)

    monkeypatch.setattr(F, "conv2d", noted)
    return seen


@pytest.mark.parametrize(
    ("capability", "layer", "stride"),
    [
        ("AVX2", torch.nn.Conv2d(4, 8, 1, stride=2), 1),
        ("AVX2", torch.nn.Conv2d(8, 8, 1, stride=2), 2),
        ("AVX512", torch.nn.Conv2d(8, 8, 1, stride=2), 1),
        ("AVX512", torch.nn.Conv2d(16, 8, 1, stride=2), 2),
        ("AVX2", torch.nn.Conv2d(4, 8, 1, stride=2, padding=1), 2),
        ("AVX2", torch.nn.Conv2d(4, 8, 1, stride=2, padding="valid"), 1),
        ("AVX2", torch.nn.Conv2d(4, 8, 3, stride=2), 2),
    ],
    ids=[
        "narrow",
        "wide",
        "narrow for longer vectors",
        "wider",
        "padded",
        "not padded by name",
        "of size 3",
    ],
)
def test_what_onednn_computes_wrongly_is_computed_without_a_stride(
    monkeypatch, strides, capability, layer, stride
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with without_faulty_kernels([torch.nn.Sequential(layer)], CPU):
        layer(torch.zeros(1, layer.in_channels, 8, 8))
    layer(torch.zeros(1, layer.in_channels, 8, 8))
    assert strides == [(stride, stride), (2, 2)]


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 2)])
@pytest.mark.parametrize("stride", [2, (1, 3), (3, 2)])
def test_it_is_the_same_convolution(stride, size):
    layer, x = narrow(stride), images(size)
    exact, exact_x = copy.deepcopy(layer).double(), x.detach().double().requires_grad_()
    with without_faulty_kernels([layer], CPU):
        result = layer(x)
    expected = exact(exact_x)  # doubles are no affair of oneDNN's
    weighting = torch.randn_like(result)
    found = torch.autograd.grad(result, [x, *layer.parameters()], weighting)
    wanted = torch.autograd.grad(expected, [exact_x, *exact.parameters()], weighting.double())
    for ours, theirs in zip((result, *found), (expected, *wanted), strict=True):
        assert torch.allclose(ours.double(), theirs, atol=1e-5)
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_subclasses_of_the_layer_compute_as_they_do(strides):
    class Doubled(torch.nn.Conv2d):
        def forward(self, x):
            return F.conv2d(x, 2 * self.weight, None, self.stride)

    layer, x = Doubled(4, 8, 1, stride=2), images()
    with without_faulty_kernels([layer], CPU):
        result = layer(x)
        assert layer.stride == (2, 2)
    assert torch.allclose(result, layer(x), atol=1e-5)
    assert strides == [(1, 1), (2, 2)]


def test_many_networks_in_one_call_keep_off_them():
    layers, x = [narrow(bias=False), narrow(bias=False)], images()

    def call(weight):
        return torch.func.functional_call(layers[0], {"weight": weight}, (x,))

    with without_faulty_kernels(layers, CPU):
        both = torch.vmap(call)(torch.stack([layer.weight for layer in layers]))
    assert torch.allclose(both, torch.stack([layer(x) for layer in layers]), atol=1e-5)


def test_copies_that_are_made_meanwhile_are_networks_of_their_own(strides):
    net, x = torch.nn.Sequential(narrow()), images()
    with without_faulty_kernels([net, net], CPU):  # named twice, changed once
        copied, pickled = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    assert "forward" not in vars(net[0])
    expected = net(x)
    with torch.no_grad():
        net[0].weight.zero_()
    for other in (copied, pickled):
        with without_faulty_kernels([other], CPU):
            assert torch.allclose(other(x), expected, atol=1e-5)
        assert torch.allclose(other(x), expected, atol=1e-5)
    assert strides == [(2, 2)] + 4 * [(1, 1)]


def by_fit(run, net):
    run.fit(
        "train",
        {"net": net},
        lambda nets, batch: F.cross_entropy(nets["net"](batch.x), batch.y),
        run.tasks[0].train,
        optimizer=sgd(0.1),
        epochs=1,
    )


def by_a_loop_of_its_own(run, net):
    for _ in run.epochs("train", 1, net=net):
        for batch in run.batches(run.tasks[0].train):
            F.cross_entropy(net(batch.x), batch.y).backward()


@pytest.mark.parametrize("train", [by_fit, by_a_loop_of_its_own])
def test_training_keeps_off_them(store, monkeypatch, strides, train):
    """A ResNet that is 4 wide has one, and corrupted memory."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    task = digits.classes(0, 1).images(limit=20)
    trial = Trial(method=FineTune(), network=resnet8(width=4), tasks=(task,), seed=0)
    run = local_run(trial, store=store.address)
    net = run.network("net")
    del strides[:]
    train(run, net)
    step = [*strides]
    del strides[:]
    net(torch.zeros(1, 1, 8, 8))
    assert (strides.count((2, 2)), step.count((2, 2))) == (4, 3)
