"""What the doctor says where something that it looks at cannot be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import MethodError
from orchestrator.cli import doctor
from orchestrator.executors.handshake import greet
from orchestrator.executors.ray.driver import RayTune
from orchestrator.executors.site import SiteFile
from orchestrator.session.places import Places
from orchestrator.store.home import home

NOTHING = SiteFile()
TRAPS = (
    "UV_RUN_RECURSION_DEPTH",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
    "SLURM_NNODES",
    "RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT",
)


def test_methods_that_cannot_be_had_are_findings_of_a_cluster_too(monkeypatch, tmp_path):
    def no_methods():
        raise MethodError("the methods of 'methods' are not to be had")

    monkeypatch.setattr(doctor, "discover", no_methods)
    monkeypatch.setattr(doctor, "installed", no_methods)
    places = Places(home(tmp_path, None, "none"), SiteFile(), None)
    checks = {check.subject: check for check in doctor.examine(places, "auto")}
    for subject in ("methods", "cluster"):
        assert not checks[subject].is_fine
        assert "not to be had" in checks[subject].finding


@pytest.fixture
def findings(monkeypatch, tmp_path):
    """What the doctor finds amiss with a site and these variables, by subject."""

    def examine(site=NOTHING, num_gpus=0, **variables):
        for name in TRAPS:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return {c.subject: c.finding for c in doctor._traps(site, num_gpus) if not c.is_fine}

    return examine


def test_uv_run_is_no_launcher(findings):
    assert "uv run" in findings(UV_RUN_RECURSION_DEPTH="1")["launcher"]
    assert not findings(UV_RUN_RECURSION_DEPTH="1", RAY_ENABLE_UV_RUN_RUNTIME_ENV="0")
    assert not findings()


def test_nodes_of_a_slurm_job_are_told_to_wait_longer(findings):
    assert "wait only 30 s" in findings(SLURM_NNODES="4")["Slurm"]
    assert not findings(SLURM_NNODES="4", RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT="600")
    assert not findings(SLURM_NNODES="1")


def test_slots_that_leave_gpus_idle_are_told(findings):
    few = SiteFile(slots=8, gpus={"default": 0.25})
    assert "idle" in findings(few, num_gpus=8)["slots"]
    assert not findings(SiteFile(slots=32, gpus={"default": 0.25}), num_gpus=8)
    assert not findings(SiteFile(slots=8), num_gpus=8)
    # On a cluster this machine's GPUs say nothing.
    assert not findings(SiteFile(slots=2, address="auto"), num_gpus=8)


def test_gpus_that_nobody_would_ask_for_are_told():
    """On a cluster that starts its nodes when they are asked for, and does not say which."""
    head = greet("", "", [], {})
    shares = {"default": 0.5}
    check = doctor._gpus_of_cluster(SiteFile(gpus=shares), [replace(head, gpus=[])])
    assert not check.is_fine
    assert 'needs device = "gpu" and slots' in check.finding
    for site, gpus in (
        (SiteFile(gpus=shares, device="gpu"), []),
        (SiteFile(gpus=shares), ["NVIDIA H200, 140 GiB"]),
        (NOTHING, []),
    ):
        assert doctor._gpus_of_cluster(site, [replace(head, gpus=gpus)]).is_fine


def test_every_node_of_a_cluster_is_told(monkeypatch, tmp_path):
    driver = greet("", "", [], {})
    blind = replace(driver, node="b", problem="it does not see the driver's store")
    greetings = [driver, replace(driver, node="a"), blind]
    monkeypatch.setattr(RayTune, "greetings", lambda *asked: greetings)
    found = doctor._cluster("auto", home(tmp_path, None, "none"), NOTHING)
    nodes = [check for check in found if check.subject.startswith("node ")]
    assert [(check.subject, check.is_fine) for check in nodes] == [
        ("node a", True),
        ("node b", False),
    ]
    assert "sees the store, has the driver's code; " in nodes[0].finding
    assert nodes[1].finding == "node b: it does not see the driver's store"


@pytest.mark.process  # imports Ray's client
def test_a_head_that_does_not_answer_is_told(tmp_path):
    places = Places(home(tmp_path, None, "none"), SiteFile(head="http://127.0.0.1:9"), None)
    check = doctor._head(places)
    assert (check.subject, check.is_fine) == ("head", False)
    assert "does not answer" in check.finding
