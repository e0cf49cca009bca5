"""What is left of a trial whose worker went away."""

from __future__ import annotations

from listeners import Heard
from sample_methods import Count

from orchestrator import Sweep, make_plan, product
from orchestrator.session.running import TrialListener
from orchestrator.session.trial_log import log_of
from orchestrator.training.outcome import Outcome


def test_a_lost_trial_keeps_what_it_had_printed_and_what_it_had_reached(store):
    cells = product(Count.grid(), seed=0)
    (trial,) = make_plan("asked", Sweep(question="?", cells=cells, expect=1), store).todo
    reached = {"key": trial.key, "stage": "joint", "epoch": 3, "epochs": 10}
    store.put_progress(trial.key, reached)
    store.put_log(trial.key, "half way\n")
    listener = TrialListener(Heard(), None, store, {trial.key: trial})
    listener.ended(Outcome(trial.key, "lost", reason="its worker went away 3 times"))
    assert store.under_way() == set()
    log = log_of(trial.key, store)
    assert log.failure["progress"] == reached
    assert repr(log).splitlines()[1:] == [
        "lost: its worker went away 3 times",
        "it had reached: joint, epoch 3 of 10",
        "half way",
    ]
