"""Results and components by reference, and how they show themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods.compatible_features import CompatibleFeatures
from methods.networks import small_vgg
from orchestrator import (
    Component,
    InputError,
    MethodError,
    Result,
    Session,
    Store,
    StoreError,
    Trial,
    digits,
    resolve,
)
from orchestrator.parts.matrix import make_matrix
from orchestrator.training.execute import execute

TASKS = tuple(
    digits.classes(0, 1, last).images(limit=30).named(name) for last, name in ((2, "a"), (3, "b"))
)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("home") / "store")
    store.prepare()
    method = CompatibleFeatures(epochs=1, lr=0.01, ingredients=("common",))
    trial = resolve(Trial(method=method, network=small_vgg(width=4), tasks=TASKS, seed=0), store)
    assert execute(trial, store, raise_errors=True).is_result
    return Result.open(trial.key, store)


def test_every_component_is_opened_by_its_reference(result):
    for component in result.every_component():
        opened = Component.open(component.reference, result.store)
        assert (opened.result.key, opened.record) == (result.key, component.record)


@pytest.mark.parametrize(("named", "labels"), [("network?task=b", {}), ("network", {"task": "b"})])
def test_keys_may_be_short_and_labels_given_by_name(result, named, labels):
    opened = Component.open(f"{result.key[:9]}/{named}", result.store, **labels)
    assert opened.record == result.component("network", task="b").record


def test_a_name_is_enough_where_there_is_one(result):
    assert Component.open(f"{result.key}/auxiliary", result.store).record.labels == {
        "ingredient": "common"
    }


def test_a_network_is_had_as_one_and_another_part_is_refused(result):
    net = result.network(task="b")
    assert net.splits == result.trial.network.splits
    assert result.component("network", task="b").network().splits == net.splits
    with pytest.raises(MethodError, match=r"auxiliary.* is no network, but .*module\(\) gives it"):
        result.network("auxiliary", ingredient="common")


def test_what_names_none_or_several_lists_what_there_is(result):
    short = result.key[:12]
    with pytest.raises(InputError, match=rf"names several: {short}/network\?task=a, {short}/n"):
        Component.open(f"{short}/network", result.store)
    with pytest.raises(InputError, match=r"no component .*task=c'. Did you mean .*\?task="):
        Component.open(f"{short}/network?task=c", result.store)
    with pytest.raises(InputError, match=r"no component .*/network', task='c'. Did you mean"):
        Component.open(f"{short}/network", result.store, task="c")
    with pytest.raises(StoreError, match="no finished"):
        Component.open("00000000/network", result.store)


def test_without_a_store_it_is_that_of_the_home(result, monkeypatch, tmp_path):
    reference = result.component("network", task="a").reference
    folder = result.store.address
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPOLIA_STORE", folder)
    assert Component.open(reference).reference == reference
    monkeypatch.delenv("SPOLIA_STORE")
    monkeypatch.setenv("SPOLIA_HOME", folder.removesuffix("/store"))
    assert Component.open(reference).reference == reference
    assert Result.open(result.key).key == result.key
    monkeypatch.delenv("SPOLIA_HOME")
    (tmp_path / "spolia-home").symlink_to(folder.removesuffix("/store"))
    assert Component.open(reference).reference == reference


def test_a_store_is_given_as_whatever_has_one(result):
    reference = result.component("network", task="a").reference
    home = result.store.address.removesuffix("/store")
    session = Session(home=home)
    for given in (result.store.address, home, Path(home), session, session.home, result):
        assert Component.open(reference, given).reference == reference


def test_what_is_no_store_and_a_folder_without_one_are_told(result, tmp_path):
    reference = result.component("network", task="a").reference
    with pytest.raises(InputError, match="as a Store, or as a session, not as a int"):
        Component.open(reference, 3)
    with pytest.raises(StoreError, match=r"no store at .*nowhere: nothing has run there yet"):
        Component.open(reference, tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"opened by its reference, .*, not by None"):
        Component.open(None, result.store)
    with pytest.raises(InputError, match="by how its trial's key begins, not by 3"):
        Result.open(3, result.store)


@pytest.mark.parametrize("key", ["store", "home"])
def test_without_a_store_the_site_file_says_where(result, monkeypatch, tmp_path, key):
    monkeypatch.delenv("SPOLIA_STORE", raising=False)
    monkeypatch.delenv("SPOLIA_HOME", raising=False)
    place = result.store.address.removesuffix("/store" if key == "home" else "")
    (tmp_path / "there").symlink_to(place)
    (tmp_path / "spolia.toml").write_text(f'{key} = "there"')
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")  # relative to the file, wherever one is
    assert Result.open(result.key).key == result.key


def test_tasks_are_had_by_name_position_and_role(result):
    tasks = result.tasks
    assert tasks["b"] is tasks[1] is tasks.by_name["b"]
    assert [task.name for task in tasks[:1]] == ["a"]
    with pytest.raises(InputError, match=r"there is no task 'c'. Valid: 'a', 'b'"):
        tasks["c"]


def test_they_show_themselves_in_a_line(result):
    assert repr(result) == (
        f"Result({result.key[:12]!r}, done): {result.trial.label}; 2 metrics; "
        "kept network-a, network-b, auxiliary-common"
    )
    component = result.component("network", task="a")
    assert repr(component) == (
        f"Component('{result.key[:12]}/network?task=a'): SmallVGG of compatible_features, seed 0"
    )
    network = component.module()
    assert repr(network) == (
        "SmallVGG(width=4, channels=1, classes=3): 4,607 weights, "
        "split points stage1, stage2, stage3, pool"
    )
    assert repr(network.extractor("pool")) == "extractor of SmallVGG up to 'pool': 4,556 weights"
    assert repr(network.head("pool")) == "head of SmallVGG behind 'pool': 51 weights"


@pytest.mark.parametrize("name", [None, 5, ["m"]])
def test_what_is_no_name_of_a_matrix_is_told(result, name):
    with pytest.raises(MethodError, match="has no matrix"):
        result.matrix(name)


def test_cells_are_no_name_of_a_matrix(result):
    with pytest.raises(InputError, match=r"result.matrix\({'split': 'pool'}\): a trial's matrices"):
        result.matrix({"split": "pool"})


class TestMatrixPair:
    def matrix(self, components=None):
        return make_matrix(
            "m",
            axes=("extractor", "head"),
            rows=["a", "b"],
            columns=["a", "b"],
            values=[[1, 0], [0, 1]],
            components=components,
        )

    def test_it_is_the_components_of_row_and_column(self):
        matrix = self.matrix([["k/n?task=a", "k/n?task=b"], ["l/n?task=a", ""]])
        assert matrix.pair("b", "a") == ("k/n?task=b", "l/n?task=a")
        with pytest.raises(InputError, match="'b' of matrix m stands for no stored component"):
            matrix.pair("a", "b")

    def test_a_label_that_there_is_not_and_a_matrix_without_components(self):
        with pytest.raises(
            InputError, match=r"matrix 'm' has no .*\n  - extractor 'c': Valid: 'a', 'b'"
        ):
            self.matrix().pair("c", "a")
        with pytest.raises(InputError, match="'a' of matrix m stands for no stored component"):
            self.matrix().pair("a", "b")
