"""The training loop behind `run.fit`: one for every method, with what authors get wrong taken care
of. See `orchestrator.training.stage` for how it is resumed.
"""

from __future__ import annotations

from torch import Tensor

from orchestrator.training.evaluation import Evaluation
from orchestrator.training.feeds import Feeds
from orchestrator.training.learner import Learner
from orchestrator.training.stage import Fit, Stage, not_finite


def fit(stage: Stage, feeds: Feeds, learner: Learner, evaluation: Evaluation) -> Fit:
    """Train the learner's nets on the feeds, from the stage's last checkpoint if there is one.

    Raises Diverged at the end of the first epoch whose loss or weights are not finite.
    """
    for epoch in stage.remaining(feeds.num_epochs, learner, evaluation):
        losses = _one_epoch(epoch, feeds, learner)
        stage.record(losses)
        stage.loss = sum(losses.values())
        # The last step of an epoch may spoil the weights with every loss still finite.
        weights = [] if learner.is_finite() else ["a weight"]
        if bad := not_finite(losses) or weights:
            stage.diverge(bad)
        evaluation.after_epoch(learner)
    evaluation.finish(learner)
    learner.finish()
    report = stage.report(
        steps=feeds.steps_of(stage.epoch),
        images=feeds.images_of(stage.epoch),
        frozen=learner.certificate,
        selected=evaluation.selected,
    )
    # Last of all, so that nothing in this fit moves what is drawn after it.
    stage.leave()
    return report


def _one_epoch(epoch: int, feeds: Feeds, learner: Learner) -> dict[str, float]:
    """The terms of the loss by name, means over the steps of the epoch."""
    learner.set_modes()
    sums: dict[str, Tensor] = {}
    for step, batch in enumerate(feeds.epoch(epoch)):
        for name, value in learner.step(batch, feeds.progress(epoch, step)).items():
            sums[name] = sums[name] + value if name in sums else value
    # Sums stay on the device until here: reading one waits for the device.
    return {name: float(total) / feeds.steps_in(epoch) for name, total in sums.items()}
