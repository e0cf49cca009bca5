"""Checkpoints: by time, for this code only, and never a reason to fail."""

from __future__ import annotations

import pytest
import torch

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import MethodError, StoreError, Trial, digits, resolve
from orchestrator.training.checkpoints import Checkpoints
from orchestrator.training.execute import execute

STATE = {"epoch": 3, "nets": {"a": {"w": torch.ones(2)}}}


def test_nothing_is_due_before_its_time(tmp_path):
    assert not Checkpoints(tmp_path, every=60).due
    assert Checkpoints(tmp_path, every=0).due
    assert not Checkpoints(None, every=0).due


def test_a_short_trial_writes_no_checkpoint(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "save", lambda *a: pytest.fail("a checkpoint was written"))
    trial = resolve(
        Trial(
            method=FineTune(epochs=2),
            network=resnet8(width=4),
            tasks=(digits.images(limit=60),),
            seed=0,
        ),
        store,
    )
    assert execute(trial, store, scratch=tmp_path).kind == "done"


def test_a_state_comes_back_as_it_was(tmp_path):
    Checkpoints(tmp_path / "s", "code").save("joint/1", STATE)
    again = Checkpoints(tmp_path / "s", "code").load("joint/1")
    assert again["epoch"] == 3
    assert torch.equal(again["nets"]["a"]["w"], torch.ones(2))
    assert Checkpoints(tmp_path / "s", "code").load("other") is None


def test_checkpoints_of_other_code_are_thrown_away(tmp_path):
    Checkpoints(tmp_path / "s", "code").save("joint", STATE)
    assert Checkpoints(tmp_path / "s", "other code").load("joint") is None
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn", b"\x80\x02]q\x00."])
def test_a_damaged_checkpoint_counts_as_none(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path / "s", "code")
    checkpoints.save("joint", STATE)
    (tmp_path / "s/joint.pt").write_bytes(damage)
    assert checkpoints.load("joint") is None


def test_a_checkpoint_of_other_nets_is_refused(store, tmp_path):
    trial = resolve(
        Trial(
            method=FineTune(epochs=2),
            network=resnet8(width=4),
            tasks=(digits.images(limit=60),),
            seed=0,
        ),
        store,
    )
    wide = resolve(
        Trial(
            method=FineTune(epochs=2),
            network=resnet8(width=8),
            tasks=(digits.images(limit=60),),
            seed=0,
        ),
        store,
    )

    class Stopped(BaseException):
        pass

    def stop(moment):
        if moment.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        execute(trial, store, scratch=tmp_path, checkpoint_every=0, on_epoch=stop)
    (tmp_path / trial.key).rename(tmp_path / wide.key)
    outcome = execute(wide, store, scratch=tmp_path, checkpoint_every=0)
    assert outcome.kind == "failed"
    assert MethodError.__name__ in outcome.reason
    assert "the checkpoint is of other nets" in outcome.reason


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="a checkpoint cannot be written to"):
        Checkpoints(tmp_path / "file" / "s").save("joint", STATE)
