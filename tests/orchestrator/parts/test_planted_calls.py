"""Stores, records and models that name something to call: nothing of it runs."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
from sample_methods import Count

from methods.fine_tune import FineTune
from methods.networks import projected, resnet8
from methods.pieces.building import build_network
from orchestrator import PlanError, Result, Run, Trial, digits, resolve
from orchestrator.parts.component import rebuild
from orchestrator.parts.network import Piece
from orchestrator.spec.trial import NetworkSpec, method_from_json
from orchestrator.store.store import record_digest
from orchestrator.tracking.pyfunc_model import _load_pyfunc
from orchestrator.training.execute import execute

REFUSED = "it is not called"


@pytest.fixture
def trap(tmp_path):
    """A file that each planted call would make."""
    path = tmp_path / "planted"
    yield path
    assert not path.exists()


def planted(store, change):
    """A result in the store, as somebody else might have written it."""
    trial = Trial(method=Count(), seed=0)
    execute(trial, store)
    found = store.find(trial.key)
    outdated, record = record_digest(found), dict(found)
    change(record)
    assert store.commit(record, replaces=outdated)
    return Result.open(trial.key, store)


def test_a_function_as_the_method_of_a_record(store, trap):
    def change(record):
        record["trial"]["method"] = {
            "path": "subprocess:call",
            "settings": {"args": ["touch", str(trap)]},
        }

    result = planted(store, change)
    with pytest.raises(PlanError, match=f"subprocess:call.*{REFUSED}"):
        _ = result.trial


def test_a_function_as_a_part_of_a_record(store, trap):
    blob = store.put_blob(safetensors.torch.save({}))

    def change(record):
        config = {"command": f"touch {trap}"}
        part = {"name": "network", "labels": {}, "path": "os:system", "config": config}
        record["components"] = [{**part, "blob": blob, "requires": {}}]

    result = planted(store, change)
    with pytest.raises(PlanError, match=f"os:system.*{REFUSED}"):
        result.module("network")


def test_a_function_among_the_settings_of_a_method(trap):
    inner = {"path": "subprocess:call", "settings": {"args": ["touch", str(trap)]}}
    with pytest.raises(PlanError, match=REFUSED):
        method_from_json({"path": "sample_methods:Count", "settings": {"number": inner}})


def test_a_function_in_the_description_of_a_model_in_mlflow(tmp_path, trap):
    description = {"path": "os:system", "config": {"command": f"touch {trap}"}}
    (tmp_path / "part.json").write_text(json.dumps(description))
    (tmp_path / "weights.safetensors").write_bytes(safetensors.torch.save({}))
    with pytest.raises(PlanError, match=REFUSED):
        _load_pyfunc(str(tmp_path))


@pytest.mark.parametrize("load", [build_network, lambda n: Piece(network=n, split="", side="head")])
def test_a_function_as_the_network_of_a_piece(trap, load):
    with pytest.raises(PlanError, match=REFUSED):
        load({"path": "os:system", "config": {"command": f"touch {trap}"}})


def test_a_function_as_the_network_inside_a_network(trap):
    spec = projected(resnet8(width=4), behind="stage2")
    config = dict(spec.settings) | {
        "of": "subprocess:call",
        "inner": {"args": ["touch", f"{trap}"]},
    }
    with pytest.raises(PlanError, match=REFUSED):
        rebuild(spec.path, {**config, "channels": 1, "classes": 2}, safetensors.torch.save({}))


def test_a_function_as_the_network_of_a_trial(store, trap):
    network = NetworkSpec(
        name="net", path="os:system", settings=(("command", f"touch {trap}"),), splits=("stem",)
    )
    trial = Trial(method=FineTune(), network=resnet8(), tasks=(digits,), seed=0)
    run = Run(resolve(trial, store), {})
    with pytest.raises(PlanError, match=REFUSED):
        run.network("net", spec=network)
