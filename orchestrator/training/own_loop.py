"""A method's own training loop, for what `run.fit` cannot express: it keeps the law of resumption
all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.errors import MethodError
from orchestrator.training.stage import Fit, Stage, check_count, not_finite


class OwnLoop:
    """The epochs of one stage whose steps are the method's. `parts` hold what changes from epoch to
    epoch: anything with `state_dict` and `load_state_dict`.
    """

    def __init__(self, stage: Stage, num_epochs: int, parts: Mapping[str, Any]) -> None:
        check_count(stage.name, "epochs", num_epochs)
        if wrong := [name for name, part in parts.items() if not _can_be_saved(part)]:
            raise MethodError(
                f"stage {stage.name!r}: {', '.join(wrong)} cannot be saved; "
                "pass modules and optimisers (they have state_dict)"
            )
        self.stage, self.num_epochs, self.parts = stage, num_epochs, dict(parts)
        self.images = 0

    def __iter__(self) -> Iterator[int]:
        """Numbers, from 0, of the epochs that are still to be done."""
        try:
            # `self` is the only part: it saves what the method named.
            yield from self.stage.remaining(self.num_epochs, self)
        # Also after `break`: what the method draws next is the same either way.
        finally:
            self.stage.leave()

    def curve(self, values: Mapping[str, float]) -> None:
        """Values of this epoch on the stage's curves. Raises Diverged for one that is not
        finite.
        """
        self.stage.record(values)
        if bad := not_finite(values):
            self.stage.diverge(bad)

    def state(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {"images": self.images, "state": parts}

    def restore(self, saved: Mapping[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(saved["state"][name])
        self.images = saved["images"]

    def report(self) -> Fit:
        """What the loop did, as a result lists it."""
        return self.stage.report(images=self.images)


def _can_be_saved(part: Any) -> bool:
    return hasattr(part, "state_dict") and hasattr(part, "load_state_dict")
