"""ray_cluster.yaml against Ray's own schema and checks, and against what it promises."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "ray_cluster.yaml").read_text()
CONFIG = yaml.safe_load(TEXT)


def test_it_fits_rays_schema():
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(CONFIG, schema)


def test_ray_itself_accepts_it(monkeypatch):
    util = pytest.importorskip(
        "ray.autoscaler._private.util", reason="Ray moved its private checks"
    )
    pytest.importorskip("boto3", reason="Ray's AWS provider needs boto3")
    monkeypatch.chdir(ROOT)
    prepared = util.prepare_config(copy.deepcopy(CONFIG))
    util.validate_config(prepared)
    assert prepared["available_node_types"]["gpu"]["min_workers"] == 0


def test_a_key_that_ray_does_not_know_would_be_noticed():
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**CONFIG, "initial_workers": 3}, schema)


def test_gpu_workers_scale_from_zero_and_the_head_runs_no_trial():
    kinds = CONFIG["available_node_types"]
    assert kinds["gpu"]["min_workers"] == 0
    assert kinds["gpu"]["resources"]["GPU"] >= 1
    assert kinds[CONFIG["head_node_type"]]["resources"] == {"CPU": 0}


def test_no_port_is_open_to_strangers():
    assert "0.0.0.0/0" not in TEXT
    assert CONFIG["provider"]["use_internal_ips"]
    assert all(
        kind["node_config"]["SecurityGroupIds"] for kind in CONFIG["available_node_types"].values()
    )
    starts = [
        c
        for part in ("head", "worker")
        for c in CONFIG[f"{part}_start_ray_commands"]
        if "ray start" in c
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)


def test_every_node_installs_the_pinned_set():
    assert any(
        "--constraint /home/ubuntu/spolia/constraints.txt" in command
        for command in CONFIG["setup_commands"]
    )
    assert (ROOT / "constraints.txt").exists()
