"""One key, one thing: what a name stands for is one class, in a plan and in what a store holds."""

from __future__ import annotations

import importlib
import sys

import pytest
from sample_methods import Count
from twins import Count as OtherCount

from methods.networks import projected, resnet8
from orchestrator import Method, PlanError, Sweep, Trial, axis, digits, make_plan, product, union
from orchestrator.parts.network import network_spec
from orchestrator.spec.trial import NetworkSpec
from orchestrator.store.store import record_digest
from orchestrator.training.execute import execute

NETWORK = """
from torch import nn
from orchestrator import Network
class SmallNet(Network):
{more}
    def __init__(self, *, channels=1, classes=2):
        super().__init__()
        self.set_stages({{
            "stem": nn.Sequential(nn.Conv2d(channels, 4, 3), nn.{activation}()),
            "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "classifier": nn.Linear(4, classes),
        }})
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """`lab("lab_a", "ReLU")`: the module of that name, with a network `SmallNet`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def write(name, activation="ReLU", more="    pass"):
        (tmp_path / f"{name}.py").write_text(NETWORK.format(activation=activation, more=more))
        importlib.invalidate_caches()
        made.append(name)
        return importlib.import_module(name)

    yield write
    for name in made:
        sys.modules.pop(name, None)


class OfNetwork(Method):
    """Has a network, and may have another among its settings; trains nothing."""

    name = "of_network"
    uses = frozenset({"network", "seed"})

    other: NetworkSpec | None = axis(None)
    inner: Method | None = axis(None)

    def train(self, run):
        pass


def planned(store, *cells):
    return make_plan("asked", Sweep(question="?", cells=union(*cells), expect=len(cells)), store)


def of_network(network, **settings):
    return product(OfNetwork.grid(**settings), network=network, seed=0)


def test_two_networks_of_one_name_in_a_sweep_are_refused_by_their_files(store, lab, tmp_path):
    nets = [network_spec(lab(name).SmallNet) for name in ("lab_a", "lab_b")]
    assert Trial(method=OfNetwork(), network=nets[0], seed=0).key == (
        Trial(method=OfNetwork(), network=nets[1], seed=0).key
    )
    with pytest.raises(PlanError, match="two networks are called 'SmallNet'") as caught:
        planned(store, *map(of_network, nets))
    for name in ("lab_a", "lab_b"):
        assert f"{name}:SmallNet ({tmp_path / name}.py)" in str(caught.value)


def test_so_are_networks_among_settings_and_inside_other_networks(store, lab):
    nets = [network_spec(lab(name).SmallNet) for name in ("lab_a", "lab_b")]
    with pytest.raises(PlanError, match="two networks are called 'SmallNet'"):
        planned(store, of_network(nets[0]), of_network(resnet8(), other=nets[1]))
    inside = [projected(net, behind="stem") for net in nets]
    with pytest.raises(PlanError, match="two networks are called 'projected_SmallNet'"):
        planned(store, *map(of_network, inside))


def test_two_methods_of_one_name_are_refused_also_among_settings(store):
    with pytest.raises(PlanError, match=r"two methods are called 'count'.*sample_methods:Count"):
        planned(store, product(Count.grid(), seed=0), product(OtherCount.grid(), seed=0))
    with pytest.raises(PlanError, match=r"two methods are called 'count'.*twins:Count"):
        planned(store, product(Count.grid(), seed=0), of_network(resnet8(), inner=OtherCount()))


def test_a_method_with_the_name_of_a_registered_one_is_refused(store):
    class Mine(Method):
        name = "fine_tune"
        uses = frozenset({"seed"})

        def train(self, run):
            pass

    Mine.__qualname__ = "Mine"
    sys.modules[__name__].Mine = Mine
    with pytest.raises(PlanError, match=r"called 'fine_tune'.*methods.fine_tune:FineTune \(.*Mine"):
        planned(store, product(Mine.grid(), seed=0))


def test_a_result_of_another_network_of_the_name_is_no_hit(store, lab):
    cells = of_network(network_spec(lab("lab_a").SmallNet))
    execute(planned(store, cells).todo[0], store)
    assert planned(store, cells).is_complete
    with pytest.raises(
        PlanError, match=r"made with lab_a:SmallNet.*means lab_b:SmallNet.*moved_from"
    ):
        planned(store, of_network(network_spec(lab("lab_b").SmallNet)))


@pytest.mark.parametrize("where", ["other", "inner"])
def test_nor_is_one_of_another_class_among_the_settings(store, lab, where):
    if where == "other":
        ours, theirs = (network_spec(lab(name).SmallNet) for name in ("lab_a", "lab_b"))
    else:
        ours, theirs = Count(number=2), OtherCount()
        object.__setattr__(theirs, "settings", dict)  # equal identities, whatever the settings
    cells = of_network(resnet8(), **{where: ours})
    (trial,) = planned(store, cells).todo
    execute(trial, store)
    record = store.find(trial.key)
    other = {**record["trial"]["method"]["settings"][where]}
    outdated = record_digest(record)
    other["path"] = theirs.path
    record["trial"]["method"]["settings"][where] = other
    assert store.commit(record, replaces=outdated)
    with pytest.raises(
        PlanError, match=rf"made with {theirs.path}, here the name means {ours.path}"
    ):
        planned(store, cells)


def test_a_network_that_says_where_it_moved_from_finds_its_results(store, lab):
    before = of_network(network_spec(lab("lab_a").SmallNet))
    execute(planned(store, before).todo[0], store)
    moved = lab("lab_c", more='    moved_from = ("lab_a:SmallNet",)').SmallNet
    assert planned(store, of_network(network_spec(moved))).is_complete
    inside = [
        projected(network_spec(net), behind="stem") for net in (sys.modules["lab_a"].SmallNet,)
    ]
    execute(planned(store, *map(of_network, inside)).todo[0], store)
    assert planned(store, of_network(projected(network_spec(moved), behind="stem"))).is_complete


def test_so_does_a_method_but_not_what_is_derived_from_it(store, monkeypatch):
    execute(planned(store, product(Count.grid(), seed=0)).todo[0], store)
    moved = product(OtherCount.grid(), seed=0)
    with pytest.raises(PlanError, match=r"made with sample_methods:Count.*means twins:Count"):
        planned(store, moved)
    monkeypatch.setattr(OtherCount, "moved_from", ("sample_methods:Count",))
    assert planned(store, moved).is_complete


def test_moved_from_is_checked_when_a_method_is_defined():
    with pytest.raises(TypeError, match="moved_from 'old:Thing' is not a tuple of paths"):
        type("Odd", (OfNetwork,), {"name": "odd", "moved_from": "old:Thing"})


@pytest.mark.parametrize("module", ["__main__", "_sweep_asked"])
def test_classes_of_a_notebook_or_of_the_sweep_file_are_refused(store, lab, module):
    net = lab("lab_a").SmallNet
    net.__module__ = module
    for cells in (
        of_network(network_spec(net)),
        of_network(resnet8(), other=network_spec(net)),
        of_network(
            projected(network_spec(resnet8_class()), behind="stem"), other=network_spec(net)
        ),
    ):
        with pytest.raises(PlanError, match=r"SmallNet .*is defined in .*module beside the sweep"):
            planned(store, cells)


def resnet8_class():
    from methods.networks.resnet import ResNet

    return ResNet


def test_a_method_of_a_notebook_is_refused(store, monkeypatch):
    monkeypatch.setattr(OtherCount, "__module__", "__main__")
    with pytest.raises(PlanError, match=r"notebook or a script.*module beside the sweep"):
        planned(store, product(OtherCount.grid(), seed=0))


def test_colours_beside_grey_are_refused_where_one_network_sees_both(store, tmp_path):
    from methods.fine_tune import FineTune

    grey, colour = digits.named("grey"), digits.rgb().named("colour")
    with pytest.raises(PlanError, match=r"images of grey are grey, those of colour.*\.rgb\(\)"):
        planned(store, product(FineTune.grid(), network=resnet8(), tasks=(colour, grey), seed=0))
    with pytest.raises(PlanError, match=r"images of grey are grey, those of colour.*\.rgb\(\)"):
        planned(store, product(FineTune.grid(), network=resnet8(), tasks=(grey, colour), seed=0))
    same = (colour, grey.rgb())
    planned(store, product(FineTune.grid(), network=resnet8(), tasks=same, seed=0))
