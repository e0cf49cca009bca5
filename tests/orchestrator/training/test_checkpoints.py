"""Checkpoints: by time, for this code only, and never a reason to fail."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch.nn import functional as F

from methods.fine_tune import FineTune
from methods.networks import resnet8
from orchestrator import (
    MethodError,
    Run,
    Store,
    StoreError,
    Sweep,
    Trial,
    digits,
    make_plan,
    product,
    resolve,
    sgd,
)
from orchestrator.store.code import Code, code_of
from orchestrator.testing import fingerprint
from orchestrator.training import copies
from orchestrator.training.checkpoints import Checkpoints
from orchestrator.training.execute import execute


def resolved(store):
    task = digits.classes(0, 1, 2).images(limit=60)
    trial = Trial(method=FineTune(), network=resnet8(width=4), tasks=(task,), seed=0)
    return resolve(trial, store)


def loss(nets, batch):
    return F.cross_entropy(nets["net"](batch.x), batch.y)


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


NAMES = ["a b", "a_b", "a/b", "a%2Fb", "a.b", "A b", "", ".", "..", "../a", "/a", "é", "x" * 300]
NAMES += ["x" * 299 + "y"]


def test_every_stage_has_a_checkpoint_of_its_own_whatever_it_is_called(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s", "code")
    for number, name in enumerate(NAMES):
        checkpoints.save(name, {"epoch": number})
    assert [checkpoints.load(name)["epoch"] for name in NAMES] == list(range(len(NAMES)))
    assert len(list((tmp_path / "s").glob("*.pt"))) == len(NAMES)
    assert {path.name for path in tmp_path.iterdir()} == {"s"}


def test_two_stages_whose_names_differ_in_punctuation_resume_to_the_same_bits(store, tmp_path):
    """One after another on nets of one shape: the second must not go on from the first."""

    def trained(folder):
        run = Run(resolved(store), {}, checkpoints=Checkpoints(folder, every=0))
        net = run.network("net")
        for stage in ("step 1", "step_1", "step/1"):
            train, optimizer = run.tasks[0].train, sgd(0.05)
            run.fit(stage, {"net": net}, loss, train, optimizer=optimizer, epochs=1, batch=16)
        return torch.cat([p.detach().reshape(-1) for p in net.parameters()])

    without = trained(None)
    assert torch.equal(trained(tmp_path / "s"), without)
    assert torch.equal(trained(tmp_path / "s"), without)


def test_a_checkpoint_that_holds_another_stage_counts_as_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s", "code")
    checkpoints.save("first", STATE)
    (tmp_path / "s/first.pt").rename(tmp_path / "s/second.pt")
    assert checkpoints.load("second") is None


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


def test_a_folder_that_cannot_be_written_costs_checkpoints_and_is_named_once(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    checkpoints = Checkpoints(tmp_path / "file" / "s")
    for _ in range(3):
        checkpoints.save("joint", STATE)
    assert capsys.readouterr().out.count("a checkpoint cannot be written to") == 1
    assert checkpoints.load("joint") is None


# ---------------------------------------------------------------------- resumed trials


class Stopped(BaseException):
    """As if the process had been killed."""


@pytest.fixture
def stopped(store, tmp_path):
    """A trial stopped in its second epoch of three, and the folder of its checkpoints."""
    trial = resolve(
        Trial(
            method=FineTune(epochs=3),
            network=resnet8(width=4),
            tasks=(digits.images(limit=60),),
            seed=0,
        ),
        store,
    )

    def stop(moment):
        if moment.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        execute(trial, store, scratch=tmp_path, checkpoint_every=0, on_epoch=stop)
    return trial, tmp_path / trial.key


def stages_resumed(trial, store, tmp_path):
    """Numbers of the epochs that are trained when the trial is run again."""
    epochs = []
    outcome = execute(trial, store, scratch=tmp_path, on_epoch=lambda m: epochs.append(m.epoch))
    assert outcome.kind == "done", outcome.traceback
    return epochs, outcome


def test_a_trial_goes_on_from_a_checkpoint_of_the_same_code(store, tmp_path, stopped):
    assert stages_resumed(stopped[0], store, tmp_path)[0] == [2, 3]


@pytest.mark.parametrize("module", ["orchestrator.training.learner", "methods.networks.resnet"])
def test_a_checkpoint_of_another_engine_or_network_is_not_continued(
    store, tmp_path, stopped, monkeypatch, module
):
    code = code_of(stopped[0])
    other = Code({**code.modules, module: "0" * 16})
    monkeypatch.setattr("orchestrator.training.execute.code_of", lambda trial: other)
    assert stages_resumed(stopped[0], store, tmp_path)[0] == [1, 2, 3]


def test_a_checkpoint_of_another_torch_is_not_continued(store, tmp_path, stopped, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert stages_resumed(stopped[0], store, tmp_path)[0] == [1, 2, 3]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.process)])
def any_store(request, store):
    if request.param == "folder":
        return store
    made = Store(request.getfixturevalue("s3"))
    made.prepare()
    return made


class Gone(BaseException):
    """As if the process were killed."""


def killed_after(epoch):
    def on_epoch(moment):
        if moment.epoch == epoch + 1:
            raise Gone

    return on_epoch


def trained_on(machine, trial, store, epochs):
    """The machine's own scratch folder; numbers of the epochs that it trains are added."""
    return execute(
        trial,
        store,
        scratch=machine,
        checkpoint_every=0,
        on_epoch=lambda moment: epochs.append(moment.epoch),
    )


def test_a_long_trial_whose_machine_goes_away_goes_on_elsewhere(any_store, tmp_path, monkeypatch):
    """Two scratch folders, one store; the second machine had the trial once before, for less."""
    monkeypatch.setattr(copies, "EVERY", 0.0)
    method = FineTune(epochs=4)
    trial = resolve(resolved(any_store).replace(method=method), any_store)
    here, there, epochs = tmp_path / "here", tmp_path / "there", []
    for machine, until in ((there, 1), (here, 3)):
        with pytest.raises(Gone):
            execute(
                trial,
                any_store,
                scratch=machine,
                checkpoint_every=0,
                on_epoch=killed_after(until),
            )
    shutil.rmtree(here)
    began = Checkpoints(there / trial.key, (there / trial.key / "stamp").read_text()).began
    assert trained_on(there, trial, any_store, epochs).kind == "done"
    assert epochs == [4]
    assert list(any_store.entries("checkpoints")) == []
    record = any_store.find(trial.key)
    assert record["timings"]["began"] == pytest.approx(began, abs=0.01)
    undisturbed = Store(tmp_path / "undisturbed")
    assert execute(trial, undisturbed).kind == "done"
    assert fingerprint(record) == fingerprint(undisturbed.find(trial.key))


def test_a_trial_shorter_than_that_leaves_no_copy(store, tmp_path, monkeypatch):
    trial = resolved(store)
    monkeypatch.setattr(Store, "put_checkpoint", lambda *a: pytest.fail("a copy was written"))
    assert trained_on(tmp_path, trial, store, []).kind == "done"


def test_copies_are_minutes_apart_and_of_all_that_was_written_since(store, tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "EVERY", 300.0)
    now = [1000.0]
    monkeypatch.setattr("orchestrator.training.checkpoints.time.monotonic", lambda: now[0])
    put = []
    monkeypatch.setattr(Store, "put_checkpoint", lambda self, *a: put.append(a[2]))
    checkpoints = Checkpoints(tmp_path / "s", "code", 0, copies.Copies(store, "key", "code"))
    for stage, seconds in (("a", 0), ("b", 200), ("b", 100), ("b", 100), ("b", 200)):
        now[0] += seconds
        checkpoints.save(stage, STATE)
    assert put == ["a.pt", "b.pt", "tries.json", "b.pt", "tries.json"]


def test_copies_of_other_code_are_not_seen(store, tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "EVERY", 0.0)
    Checkpoints(tmp_path / "a", "code", 0, copies.Copies(store, "key", "code")).save("s", STATE)
    for code, is_there in (("code", True), ("other", False)):
        there = Checkpoints(tmp_path / code, code, 0, copies.Copies(store, "key", code))
        assert (there.load("s") is not None) == is_there


def test_a_store_that_takes_no_copy_costs_no_trial(store, tmp_path, monkeypatch, capsys):
    def full(self, *arguments):
        raise StoreError("no rights on the bucket")

    monkeypatch.setattr(copies, "EVERY", 0.0)
    monkeypatch.setattr(Store, "put_checkpoint", full)
    assert trained_on(tmp_path, resolved(store), store, []).kind == "done"
    assert (
        "a copy of a checkpoint cannot be put into the store: no rights" in capsys.readouterr().out
    )


def test_seconds_of_a_resumed_trial_are_those_of_all_its_tries(store, tmp_path, stopped):
    """As if the tries before had begun at second 5 and taken 1,000 seconds, 600 of them in the
    stage.
    """
    trial, folder = stopped
    (state,) = folder.glob("*.pt")
    saved = torch.load(state)
    torch.save({**saved, "state": {**saved["state"], "seconds": 600.0}}, state)
    (folder / "tries.json").write_text('{"began": 5.0, "spent": 1000.0}')
    outcome = stages_resumed(trial, store, tmp_path)[1]
    timings = store.find(trial.key)["timings"]
    assert timings["began"] == 5.0
    assert 1000.0 < timings["seconds"] < timings["ended"] - timings["began"]
    assert outcome.seconds == pytest.approx(timings["seconds"], abs=0.01)
    (fit,) = timings["fits"].values()
    assert 600.0 < fit["seconds"] < 1000.0


def test_a_try_notes_when_the_first_began_and_what_was_spent(stopped):
    began, spent = json.loads((stopped[1] / "tries.json").read_text()).values()
    assert (began > 0, spent > 0) == (True, True)
    again = Checkpoints(stopped[1], (stopped[1] / "stamp").read_text())
    assert again.began == began
    assert again.spent >= spent


def test_the_plan_reckons_with_the_seconds_spent_and_not_with_the_time_between(
    store, tmp_path, stopped
):
    trial, folder = stopped
    (folder / "tries.json").write_text('{"began": 5.0, "spent": 1000.0}')
    stages_resumed(trial, store, tmp_path)
    cells = product(
        FineTune.grid(epochs=3),
        network=resnet8(width=4),
        tasks=digits.images(limit=60),
        seed=0,
    )
    plan = make_plan("asked", Sweep(question="?", cells=cells, expect=1), store)
    assert 1000.0 < plan.seconds[trial.key] < 2000.0
