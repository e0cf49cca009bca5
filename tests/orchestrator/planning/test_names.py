"""One key, one thing: what a name stands for is one class, in a plan and in what a store holds."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace

import pytest
from sample_methods import Count
from twins import Count as OtherCount

from methods.networks import projected, resnet8
from orchestrator import (
    Method,
    MethodError,
    PlanError,
    Sweep,
    SweepError,
    Trial,
    axis,
    digits,
    load_sweep,
    local_run,
    make_plan,
    product,
    union,
)
from orchestrator.parts.network import network_spec
from orchestrator.parts.network_checks import _problems as problems_of_one_network
from orchestrator.spec.naming import class_paths
from orchestrator.spec.settings import settings_default
from orchestrator.spec.trial import NetworkSpec
from orchestrator.store.code import code_in_use, code_of, own_files
from orchestrator.store.store import record_digest
from orchestrator.training.execute import execute, needs_of

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

    def write(name, activation="ReLU", more="    pass", text=None):
        network = text or NETWORK.format(activation=activation, more=more)
        (tmp_path / f"{name}.py").write_text(network)
        importlib.invalidate_caches()
        made.append(name)
        return importlib.import_module(name)

    yield write
    for name in made:
        sys.modules.pop(name, None)


OUTER = """
from orchestrator import ClassPath, Network
from orchestrator.spec.classes import class_at
class Outer(Network):
    def __init__(self, *, of: {kind} = "{default}", note="cat:dog", channels=1, classes=2):
        super().__init__()
        inner = class_at(of, Network)(channels=channels, classes=classes)
        self.set_stages({{name: getattr(inner, name) for name in inner.stage_names}})
"""


class OfNetwork(Method):
    """Has a network, and may have another among its settings; trains nothing."""

    name = "of_network"
    uses = frozenset({"network", "seed"})

    other: NetworkSpec | None = axis(None)
    inner: Method | None = axis(None)
    pair: str = axis("cat:dog", over=("cat:dog", "os:system"))

    def train(self, run):
        pass


def planned(store, *cells):
    grid = union(*cells)
    return make_plan("asked", Sweep(question="?", cells=grid, expect=len(grid)), store)


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


class Needing(Method):
    """Needs whatever its setting says."""

    name = "needing"
    uses = frozenset({"seed"})

    inner: Method | None = axis(None)

    def needs(self, trial):
        return {"inner": trial.replace(method=self.inner)} if self.inner else {}

    def train(self, run):
        pass


def test_a_result_that_came_meanwhile_of_another_class_is_nobodys(store):
    """Two drivers planned while the store was empty."""
    execute(Trial(method=Count(), seed=0), store)
    outcome = execute(Trial(method=OtherCount(), seed=0), store)
    assert outcome.kind == "failed"
    assert "the store's result" in outcome.reason
    assert "here the name means twins:Count" in outcome.reason


def test_a_notebook_is_given_no_need_of_another_class(store):
    execute(Trial(method=Count(), seed=0), store)
    trial = Trial(method=Needing(inner=OtherCount()), seed=0)
    with pytest.raises(MethodError, match="here the name means twins:Count"):
        local_run(trial, store=store.address)
    with pytest.raises(PlanError, match=r"need 'inner' of(.|\n)*here the name means twins:Count"):
        needs_of(trial, store)


def test_needs_of_a_notebooks_classes_stay_out_of_a_store(store, monkeypatch):
    monkeypatch.setattr(OtherCount, "__module__", "__main__")
    trial = Trial(method=Needing(inner=OtherCount()), seed=0)
    with pytest.raises(PlanError, match=r"cannot be kept(.|\n)*module beside the sweep"):
        local_run(trial, store=store.address)
    assert not list(store.finished())


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


@pytest.fixture
def outer(lab):
    """The module of a network `Outer` that is made of another, by default of `lab_a:SmallNet`;
    `lab_b:SmallNet` is there, too.
    """
    lab("lab_a")
    lab("lab_b", "Tanh")
    return lab("lab_outer", text=OUTER.format(kind="ClassPath", default="lab_a:SmallNet"))


def test_a_network_of_one_class_may_be_made_of_several(store, outer):
    inside = [network_spec(outer.Outer), network_spec(outer.Outer, of="lab_b:SmallNet")]
    plan = planned(store, *map(of_network, inside))
    assert len(plan.trials) == 2
    assert [
        set(class_paths(cell.trial)) & {"lab_a:SmallNet", "lab_b:SmallNet"} for cell in plan.cells
    ] == [
        {"lab_a:SmallNet"},
        {"lab_b:SmallNet"},
    ]
    assert all("lab_b" in code_of(cell.trial).modules for cell in plan.cells[1:])


def test_so_may_a_method_whose_inner_method_or_network_is_varied(store):
    cells = of_network(resnet8(), inner=[None, Count(), OfNetwork(other=resnet8())])
    assert len(planned(store, cells).cells) == 3


def test_a_name_whose_default_inner_class_is_another_is_a_clash(store, lab, outer):
    ours = network_spec(outer.Outer)
    text = OUTER.format(kind="ClassPath", default="lab_b:SmallNet")
    theirs = replace(network_spec(lab("lab_other", text=text).Outer), path=ours.path)
    with pytest.raises(PlanError, match=r"'Outer'.*lab_a:SmallNet.*lab_b:SmallNet"):
        planned(store, of_network(ours), of_network(theirs))


def test_a_text_with_a_colon_is_a_text(store, monkeypatch):
    """It is no class that is imported, trusted, refused or compared as one."""
    cells = of_network(resnet8(), pair=["cat:dog", "os:system", "__main__:Net"])
    plan = planned(store, cells)
    for cell in plan.cells:
        assert set(class_paths(cell.trial)) == {"methods.networks.resnet:ResNet", OfNetwork().path}
    execute(plan.cells[0].trial, store)
    changed = settings_default(OfNetwork, "pair").replace("dog", "bird")
    record = store.find(plan.cells[0].trial.key)
    outdated = record_digest(record)
    record["trial"]["method"]["settings"]["pair"] = changed
    assert store.commit(record, replaces=outdated)
    with pytest.raises(
        PlanError,
        match=r"of_network.pair: .* made with 'cat:bird', .* now means 'cat:dog'. A default",
    ):
        planned(store, of_network(resnet8()))


def test_so_is_one_among_the_settings_of_a_network(store, outer):
    spec = network_spec(outer.Outer)
    cells = of_network(spec)
    (trial,) = planned(store, cells).todo
    assert "cat:dog" not in class_paths(trial)
    execute(trial, store)
    record = store.find(trial.key)
    outdated = record_digest(record)
    record["trial"]["network"]["settings"]["note"] = "cat:bird"
    assert store.commit(record, replaces=outdated)
    with pytest.raises(PlanError, match=r"Outer.note: .*'cat:bird'.*A default changed"):
        planned(store, cells)


def test_a_class_that_a_network_loads_without_saying_so_is_told(store, lab):
    lab("lab_a")
    text = OUTER.format(kind="str", default="lab_a:SmallNet")
    quiet = network_spec(lab("lab_quiet", text=text).Outer)
    with pytest.raises(PlanError, match=r"lab_quiet:Outer is made of lab_a:SmallNet.*ClassPath"):
        planned(store, of_network(quiet))
    # Its own module is followed, and so is what that imports.
    text = OUTER.format(kind="str", default="lab_seen:SmallNet")
    both = NETWORK.format(activation="ReLU", more="    pass") + text
    planned(store, of_network(network_spec(lab("lab_seen", text=both).Outer)))


def test_a_network_of_two_sets_of_defaults_is_told(store):
    """They are in no key: one of these has 4 channels, the other 8."""
    ours, theirs = (
        replace(resnet8(width=width), defaults=(("width", width), ("init", "he")))
        for width in (4, 8)
    )
    assert ours.identity() == theirs.identity()
    with pytest.raises(PlanError, match=r"'resnet8' is written with two sets of defaults"):
        planned(store, of_network(ours), of_network(theirs))


# -------------------------------------------------------------- one name of a module, two folders


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`folder("one", "ReLU")`: `my_net:SmallNet` as a sweep in the folder `one` sees it."""
    before = list(sys.path)

    def enter(name, activation="ReLU", more="    pass"):
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        (place / "my_net.py").write_text(NETWORK.format(activation=activation, more=more))
        forget()
        sys.path[:] = [str(place), *before]
        importlib.invalidate_caches()
        return network_spec(importlib.import_module("my_net").SmallNet)

    def forget():
        sys.modules.pop("my_net", None)
        for cache in (code_in_use, own_files, problems_of_one_network):
            cache.cache_clear()

    yield enter
    sys.path[:] = before
    forget()


@pytest.mark.parametrize("where", ["network", "other"])
def test_other_code_under_one_name_in_another_folder_is_another_class(
    store, folder, tmp_path, where
):
    def cells(net):
        return of_network(net) if where == "network" else of_network(resnet8(), other=net)

    (trial,) = planned(store, cells(folder("one"))).todo
    execute(trial, store)
    with pytest.raises(PlanError, match="SmallNet: the store's result") as caught:
        planned(store, cells(folder("two", "Tanh")))
    for name in ("one", "two"):
        assert f"my_net:SmallNet ({tmp_path / name / 'my_net.py'})" in str(caught.value)
    assert "moved_from = ('my_net:SmallNet',)" in str(caught.value)


def test_the_same_code_in_another_folder_is_a_hit(store, folder):
    (trial,) = planned(store, of_network(folder("one"))).todo
    execute(trial, store)
    plan = planned(store, of_network(folder("two")))
    assert plan.is_complete
    assert not plan.stale


def test_other_code_in_the_same_folder_or_of_a_class_that_says_so_is_stale(store, folder):
    (trial,) = planned(store, of_network(folder("one"))).todo
    execute(trial, store)
    for name, more in (("one", "    pass"), ("two", '    moved_from = ("my_net:SmallNet",)')):
        plan = planned(store, of_network(folder(name, "Tanh", more)))
        assert list(plan.stale.values()) == ["made with other code: my_net"]


@pytest.mark.parametrize("is_imported", [True, False])
def test_a_sweep_gets_the_module_beside_it_or_an_error(tmp_path, monkeypatch, is_imported):
    """Not the one of that name beside another sweep, which was read before in this process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    question = "from orchestrator import Sweep, product\nfrom methods.fine_tune import FineTune\n"
    files = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "numbers_of_lab.py").write_text(f"NAME = {name!r}\n")
        files.append(folder / "asked.py")
        files[-1].write_text(
            f"{question}from numbers_of_lab import NAME\n"
            "sweep = Sweep(question=NAME, cells=product(FineTune.grid()), expect=1)\n"
        )
    if not is_imported:
        files[0].write_text(
            files[0].read_text().replace("from numbers_of_lab import", "NAME = 'mine' #")
        )
    try:
        load_sweep(files[0])
        if is_imported:
            with pytest.raises(SweepError, match=r"one/numbers_of_lab.py was imported under that"):
                load_sweep(files[1])
            assert load_sweep(files[0])[1].question == "one"
        else:
            assert load_sweep(files[1])[1].question == "two"
    finally:
        sys.modules.pop("numbers_of_lab", None)


def test_so_do_the_modules_that_it_imports(tmp_path, monkeypatch):
    """The network beside a sweep imports a module of its folder, not the other sweep's."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    files = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "blocks_of_lab.py").write_text(f"NAME = {name!r}\n")
        (folder / f"net_{name}.py").write_text("from blocks_of_lab import NAME\n")
        files.append(folder / "asked.py")
        files[-1].write_text(
            "from orchestrator import Sweep, product\nfrom methods.fine_tune import FineTune\n"
            f"from net_{name} import NAME\n"
            "sweep = Sweep(question=NAME, cells=product(FineTune.grid()), expect=1)\n"
        )
    try:
        load_sweep(files[0])
        with pytest.raises(SweepError, match=r"one/blocks_of_lab.py was imported under that"):
            load_sweep(files[1])
    finally:
        for name in ("blocks_of_lab", "net_one", "net_two"):
            sys.modules.pop(name, None)
