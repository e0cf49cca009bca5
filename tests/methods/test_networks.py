"""Every network at every split point: extractor and head are the network, exactly."""

from __future__ import annotations

import pytest
import torch
from repeatable import Unrepeatable
from torch.utils._python_dispatch import TorchDispatchMode

from methods.compatible_features.auxiliary_heads import PooledHead
from methods.networks import (
    projected,
    resnet8,
    resnet20,
    resnet56,
    small_fcn,
    small_mobilenet,
    small_vgg,
    torchvision_network,
)
from methods.networks.pooling import AveragedTo
from methods.pieces import losses
from methods.pieces.cost import network_cost, output_and_cost
from methods.pieces.losses import cross_entropy, masked_cross_entropy
from orchestrator import IGNORED, CorruptError, InputError, MethodError, Network, Part, Piece
from orchestrator.parts.component import rebuild, state_bytes, state_digest
from orchestrator.spec.classes import class_at

NETWORKS = {
    "resnet8": resnet8(),
    "resnet20": resnet20(width=4),
    "resnet56": resnet56(width=4),
    "small_vgg": small_vgg(),
    "small_mobilenet": small_mobilenet(width=4),
    "projected": projected(resnet20(width=4), behind="stage2.block2"),
    "projected_vgg": projected(small_vgg(), behind="stage2", features=8, size=2),
}


def build(name, *, channels=3, classes=7):
    torch.manual_seed(0)
    return class_at(NETWORKS[name].path, Network)(
        **dict(NETWORKS[name].settings), channels=channels, classes=classes
    ).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_extractor_and_head_compose_to_the_network(name):
    """At every split point; of the 27 blocks of the ResNet-56, at every fourth."""
    net, x = build(name), torch.randn(2, 3, 8, 8)
    splits = NETWORKS[name].splits
    for split in splits[:: 4 if len(splits) > 20 else 1]:
        extractor, head = net.cut(split)
        with torch.no_grad():
            features = extractor(x)
            assert torch.equal(head(features), net(x)), split
        assert net.shape(split, (3, 8, 8)) == tuple(features.shape[1:]), split
        names = {id(p) for p in extractor.parameters()} | {id(p) for p in head.parameters()}
        assert names == {id(p) for p in net.parameters()}, split


class Odd(torch.nn.Module):
    """Sums and activations whose results are not like their first argument."""

    def forward(self, x):
        mask, narrow = torch.relu(x) > 0, torch.ones(1, 3, 1, 1, device=x.device)
        x = narrow + torch.add(narrow, other=x)
        squeezed = torch.relu(x)
        squeezed.unsqueeze_(0)  # its own, not x
        x = torch.sigmoid(x, out=torch.empty(0, device=x.device))
        x = torch.relu(x[:, :, ::2, ::2]).view(1, 3, -1).reshape(1, 3, 4, 4)
        return torch.nn.functional.conv2d(
            mask[:, :, ::2, ::2] + x, torch.ones_like(x[:, :, :1, :1])
        )


class Oddly(Network):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        last = torch.nn.Linear(16, classes)
        self.set_stages({"odd": Odd(), "pool": torch.nn.Flatten(), "last": last})


def test_shapes_are_those_of_the_real_computation_whatever_is_summed():
    net = Oddly(channels=3, classes=2)
    with torch.no_grad():
        real = net.extractor("odd")(torch.rand(1, 3, 8, 8))
    assert net.shape("odd", (3, 8, 8)) == tuple(real.shape[1:]) == (1, 4, 4)


class Computed(TorchDispatchMode):
    """What torch works out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["resnet8", "small_mobilenet"])
def test_shapes_are_found_without_what_would_import_torchs_compiler(name):
    net = build(name)
    with Computed() as computed:
        net.shape(net.splits[-1], (3, 8, 8))
    assert "convolution" in computed.names
    assert not computed.names & {"relu", "relu_", "hardtanh", "add", "native_batch_norm"}


def test_shapes_and_costs_are_found_without_batch_norm(monkeypatch):
    """On the device where nothing is computed it takes longer than all else, and keeps a shape."""
    net = build("resnet8")
    cost = network_cost(net, (3, 8, 8))
    with monkeypatch.context() as patched:
        patched.setattr("torch.batch_norm", None)
        assert net.shape("stage3", (3, 8, 8)) == (64, 2, 2)
        assert network_cost(net, (3, 8, 8)) == cost
        with torch.device("meta"):
            probe = build("resnet8")
        output_and_cost(probe, torch.empty(1, 3, 8, 8, device="meta"))
    assert not [m for m in [*net.modules(), *probe.modules()] if "forward" in vars(m)]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_spec_lists_the_split_points_of_its_network(name):
    assert NETWORKS[name].splits == build(name).splits


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_take_grey_digits(name):
    assert build(name, channels=1)(torch.randn(2, 1, 8, 8)).shape == (2, 7)


def test_a_split_point_the_network_lacks_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"no split point 'stage4'. Did you mean 'stage[123]'\?"):
        build("resnet8").cut("stage4")
    with pytest.raises(InputError, match="no split point 'classifier'"):
        build("resnet8").head("classifier")


def test_a_spec_says_where_its_network_cannot_be_cut():
    spec = NETWORKS["resnet8"]
    assert spec.cannot_cut("stem", "pool") == []
    (told,) = spec.cannot_cut("pool", "stage4")
    assert told.startswith("resnet8 has no split point 'stage4'. Did you mean 'stage")


def test_the_networks_have_their_papers_sizes():
    sizes = {
        name: sum(p.numel() for p in build(name, classes=10).parameters())
        for name in ("resnet8", "small_vgg")
    }
    assert sizes == {"resnet8": 78042, "small_vgg": 72730}
    full = class_at("methods.networks.resnet:ResNet", Network)
    # He et al. 2016, table 6: 0.27 M and 0.85 M; ours have projections in two shortcuts.
    assert round(sum(p.numel() for p in full(blocks=3).parameters()) / 1e6, 2) == 0.27
    assert round(sum(p.numel() for p in full(blocks=9).parameters()) / 1e6, 2) == 0.86


@pytest.mark.parametrize(
    "part",
    [
        build("resnet8"),
        build("small_vgg").head("stage2"),
        PooledHead(channels=3, classes=2, hidden=4),
    ],
    ids=["net", "piece", "head"],
)
def test_a_part_is_rebuilt_from_its_arguments_and_weights(part):
    generator = torch.random.get_rng_state()
    again = rebuild(part.path, part.config, state_bytes(part))
    assert state_digest(again) == state_digest(part)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert not again.training


def test_weights_of_another_shape_are_refused():
    with pytest.raises(CorruptError, match="do not fit"):
        rebuild("methods.networks.resnet:ResNet", {"width": 8}, state_bytes(build("resnet8")))


def test_a_piece_by_itself_holds_only_its_side():
    net = build("resnet8")
    piece = Piece(
        network={"path": net.path, "config": net.config}, split="stage2", side="extractor"
    )
    assert sum(p.numel() for p in piece.parameters()) == sum(
        p.numel() for p in net.extractor("stage2").parameters()
    )


def test_arguments_that_are_no_json_are_refused():
    class Odd(Part):
        def __init__(self, *, thing: object) -> None:
            super().__init__()

    with pytest.raises(MethodError, match="JSON values"):
        Odd(thing=object())


class TestProjected:
    def test_networks_of_other_kinds_get_features_of_one_shape(self):
        shapes = set()
        for spec, behind in (
            (resnet8(), "stage3"),
            (small_vgg(), "stage2"),
            (small_mobilenet(), "stage1"),
            (torchvision_network("resnet18"), "stage3"),
        ):
            made = projected(spec, behind=behind, features=24, size=3)
            net = class_at(made.path, Network)(**dict(made.settings), channels=3, classes=5)
            assert made.splits == net.splits
            shapes.add(net.shape("common", (3, 32, 32)))
        assert shapes == {(24, 3, 3)}

    def test_what_cannot_be_meant_is_told(self):
        with pytest.raises(
            InputError,
            match=r"projected\(resnet8\): there is no split point 'stage4'. Did you mean 'stage",
        ):
            projected(resnet8(), behind="stage4")
        with pytest.raises(InputError, match="features=0 and size=4 leave nothing"):
            projected(resnet8(), behind="stage3", features=0)
        flat = projected(resnet8(), behind="pool")
        with pytest.raises(InputError, match="a projection needs height and width"):
            class_at(flat.path, Network)(**dict(flat.settings), channels=3, classes=5)

    def test_its_key_has_the_settings_of_the_network_that_is_projected(self):
        identities = [
            projected(spec, behind="stage3").identity()
            for spec in (resnet8(), resnet8(width=8), small_vgg())
        ]
        assert len({str(i) for i in identities}) == 3
        assert identities[0] == {
            "network": "projected_resnet8",
            "revision": 2,
            "settings": {"behind": "stage3"},
        }


def test_a_head_by_itself_is_joined_with_the_network_it_was_trained_on():
    net, other = build("resnet8"), build("resnet8", classes=3)
    with torch.no_grad():
        x = torch.randn(2, 3, 16, 16)
        assert torch.equal(
            other.head("stage2").joined(net)(x), other.head("stage2")(net.extractor("stage2")(x))
        )


# ---------------------------------------------------------------------- pooling


def pooled(pooling, x, coming_back):
    x = x.clone().requires_grad_()
    y = pooling(x)
    (gradient,) = torch.autograd.grad(y, x, coming_back[..., : y.shape[-2], : y.shape[-1]])
    return y.detach(), gradient


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("image", "size"), [((8, 8), 4), ((7, 9), (4, 2)), ((2, 2), 7), ((6, 6), 3), ((5, 5), 1)]
)
def test_pooling_is_torchs_adaptive_pooling(image, size, layout):
    x = torch.randn(3, 5, *image).contiguous(memory_format=layout)
    back = torch.randn(3, 5, 7, 7)
    ours, theirs = (pooled(one(size), x, back) for one in (AveragedTo, torch.nn.AdaptiveAvgPool2d))
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=1e-6)
        if image == (8, 8):  # windows of a power of two: to the bit
            assert torch.equal(mine, other)


def test_an_upsampling_is_undone_by_pooling_to_the_same_bits():
    d = torch.randn(2, 3, 16, 16)
    assert torch.equal(AveragedTo((4, 4))(d), torch.nn.functional.adaptive_avg_pool2d(d, (4, 4)))


# ---------------------------------------------------------------------- the same bits on a GPU

VARIANTS = {"fcn": small_fcn(width=4), "vgg11": torchvision_network("vgg11")}
VARIANTS |= {name: torchvision_network(name) for name in ("resnet18", "densenet121")}
VARIANTS["mobilenet_v2"] = torchvision_network("mobilenet_v2")
VARIANTS["projected to 3"] = projected(small_vgg(), behind="stage2", size=3)


SLOW = ("resnet56", "densenet121")  # of the layers that the small ones have, more


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(spec, id=spec.label, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, spec in (NETWORKS | VARIANTS).items()
    ],
)
def test_its_gradients_have_kernels_that_repeat(spec):
    with torch.device("meta"), Unrepeatable() as mode:
        net = class_at(spec.path, Network)(**dict(spec.settings), channels=3, classes=5)
        logits = net(torch.empty(2, 3, 64, 64))
        labels = torch.empty(2, *logits.shape[2:], dtype=torch.int64)
        cross_entropy(logits, labels).backward()
    assert mode.found == set()


def test_what_does_not_repeat_is_seen():
    with torch.device("meta"), Unrepeatable() as mode:
        x = torch.empty(2, 3, 8, 8, requires_grad=True)
        y = torch.nn.functional.adaptive_avg_pool2d(x, 4)
        torch.nn.functional.cross_entropy(y, torch.empty(2, 4, 4, dtype=torch.int64)).backward()
    assert mode.found == {"_adaptive_avg_pool2d_backward", "nll_loss2d_forward"}


@pytest.mark.parametrize("shape", [(6,), (6, 4, 4)], ids=["images", "pixels"])
@pytest.mark.parametrize("ours", [cross_entropy, masked_cross_entropy])
def test_losses_are_torchs_by_the_way_of_a_gpu_too(shape, ours, monkeypatch):
    logits, labels = torch.randn(6, 3, *shape[1:]), torch.randint(3, shape)
    labels[:2] = IGNORED
    expected = torch.nn.functional.cross_entropy(logits, labels)
    if ours is cross_entropy:
        assert torch.equal(ours(logits, labels), expected)
    assert float(ours(logits, labels)) == pytest.approx(float(expected))
    monkeypatch.setattr(losses, "_is_summed_in_any_order", lambda logits: logits.ndim > 2)
    assert float(ours(logits, labels)) == pytest.approx(float(expected))
