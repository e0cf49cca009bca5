"""Components: trained pieces kept for reuse. A part is a module that can be built again from its
keyword arguments; no pickle anywhere.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import safetensors.torch
import torch
from torch import Tensor, nn

from orchestrator.errors import CorruptError, MethodError
from orchestrator.spec.canonical import canonical_json
from orchestrator.spec.classes import class_at


class Part(nn.Module):
    """A module that can be built again: `type(part)(**part.config)` has the same shape, and the
    stored weights overwrite whatever `__init__` drew at random.

    `config` holds the arguments, defaults included, with which the part was made. It is captured
    around the `__init__` of the part's own class, so a subclass writes nothing for it; but it takes
    keyword arguments only, and their values must be JSON values. MethodError says so when the part
    is made.

        class Adapter(Part):
            def __init__(self, *, channels: int, bias: bool = False) -> None:
                super().__init__()
                self.conv = nn.Conv2d(channels, channels, 1, bias=bias)

        Adapter(channels=8).config  # {"channels": 8, "bias": False}

    Some parts compute nothing alone: a mask needs the network whose weights it masks, a stitch the
    two networks between which it stands. Such a part is kept with `requires=` that component, or
    several by name, and `joined` says what network they make together.
    """

    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            # Only where a class defines its own: an inherited one is wrapped already.
            cls.__init__ = _capturing(cls.__init__)  # type: ignore[method-assign]

    @property
    def path(self) -> str:
        """`module:Class`, under which another process finds the class."""
        return f"{type(self).__module__}:{type(self).__qualname__}"

    def joined(self, *other: Any, **others: Any) -> nn.Module:
        """The network, images to logits, that this part makes with the component it requires. It is
        what `Component.ready` gives, and so what is exported and served.

        The default is for parts whose `forward` takes images and the other part:
        `PartWithBase(self, other)`. Override it as `joined(self, other)` where a plain network
        computes the same (a mask: the base with masked weights) or where the part takes something
        else (a head: features). A part that requires several components by name is given them under
        these names, and always overrides it: `joined(self, front, back)`, for one that is kept with
        `requires={"front": ..., "back": ...}`. What it is given are the modules of these
        components, loaded anew each time, so they may be changed.

        Raises MethodError where `forward` takes one input and nothing is overridden.
        """
        if others or len(other) != 1:
            raise MethodError(
                f"{type(self).__name__} does not say how it is joined with {', '.join(others)}: "
                f"define joined(self, {', '.join(others)})"
            )
        if len(inspect.signature(self.forward).parameters) != 2:
            raise MethodError(
                f"{type(self).__name__} does not say how it is joined with "
                f"{type(other[0]).__name__}: define joined(other). Two networks are joined at a "
                "split point: join(a, b, split=...)"
            )
        return PartWithBase(self, other[0])


class PartWithBase(nn.Module):
    """A part and the network it computes with as one module of images: `part(x, base)`. Both are
    the modules given, not copies, so it can be measured while they are trained.
    """

    def __init__(self, part: nn.Module, base: nn.Module) -> None:
        super().__init__()
        self.part = part
        self.base: Any = base  # a module; its class is the part's business

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] to what the part makes of them with its base."""
        return cast(Tensor, self.part(x, self.base))


def _capturing(init: Any) -> Any:
    """`init`, but the arguments it is called with are left as `config`."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def captured(self: Part, *args: Any, **kwargs: Any) -> None:
        # The outermost class's arguments count, not those that it hands to its base class.
        if "config" not in self.__dict__:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            _, *arguments = bound.arguments.items()  # without self
            self.__dict__["config"] = _checked(type(self), dict(arguments))
        init(self, *args, **kwargs)

    return captured


def _checked(cls: type[Part], config: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical_json(config)  # only to see whether it can be written
    except (TypeError, ValueError) as error:
        raise MethodError(
            f"{cls.__name__}: its arguments must be JSON values to be stored with it: {error}"
        ) from error
    return config


def state_bytes(module: nn.Module) -> bytes:
    """All parameters and buffers in safetensors' format; equal states give equal bytes."""
    # Safetensors refuses tensors that share memory, and keeps no other layout than contiguous.
    state = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    return bytes(safetensors.torch.save(dict(sorted(state.items()))))  # sorted: one state, one file


def state_digest(module: nn.Module) -> str:
    """SHA-256 of a module's state: equal digests mean equal bits."""
    sha = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        # Bytes alone would not tell [2, 3] from [3, 2], or one layer's weights from another's.
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


@dataclass(frozen=True)
class ComponentRecord:
    """A component as a result lists it: its name and labels, how to build it, and the digest of its
    weights' blob. `requires` is empty, or what is kept of the component that this one cannot be
    used without: the keys `component` (its reference), `blob`, `path`, `config` and `requires`.
    Where there are several, it holds such a pin of each by its name.
    """

    name: str
    labels: Mapping[str, str]
    path: str
    config: Mapping[str, Any]
    blob: str
    requires: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in vars(self).items()}

    def pinned(self, pin: Mapping[str, Any]) -> ComponentRecord:
        """The component of this name and labels as another one that requires it has kept it."""
        kept = {name: pin[name] for name in ("path", "config", "blob", "requires")}
        return replace(self, **kept)

    @property
    def pins(self) -> dict[str, Mapping[str, Any]]:
        """What is kept of each component that this one requires, by name; the name of an only one
        is empty.
        """
        return pins_in(self.requires)

    @property
    def title(self) -> str:
        """`network-a`: the name and the labels' values."""
        return self.name + "".join(f"-{v}" for v in self.labels.values())


def pins_in(requires: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The pins that the field `requires` of a component holds, by name; see
    `ComponentRecord.pins`.
    """
    if not requires:
        return {}
    # Of an only one the pin itself is there, and its reference is a text; a pin is a mapping.
    return {"": requires} if isinstance(requires.get("component"), str) else dict(requires)


def rebuild(path: str, config: Mapping[str, Any], weights: bytes) -> Part:
    """The part that was kept, in eval mode on the CPU. Raises PlanError where its class cannot be
    loaded or is no Part (nothing is called then), CorruptError where weights and configuration do
    not fit.
    """
    cls = class_at(path, Part)
    # Building draws weights that are thrown away; nobody's randomness may move for it.
    generator = torch.random.get_rng_state()
    try:
        part = cls(**config)
        part.load_state_dict(safetensors.torch.load(weights), strict=True)
    except (RuntimeError, TypeError) as error:
        raise CorruptError(
            f"the stored weights do not fit {path} as it is today: {error}"
        ) from error
    finally:
        torch.random.set_rng_state(generator)
    return part.eval()
