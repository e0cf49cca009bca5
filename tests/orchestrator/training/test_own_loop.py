"""What a method's own loop leaves in its variables: kept, or told in the first run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sample_methods import Seedless

from orchestrator import MethodError, Run, Trial, digits
from orchestrator.training.checkpoints import Checkpoints

TRIAL = Trial(method=Seedless(), tasks=(digits,))


def a_run(folder=None):
    return Run(TRIAL, {}, checkpoints=Checkpoints(folder, every=0))


# ---------------------------------------------------------------------- what is told


def summed(run):
    total = 0.0
    for epoch in run.epochs("loop", 2):
        total += epoch
    return total


def summed_from_epoch_to_epoch(run):
    best = 0.0
    for epoch in run.epochs("loop", 2):
        best = max(best, epoch + 1.0)


def last_epoch(run):
    for number, epoch in enumerate(run.epochs("loop", 2)):
        run.curve(seconds=number * epoch)
    return epoch


def listed(run):
    losses = []
    for epoch in run.epochs("loop", 2):
        losses.append(epoch)
    return losses


def counted(run):
    counts = torch.zeros(3)
    for epoch in run.epochs("loop", 2):
        counts[epoch] += 1


def counted_in_an_array(run):
    counts = {"all": [np.zeros(3)]}
    for epoch in run.epochs("loop", 2):
        counts["all"][0][epoch] += 1


def trained(run):
    net, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    for _ in run.epochs("loop", 2, net=net):
        torch.nn.init.ones_(net.weight)
        torch.nn.init.ones_(other.weight)


def optimised(run):
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for _ in run.epochs("loop", 2, net=net):
        net(torch.ones(1, 2)).sum().backward()
        optimizer.step()


def drawn(run):
    generator = torch.Generator()
    for _ in run.epochs("loop", 2):
        torch.rand(1, generator=generator)


def in_another_loop(run):
    seen = 0
    for task in "ab":
        found = seen
        for epoch in run.epochs(task, 2):
            seen = found + epoch + 1


@pytest.mark.parametrize(
    ("loop", "name"),
    [
        (summed, "total"),
        (summed_from_epoch_to_epoch, "best"),
        (last_epoch, "epoch"),
        (listed, "losses"),
        (counted, "counts"),
        (counted_in_an_array, "counts"),
        (trained, "other"),
        (optimised, "optimizer"),
        (drawn, "generator"),
        (in_another_loop, "seen"),
    ],
)
def test_what_would_be_lost_is_told_in_the_first_run(loop, name):
    with pytest.raises(MethodError, match=rf"it leaves in {name} would be lost.*{name}={name}\)"):
        loop(a_run())


# ---------------------------------------------------------------------- what is not


def told_by_the_run(run):
    loss = 0.0
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    names = [name for name in "ab"]
    for epoch in run.epochs("loop", 2, net=net, optimizer=optimizer):
        loss = 0.0
        for name in names:
            loss += epoch * len(name)
            net(torch.ones(1, 2)).sum().backward()
            optimizer.step()
        run.curve(loss=loss)
    loss = sum(epoch for epoch in range(3))
    return [loss for loss in (loss,)]


def in_layers_of_a_net_in_the_state(run):
    net = torch.nn.Sequential(torch.nn.Linear(2, 1))
    head = net[0]
    for _ in run.epochs("loop", 2, net=net):
        torch.nn.init.ones_(head.weight)


@pytest.mark.parametrize("loop", [told_by_the_run, in_layers_of_a_net_in_the_state])
def test_what_nobody_reads_later_or_is_in_the_state_is_no_problem(loop):
    loop(a_run())


# ---------------------------------------------------------------------- plain values as state


def with_state(run, epochs=3):
    """Of each kind of state one; what they are at the end."""
    found, losses = {"sum": 0.0, "of each": torch.zeros(2)}, []
    counts, array = torch.zeros(3), np.zeros(3)
    state = {"found": found, "losses": losses, "counts": counts, "array": array}
    for epoch in run.epochs("loop", epochs, **state):
        found["sum"] += np.float64(epoch)
        found["of each"] += epoch
        losses.append(epoch / 2)
        counts[epoch] = array[epoch] = epoch
        if run.is_to_end_in == epoch:
            raise KeyboardInterrupt
    return found["sum"], found["of each"].tolist(), losses, counts.tolist(), array.tolist()


def test_dictionaries_lists_tensors_and_arrays_come_back(tmp_path):
    whole = a_run()
    whole.is_to_end_in = None
    wanted = with_state(whole)
    assert wanted == (3.0, [3.0, 3.0], [0.0, 0.5, 1.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0])
    stopped = a_run(tmp_path)
    stopped.is_to_end_in = 1
    with pytest.raises(KeyboardInterrupt):
        with_state(stopped)
    for _ in range(2):  # from the middle, then past the whole loop
        resumed = a_run(tmp_path)
        resumed.is_to_end_in = None
        assert with_state(resumed) == wanted


def test_what_cannot_be_saved_is_named(tmp_path):
    found = {"run": object()}
    with pytest.raises(MethodError, match="found cannot be saved: object is no tensor"):
        for _ in a_run(tmp_path).epochs("loop", 1, found=found):
            pass
