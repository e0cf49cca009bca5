"""Components: trained pieces kept for reuse. A part is a module that can be built again from its
keyword arguments; no pickle anywhere.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
import torch
from torch import nn

from orchestrator.errors import CorruptError, MethodError
from orchestrator.spec.canonical import canonical_json


class Part(nn.Module):
    """A module that captures its keyword arguments (JSON values) as `config`:
    `type(part)(**part.config)` has the same shape.

    Subclasses take keyword arguments only. What `__init__` draws at random is overwritten by the
    stored weights when a component is loaded.
    """

    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _capturing(cls.__init__)  # type: ignore[method-assign]

    @property
    def path(self) -> str:
        return f"{type(self).__module__}:{type(self).__qualname__}"

    def joined(self, other: Part) -> nn.Module:
        """The network, images to logits, that this part makes together with the one it was kept
        with as `requires`, and shares nothing with.
        """
        raise MethodError(
            f"{type(self).__name__} does not say how it is joined with {type(other).__name__}: define joined(other)"
        )


def _capturing(init: Any) -> Any:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def captured(self: Part, *args: Any, **kwargs: Any) -> None:
        if (
            "config" not in self.__dict__
        ):  # the outermost class's arguments, not those it hands to its base
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            config = {k: v for i, (k, v) in enumerate(bound.arguments.items()) if i}
            try:
                canonical_json(config)
            except (TypeError, ValueError) as error:
                raise MethodError(
                    f"{type(self).__name__}: its arguments must be JSON values to be stored with it: {error}"
                ) from error
            self.__dict__["config"] = config
        init(self, *args, **kwargs)

    return captured


def state_bytes(module: nn.Module) -> bytes:
    """All parameters and buffers in safetensors' format; equal states give equal bytes."""
    state = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    return bytes(safetensors.torch.save(dict(sorted(state.items()))))


def state_digest(module: nn.Module) -> str:
    """SHA-256 of a module's state: equal digests mean equal bits."""
    sha = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


@dataclass(frozen=True)
class ComponentRecord:
    """A component as a result lists it: its name and labels, how to build it, and the digest of its
    weights' blob.
    """

    name: str
    labels: Mapping[str, str]
    path: str
    config: Mapping[str, Any]
    blob: str
    requires: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in vars(self).items()}

    @property
    def title(self) -> str:
        return self.name + "".join(f"-{v}" for v in self.labels.values())


def rebuild(path: str, config: Mapping[str, Any], weights: bytes) -> Part:
    """The part that was kept, in eval mode on the CPU. Raises CorruptError where weights and
    configuration do not fit.
    """
    from orchestrator.spec.trial import locate

    generator = torch.random.get_rng_state()
    try:
        part = locate(path)(**config)
        part.load_state_dict(safetensors.torch.load(weights), strict=True)
    except (RuntimeError, TypeError) as error:
        raise CorruptError(
            f"the stored weights do not fit {path} as it is today: {error}"
        ) from error
    finally:
        torch.random.set_rng_state(
            generator
        )  # building draws weights that are thrown away; nobody's randomness may move for it
    if not isinstance(part, Part):
        raise CorruptError(f"{path} is not a Part")
    return part.eval()
