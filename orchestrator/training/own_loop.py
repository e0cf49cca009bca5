"""A method's own training loop, for what `run.fit` cannot express: it keeps the law of resumption
all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orchestrator.errors import MethodError
from orchestrator.training.loop_variables import LoopVariables
from orchestrator.training.stage import Fit, Stage, check_count, not_finite


class OwnLoop:
    """The epochs of one stage whose steps are the method's. `parts` hold what changes from epoch to
    epoch: anything with `state_dict` and `load_state_dict`; tensors, arrays, dictionaries and
    lists, which are changed in place. What else the loop changes, `variables` tells.
    """

    def __init__(
        self,
        stage: Stage,
        num_epochs: int,
        parts: Mapping[str, Any],
        variables: LoopVariables,
    ) -> None:
        check_count(stage.name, "epochs", num_epochs)
        if wrong := [name for name, part in parts.items() if not _can_be_saved(part)]:
            raise MethodError(
                f"stage {stage.name!r}: {', '.join(wrong)} cannot be saved and brought back in "
                "place; pass modules and optimisers (they have state_dict), tensors, arrays, "
                "dictionaries or lists"
            )
        self.stage, self.num_epochs, self.parts = stage, num_epochs, dict(parts)
        self.images = 0
        self._variables = variables

    def __iter__(self) -> Iterator[int]:
        """Numbers, from 0, of the epochs that are still to be done."""
        try:
            # `self` is the only part: it saves what the method named.
            for epoch in self.stage.remaining(self.num_epochs, self):
                yield epoch
                self._variables.check(self.stage.name)
        # Also after `break`: what the method draws next is the same either way.
        finally:
            self._variables.forget()
            self.stage.leave()

    def curve(self, values: Mapping[str, float]) -> None:
        """Values of this epoch on the stage's curves. Raises Diverged for one that is not
        finite.
        """
        self.stage.record(values)
        if bad := not_finite(values):
            self.stage.diverge(bad)

    def state(self) -> dict[str, Any]:
        parts = {name: self._saved(name, part) for name, part in self.parts.items()}
        return {"images": self.images, "state": parts}

    def _saved(self, name: str, part: Any) -> Any:
        if hasattr(part, "state_dict"):
            return part.state_dict()
        try:
            return plain(part)
        except TypeError as error:
            raise MethodError(
                f"stage {self.stage.name!r}: {name} cannot be saved: {error}"
            ) from error

    def restore(self, saved: Mapping[str, Any]) -> None:
        for name, part in self.parts.items():
            _bring_back(part, saved["state"][name])
        self.images = saved["images"]

    def report(self) -> Fit:
        """What the loop did, as a result lists it."""
        return self.stage.report(images=self.images)


def _can_be_saved(part: Any) -> bool:
    if isinstance(part, Tensor | np.ndarray | dict | list):
        return True
    return hasattr(part, "state_dict") and hasattr(part, "load_state_dict")


def plain(value: Any) -> Any:
    """A value as a checkpoint holds it, which is loaded without pickle: tensors, plain values, and
    dictionaries and lists of these. Raises TypeError for anything else.
    """
    if isinstance(value, np.ndarray | np.generic):
        return torch.from_numpy(value.copy()) if value.ndim else value.item()
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {_key(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise TypeError(f"{type(value).__name__} is no tensor, number or text, nor a list of these")


def _key(key: Any) -> Any:
    if isinstance(key, bool | int | float | str):
        return key
    raise TypeError(f"{key!r} is a key and neither a text nor a number")


def _bring_back(part: Any, saved: Any) -> None:
    """Make a part what it was when it was saved, in place."""
    if hasattr(part, "load_state_dict"):
        part.load_state_dict(saved)
    elif isinstance(part, dict):
        was = dict(part)
        part.clear()
        part.update({name: _like(was.get(name), value) for name, value in saved.items()})
    elif isinstance(part, list):
        was_at = dict(enumerate(part))
        part[:] = [_like(was_at.get(place), value) for place, value in enumerate(saved)]
    else:
        with torch.no_grad():
            part[...] = saved.numpy() if isinstance(part, np.ndarray) else saved


def _like(before: Any, saved: Any) -> Any:
    """What was saved, in the form and on the device of what was there before the loop."""
    if isinstance(saved, Tensor) and isinstance(before, np.ndarray):
        return saved.numpy()
    is_tensor = isinstance(saved, Tensor) and isinstance(before, Tensor)
    return saved.to(before.device) if is_tensor else saved
