"""The nets of a fit and how they learn: loss, optimisers, schedule; and the frozen nets, which stay
as they came.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.errors import MethodError
from orchestrator.parts.component import state_digest
from orchestrator.training.capture import refuse_captured
from orchestrator.training.optimisers import OptimizerOf, Parameters, Schedule, all_of

Nets = Mapping[str, nn.Module]
Loss = Callable[[Any, Any], Tensor | Mapping[str, Tensor]]


class Learner:
    """The trained and the frozen nets of one fit, on its device. Frozen nets get no gradient; their
    bits are taken here and compared in `finish`.

    Raises MethodError for nets that share layers with frozen ones, for a loss that captures tensors
    and for optimisers that leave parameters out.
    """

    def __init__(
        self,
        stage: str,
        nets: Nets,
        loss: Loss,
        *,
        optimizer: OptimizerOf,
        schedule: Schedule,
        frozen: Nets,
        numerics: str,
        device: torch.device,
    ) -> None:
        _refuse_mixed(stage, nets, frozen)
        refuse_captured(loss, stage)
        self.stage, self.nets, self.frozen = stage, dict(nets), dict(frozen)
        self._loss, self._schedule = loss, schedule
        self._device, self._is_bf16 = device, numerics == "bf16"
        self._all_nets = {**self.nets, **self.frozen}
        for net in self._all_nets.values():
            # Convolutions are faster so, and every fit the same: another layout rounds differently.
            net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._freeze()
        self.parameters = _trainable(self.nets)
        self.optimizers = all_of(optimizer(self.parameters), self.parameters, stage)
        # Kept apart: an optimiser that is restored brings back the rate of that moment.
        self._base_rates = [float(group["lr"]) for group in self._groups()]

    def _freeze(self) -> None:
        parameters = [p for net in self.frozen.values() for p in net.parameters()]
        self._trainable_before = [(p, p.requires_grad) for p in parameters]
        self.certificate = {name: state_digest(net) for name, net in self.frozen.items()}
        for net in self.frozen.values():
            net.requires_grad_(False)

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def set_modes(self) -> None:
        """Trained nets in train mode, frozen ones in eval mode."""
        for net in self.nets.values():
            net.train()
        for net in self.frozen.values():
            net.eval()

    def step(self, batch: Any, progress: float) -> dict[str, Tensor]:
        """One step of the optimisers; the terms of the loss by name, in fp32, detached, on the
        device.
        """
        factor = self._schedule(progress)
        for group, rate in zip(self._groups(), self._base_rates, strict=True):
            group["lr"] = rate * factor
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        # The forward pass and the loss only; `backward` follows the types that these chose.
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_bf16):
            loss = self._loss(self._all_nets, batch)
        terms = dict(loss) if isinstance(loss, Mapping) else {"loss": loss}
        for name, value in terms.items():
            self._check_term(name, value)
        # Sums of losses, over terms here and over steps in curves, stay in fp32 whatever the
        # arithmetic in between, like weights and what the optimiser remembers.
        values = {name: value.float() for name, value in terms.items()}
        parts = list(values.values())
        total = parts[0] if len(parts) == 1 else torch.stack(parts).sum()
        total.backward()  # type: ignore[no-untyped-call]  # torch's stubs
        for optimizer in self.optimizers:
            optimizer.step()
        return {name: value.detach() for name, value in values.items()}

    def _check_term(self, name: str, value: object) -> None:
        if isinstance(value, Tensor):
            if not value.ndim:
                return
            got = f"shape {tuple(value.shape)}"
        else:
            got = type(value).__name__
        raise MethodError(
            f"stage {self.stage!r}: loss {name!r} must be a tensor with one number, got {got}"
        )

    def is_finite(self) -> bool:
        """Whether all trained weights are finite."""
        # One reduction a tensor and one read of the device: `bool` waits for it.
        finite = [parameter.detach().isfinite().all() for parameter in self.parameters.values()]
        return bool(torch.stack(finite).all())

    def weights(self) -> dict[str, dict[str, Any]]:
        """A copy of the trained nets' states, by name."""
        # state_dict alone would go on changing with the nets
        return {name: copy.deepcopy(net.state_dict()) for name, net in self.nets.items()}

    def load(self, weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring the trained nets to what `weights` gave."""
        for name, net in self.nets.items():
            net.load_state_dict(weights[name])

    def state(self) -> dict[str, Any]:
        return {
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.load(saved["nets"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)

    def finish(self) -> None:
        """Give the nets back in eval mode, the frozen ones trainable where they were before.

        Raises MethodError where the bits of a frozen net are not those it came with.
        """
        for net in self.nets.values():
            net.eval()
        for name, net in self.frozen.items():
            # All bits, running statistics included: eval mode
            # alone does not keep a loss from writing.
            if state_digest(net) != self.certificate[name]:
                raise MethodError(
                    f"stage {self.stage!r}: the frozen net {name!r} changed during the fit; "
                    "the loss writes to it"
                )
        for parameter, was_trainable in self._trainable_before:
            parameter.requires_grad_(was_trainable)


def _refuse_mixed(stage: str, nets: Nets, frozen: Nets) -> None:
    if not nets:
        raise MethodError(f"stage {stage!r}: give at least one net and one data set")
    if both := sorted(set(nets) & set(frozen)):
        raise MethodError(f"stage {stage!r}: {both} is in nets and in frozen")
    frozen_ids = {id(p) for net in frozen.values() for p in net.parameters()}
    for name, parameter in _named_parameters(nets).items():
        if id(parameter) in frozen_ids:
            raise MethodError(
                f"stage {stage!r}: {name} is trained and frozen at once; "
                "a frozen net must not share layers with a trained one"
            )


def _trainable(nets: Nets) -> Parameters:
    """Trainable parameters of all nets. Layers that several nets have in common are trained once,
    under their first name.
    """
    first: dict[int, tuple[str, nn.Parameter]] = {}
    for name, parameter in _named_parameters(nets).items():
        if parameter.requires_grad:
            first.setdefault(id(parameter), (name, parameter))
    return Parameters(dict(first.values()))


def _named_parameters(nets: Nets) -> dict[str, nn.Parameter]:
    return {
        f"{net_name}.{name}": parameter
        for net_name, net in nets.items()
        for name, parameter in net.named_parameters()
    }
