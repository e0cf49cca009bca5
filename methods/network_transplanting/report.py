"""What a transplanting trial logs: errors of a category with and without its adapter, and that
nothing before it has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, TypeVar, cast

import numpy as np
import torch
from torch import nn

from methods.network_transplanting.margins import (
    Array,
    Margins,
    auc,
    balanced_error,
    best_bar,
    logits_of,
    margins,
    overlap,
)
from methods.network_transplanting.transplant_network import (
    Adapter,
    Transplanted,
    TransplantNetwork,
)
from orchestrator import Data, MatrixSpec, Metric, Network, Plot, Run, Task

METRICS = (
    Metric("error", by=("category",), higher_is_better=False),
    Metric("balanced_error", by=("category",), higher_is_better=False, headline=True),
    Metric("auc", by=("category",), headline=True),
    Metric("calibrated_error", by=("category",), higher_is_better=False, optional=True),
    Metric("validation_error", by=("category",), higher_is_better=False, optional=True),
    Metric("own_error", by=("category",), higher_is_better=False),
    Metric("bare_error", by=("category",), higher_is_better=False),
    Metric("gap", by=("category",), higher_is_better=False),
    Metric("recovery", by=("category",)),
    Metric("gradient_loss", by=("category",), higher_is_better=False, optional=True),
    Metric("samples", higher_is_better=False, optional=True),
    Metric("error_at", by=("place",), higher_is_better=False),
    Metric("iou", by=("category",), optional=True),
    Metric("retention", by=("category",), higher_is_better=False),
)
PLOTS = (Plot("balanced_error", "samples", along="samples", over=("tasks",)),)
MATRICES = (
    MatrixSpec("after", "category", "task", headline=True),
    MatrixSpec("before", "category", "task"),
)
Net = TypeVar("Net", bound=nn.Module)


def unfit(host: Task, guests: Sequence[Task]) -> Iterator[str]:
    """What is wrong with these tasks, as far as they are resolved."""
    if host.digest and host.num_classes != 2:
        yield f"{host.name} has {host.num_classes} classes; a category against its background has two: .binary(...)"
    for guest in guests:
        if guest.digest and host.digest and guest.class_names != host.class_names:
            yield (
                f"{guest.name} has the classes {', '.join(guest.class_names)} and the host {', '.join(host.class_names)}; "
                "give both .binary(..., called='category')"
            )


def laid_out(run: Run, net: Net) -> Net:
    """A network on the trial's device, in eval mode, in memory as a fit lays it out: another layout
    has other roundings.
    """
    return net.to(run.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def calibrated(
    run: Run, joined: Transplanted, own: Network, few: Data, how: Literal["labels", "teacher"]
) -> float:
    """What to add to the last logit, from a few images: so that their labels are told best, or with
    the mean margin of the category's own network.
    """
    margin, labels = margins(run, joined, few)
    if how == "labels":
        return -best_bar(margin, labels)
    return float(np.mean(margins(run, own, few)[0]) - np.mean(margin))


def report(run: Run, joined: Transplanted, own: Network, bare: Margins, guest: Task) -> None:
    """One category: errors on its test images of the transplanted network, of the one without an
    adapter (`bare`), and of the category's own.
    """
    by = {"category": guest.name}
    found = {
        "error": margins(run, joined, guest.test),
        "own": margins(run, own, guest.test),
        "bare": bare,
    }
    errors = {name: balanced_error(*pair) for name, pair in found.items()}
    lost = errors["bare"] - errors["own"]
    run.log(
        error=float(np.mean((found["error"][0] > 0) != found["error"][1])),
        balanced_error=errors["error"],
        auc=auc(*found["error"]),
        own_error=errors["own"],
        bare_error=errors["bare"],
        gap=errors["error"] - errors["own"],
        recovery=(errors["bare"] - errors["error"]) / lost if lost > 0 else float("nan"),
        by=by,
    )
    if guest.masks:
        run.log(iou=overlap(*found["error"]), by=by)
    if (
        guest.held_out
    ):  # a bar chosen on validation images says how much of the error is an offset only
        held_out = margins(run, joined, guest.validation_part)
        run.log(
            calibrated_error=balanced_error(*found["error"], best_bar(*held_out)),
            validation_error=balanced_error(*held_out),
            by=by,
        )
    curve = [
        p.value for fitted in run.fits.values() for p in fitted.curves if p.name.endswith("/back")
    ]
    if curve:
        run.log(gradient_loss=curve[-1], by=by)


def tabulate(run: Run) -> None:
    """Balanced error of every guest with the host's task module, before and after, and by the place
    at which it was joined.
    """
    _, host, *guests = run.tasks
    for place, guest in enumerate(guests, start=1):
        run.log(
            error_at=run.metrics["balanced_error", (("category", guest.name),)],
            by={"place": str(place)},
        )
    for name, metric in (("before", "bare_error"), ("after", "balanced_error")):
        values = [[run.metrics[metric, (("category", g.name),)]] for g in guests]
        run.matrix(
            name, rows=[g.name for g in guests], columns=[host.name], values=np.array(values)
        )


def join_in_turn(run: Run) -> TransplantNetwork:
    """Join the guests, whose trials are done, one after another. After each insertion every
    category before it must give the bits that it gave.
    """
    _, host, *guests = run.tasks
    run.adopt(*(guest.name for guest in guests))
    parts = {
        g.name: cast(Transplanted, run.need(g.name).module("transplanted", category=g.name))
        for g in guests
    }
    origin = cast(Network, run.need("host").module("network", task=host.name))
    extractor, task = origin.cut(next(iter(parts.values())).task.config["split"])
    net = TransplantNetwork(task=task.config, categories={})
    net.task.load_state_dict(task.state_dict())
    net = laid_out(run, net.with_category(host.name, extractor, Adapter(channels=1, depth=0)))
    there: dict[str, Array] = {}
    changes = dict.fromkeys(
        [host.name, *parts], 0.0
    )  # the largest difference of a logit, in any image, after any insertion
    for category in changes:
        if category in parts:
            net = laid_out(
                run, net.with_category(category, parts[category].category, parts[category].adapter)
            )
        for old, before in there.items():
            changes[old] = max(changes[old], float(np.abs(outputs(run, net, old) - before).max()))
        there[category] = outputs(run, net, category)
    for category, change in changes.items():
        run.log(retention=change, by={"category": category})
    return net


def outputs(run: Run, net: TransplantNetwork, category: str) -> Array:
    """The network's logits on all test images of a category."""
    return logits_of(run, partial(net, category=category), run.tasks.by_name[category].test)[0]
