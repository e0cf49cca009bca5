"""Every network at every split point: extractor and head are the network, exactly."""

from __future__ import annotations

import pytest
import torch

from methods._auxiliary import PooledHead
from methods.networks import resnet8, resnet20, resnet56, small_vgg
from orchestrator.component import Part, rebuild, state_bytes, state_digest
from orchestrator.errors import CorruptError, InputError, MethodError
from orchestrator.network import Piece
from orchestrator.trial import locate

NETWORKS = {"resnet8": resnet8(), "resnet20": resnet20(width=4), "resnet56": resnet56(width=4), "small_vgg": small_vgg()}
CASES = [(name, split) for name, spec in NETWORKS.items() for split in spec.splits]


def build(name, *, channels=3, classes=7):
    torch.manual_seed(0)
    return locate(NETWORKS[name].path)(**dict(NETWORKS[name].settings), channels=channels, classes=classes).eval()


@pytest.mark.parametrize(("name", "split"), CASES)
def test_extractor_and_head_compose_to_the_network(name, split):
    net, x = build(name), torch.randn(2, 3, 16, 16)
    extractor, head = net.cut(split)
    with torch.no_grad():
        assert torch.equal(head(extractor(x)), net(x))
    assert net.shape(split, (3, 16, 16)) == tuple(extractor(x).shape[1:])
    names = {id(p) for p in extractor.parameters()} | {id(p) for p in head.parameters()}
    assert names == {id(p) for p in net.parameters()}


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


def test_the_networks_have_their_papers_sizes():
    sizes = {name: sum(p.numel() for p in build(name, classes=10).parameters()) for name in ("resnet8", "small_vgg")}
    assert sizes == {"resnet8": 78042, "small_vgg": 72730}
    full = locate("methods.networks.resnet:ResNet")
    # He et al. 2016, table 6: 0.27 M and 0.85 M; ours have projections in two shortcuts.
    assert round(sum(p.numel() for p in full(blocks=3).parameters()) / 1e6, 2) == 0.27
    assert round(sum(p.numel() for p in full(blocks=9).parameters()) / 1e6, 2) == 0.86


@pytest.mark.parametrize(
    "part", [build("resnet8"), build("small_vgg").head("stage2"), PooledHead(channels=3, classes=2, hidden=4)], ids=["net", "piece", "head"]
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
    piece = Piece(network={"path": net.path, "config": net.config}, split="stage2", side="extractor")
    assert sum(p.numel() for p in piece.parameters()) == sum(p.numel() for p in net.extractor("stage2").parameters())


def test_arguments_that_are_no_json_are_refused():
    class Odd(Part):
        def __init__(self, *, thing: object) -> None:
            super().__init__()

    with pytest.raises(MethodError, match="JSON values"):
        Odd(thing=object())
