"""What a transplanting trial reports: errors of a category with and without its adapter, and how
far the outputs for other categories have changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from methods.network_transplanting.margins import (
    Margins,
    auc,
    balanced_error,
    best_threshold,
    foreground_iou,
    line_through,
    plain_error,
)
from orchestrator import MatrixSpec, Metric, Plot, Run, Task

METRICS = (
    Metric(
        "error",
        by=("category",),
        higher_is_better=False,
        help="Share of the category's test images (or pixels) on the wrong side.",
    ),
    Metric(
        "balanced_error",
        by=("category",),
        higher_is_better=False,
        headline=True,
        chance=0.5,
        help="Share on the wrong side, mean over images of category and background.",
    ),
    Metric(
        "auc",
        by=("category",),
        headline=True,
        chance=0.5,
        help="How often an image of the category scores above one of the background.",
    ),
    Metric(
        "calibrated_error",
        by=("category",),
        higher_is_better=False,
        optional=True,
        help="Balanced error at the threshold that is best on validation images.",
    ),
    Metric(
        "validation_error",
        by=("category",),
        higher_is_better=False,
        optional=True,
        help="Balanced error on validation images, for choosing among settings.",
    ),
    Metric(
        "own_error",
        by=("category",),
        higher_is_better=False,
        help="Balanced error of the category's own network: what transplanting aims at.",
    ),
    Metric(
        "bare_error",
        by=("category",),
        higher_is_better=False,
        help="Balanced error where extractor and task module are joined without an adapter.",
    ),
    Metric(
        "gap",
        by=("category",),
        higher_is_better=False,
        help="Balanced error of the transplanted network, less that of the category's own.",
    ),
    Metric(
        "recovery",
        by=("category",),
        help="What the adapter makes good of what joining without one costs: 1 all, 0 nothing.",
    ),
    Metric(
        "gradient_loss",
        by=("category",),
        higher_is_better=False,
        optional=True,
        help="The gradient term of equation 5 in the last epoch.",
    ),
    Metric(
        "samples",
        higher_is_better=False,
        optional=True,
        help="Images of the category that the adapter was trained on.",
    ),
    Metric(
        "error_at",
        by=("place",),
        higher_is_better=False,
        help="Balanced error of the category that was added in this place, from 1.",
    ),
    Metric(
        "margin_slope",
        by=("category",),
        optional=True,
        help="Slope of the line through the margins of test images, with the adapter against in "
        "the category's own network: their correlation times the ratio of their spreads, so that "
        "below 1 margins are smaller or agree less.",
    ),
    Metric(
        "margin_offset",
        by=("category",),
        optional=True,
        help="Margin that this line gives an image on which the own network is undecided.",
    ),
    Metric(
        "iou",
        by=("category",),
        optional=True,
        help="Intersection over union of the pixels predicted and labelled as the category.",
    ),
    Metric(
        "retention",
        by=("category",),
        higher_is_better=False,
        help="Largest change of a logit of a category that was there before; 0: none has changed.",
    ),
)
PLOTS = (Plot("balanced_error", "samples", along="samples", over=("tasks",)),)
MATRICES = (
    MatrixSpec(
        "after",
        "category",
        "task",
        headline=True,
        help="Balanced error of a category through its adapter and the host's task module.",
    ),
    MatrixSpec(
        "before",
        "category",
        "task",
        help="Balanced error of a category where nothing adapts its features.",
    ),
)


def unsuitable_tasks(host: Task, guests: Sequence[Task]) -> Iterator[str]:
    """Why these tasks are not one category each against one background. Says nothing about a task
    whose data is not known yet.
    """
    if host.digest and host.num_classes != 2:
        yield (
            f"{host.name} has {host.num_classes} classes; "
            "a category against its background has two: .binary(...)"
        )
    for guest in guests:
        if guest.digest and host.digest and guest.class_names != host.class_names:
            yield (
                f"{guest.name} has the classes {', '.join(guest.class_names)} "
                f"and the host {', '.join(host.class_names)}; "
                "give both .binary(..., called='category')"
            )


def log_errors(
    run: Run,
    guest: Task,
    *,
    transplanted: Margins,
    own: Margins,
    bare: Margins,
    validation: Margins | None,
) -> None:
    """Log the errors of one category on its test images: of the transplanted network, of the
    category's `own`, and of the join without an adapter (`bare`).

    `calibrated_error` uses the threshold that is best on validation images: it shows how much of
    the error is only an offset.
    """
    by = {"category": guest.name}
    error, own_error, bare_error = (balanced_error(*one) for one in (transplanted, own, bare))
    lost = bare_error - own_error  # what joining without an adapter costs
    run.log(
        error=plain_error(*transplanted),
        balanced_error=error,
        auc=auc(*transplanted),
        own_error=own_error,
        bare_error=bare_error,
        gap=error - own_error,
        # 1: the adapter makes good for all of that, 0: for nothing.
        recovery=(bare_error - error) / lost if lost > 0 else float("nan"),
        by=by,
    )
    slope, offset = line_through(transplanted[0], own[0])
    run.log(margin_slope=slope, margin_offset=offset, by=by)
    if guest.masks:
        run.log(iou=foreground_iou(*transplanted), by=by)
    if validation is not None:
        run.log(
            calibrated_error=balanced_error(*transplanted, best_threshold(*validation)),
            validation_error=balanced_error(*validation),
            by=by,
        )
    gradient_losses = []
    for fit in run.fits.values():
        # The term of (5), by its name in the loss.
        gradient_losses += [point.value for point in fit.curves if point.name.endswith("/back")]
    if gradient_losses:
        run.log(gradient_loss=gradient_losses[-1], by=by)


def log_all_guests(run: Run, host: Task, guests: Sequence[Task]) -> None:
    """Log the balanced error of every guest on the host's task module, without and with its
    adapter, and by the place in which it was inserted.
    """

    def of_each_guest(metric: str) -> list[float]:
        return [run.metrics[metric, (("category", guest.name),)] for guest in guests]

    for place, error in enumerate(of_each_guest("balanced_error"), start=1):
        run.log(error_at=error, by={"place": str(place)})
    names = [guest.name for guest in guests]
    for matrix, metric in (("before", "bare_error"), ("after", "balanced_error")):
        values = np.array([[error] for error in of_each_guest(metric)])
        run.matrix(matrix, rows=names, columns=[host.name], values=values)
