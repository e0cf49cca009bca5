"""Torch as a trial's key says, whatever was set in the process before and however it was set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def arithmetic(threads: int, numerics: str) -> Iterator[None]:
    """Compute with this many threads (the sum of a convolution depends on how many share it), by
    algorithms that give the same bits each time, and with tf32's short cuts on a GPU only where
    `numerics` asks for them; on a CPU fp32 is always whole. What was set before is set again.

    Torch has two ways to say how fp32 is computed. Reading the older one (`allow_tf32`,
    `set_float32_matmul_precision`) raises where the newer one (`fp32_precision`) said something
    else, so only the newer one is used here: what it says is what the kernels do.
    """
    threads_before = torch.get_num_threads()
    cudnn = torch.backends.cudnn
    flags_before = cudnn.deterministic, cudnn.benchmark
    precisions_before = [backend.fp32_precision for backend in (*_on_gpu(), *_on_cpu())]
    torch.set_num_threads(threads)
    # `benchmark` would choose algorithms by time, and so by what else the machine does.
    cudnn.deterministic, cudnn.benchmark = True, False
    for backend in _on_gpu():
        # bf16 is the learner's affair (autocast); what it leaves in fp32 is exact.
        backend.fp32_precision = "tf32" if numerics == "tf32" else "ieee"
    for backend in _on_cpu():
        backend.fp32_precision = "ieee"
    try:
        yield
    # In a notebook, or between two tests, the process goes on with its own settings.
    finally:
        torch.set_num_threads(threads_before)
        cudnn.deterministic, cudnn.benchmark = flags_before
        backends = (*_on_gpu(), *_on_cpu())
        for backend, precision in zip(backends, precisions_before, strict=True):
            backend.fp32_precision = precision


def _on_gpu() -> tuple[Any, ...]:
    """What has an fp32 precision of its own on a GPU; all that is above them only sets defaults."""
    cuda: Any = torch.backends.cuda
    cudnn: Any = torch.backends.cudnn
    return cuda.matmul, cudnn.conv, cudnn.rnn


def _on_cpu() -> tuple[Any, ...]:
    """The same on a CPU."""
    mkldnn: Any = torch.backends.mkldnn
    return mkldnn.matmul, mkldnn.conv, mkldnn.rnn


def default_device() -> str:
    """The GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
