"""Operations of torch that have no kernel on a GPU that gives the same bits each time, seen where
there is no GPU: a tensor on the device `meta` computes nothing, and takes every way that a GPU's
would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

# Where torch raises under `use_deterministic_algorithms`, by its documentation.
NOT_REPEATABLE = {
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "_ctc_loss_backward",
    "adaptive_max_pool2d_backward",
    "avg_pool3d_backward",
    "fractional_max_pool2d_backward",
    "grid_sampler_2d_backward",
    "histc",
    "max_unpool2d",
    "median.dim",
    "put_",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "scatter_reduce",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_linear1d_backward",
}


class Unrepeatable(TorchDispatchMode):
    """Gathers, in `found`, the names of such operations that are called meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        kwargs: Mapping[str, Any] = kwargs or {}
        # Sums of pixels' losses are added up in any order; the losses themselves are no sums.
        is_sum_of_pixels = name == "nll_loss2d_forward" and args[3] != 0
        has_weights = name == "bincount" and len(args) > 1 and args[1] is not None
        names = {name, f"{name}.{function._overloadname}"}
        if names & NOT_REPEATABLE or is_sum_of_pixels or has_weights:
            self.found.add(name)
        return function(*args, **kwargs)
