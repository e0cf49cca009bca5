"""A worker sees that its driver is gone, and stops behind a checkpoint."""

from __future__ import annotations

import socket
import time

import pytest
from sample_methods import Looped

from orchestrator import Store, Trial, digits, resolve
from orchestrator.errors import Abandoned
from orchestrator.executors.lifeline import Lifeline, lifeline
from orchestrator.testing import fingerprint
from orchestrator.training.execute import execute


def wait_until(is_so):
    deadline = time.monotonic() + 30
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_so()


def test_it_is_cut_when_its_other_end_is_gone_and_not_before():
    with lifeline("127.0.0.1") as address:
        first, second = Lifeline(address), Lifeline(address)
        assert not first.is_cut
    assert wait_until(lambda: first.is_cut)
    assert wait_until(lambda: second.is_cut)
    first.close()
    second.close()
    assert not first.is_cut


@pytest.mark.parametrize("address", ["", "127.0.0.1:1", "nonsense"])
def test_one_that_was_never_connected_is_never_cut(address):
    assert not Lifeline(address).is_cut


@pytest.mark.skipif(
    not hasattr(socket, "TCP_KEEPIDLE"),
    reason="this system cannot be told how often to ask (no TCP_KEEPIDLE)",
)
def test_a_driver_whose_machine_has_lost_its_power_is_missed_in_five_minutes():
    with lifeline("127.0.0.1") as address:
        end = Lifeline(address)
        asked = [
            end._socket.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        ]
        assert end._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert asked[0] + asked[1] * asked[2] == 300
        end.close()


def test_an_interface_that_is_not_there_gives_no_address():
    with lifeline("203.0.113.1") as address:
        assert address == ""


def test_an_abandoned_trial_leaves_a_checkpoint_and_goes_on_from_it(tmp_path):
    store, whole = Store(tmp_path / "store"), Store(tmp_path / "whole")
    tasks = (digits.classes(0, 1).images(limit=40).named("t"),)
    trial = resolve(Trial(method=Looped(epochs=4), tasks=tasks, seed=0), store)
    execute(trial, whole)
    epochs = []

    def run(**options):
        return execute(
            trial,
            store,
            scratch=tmp_path / "scratch",
            on_epoch=lambda stage: epochs.append(stage.epoch),
            **options,
        )

    with pytest.raises(Abandoned):
        run(is_abandoned=lambda: len(epochs) == 2)
    assert store.find(trial.key) is None
    assert run().kind == "done"
    assert epochs == [1, 2, 3, 4]
    assert fingerprint(store.find(trial.key)) == fingerprint(whole.find(trial.key))
