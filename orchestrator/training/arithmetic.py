"""Torch as a trial's key says, whatever was set in the process before and however it was set."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import torch

from orchestrator.errors import MethodError

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
REPEATABLE = (":4096:8", ":16:8")  # workspaces with which cuBLAS gives the same bits each time
NOT_REPEATABLE = "does not have a deterministic implementation"  # torch's own words


@contextlib.contextmanager
def arithmetic(threads: int, numerics: str, device: torch.device) -> Iterator[None]:
    """Compute with this many threads (the sum of a convolution depends on how many share it), by
    algorithms that give the same bits each time, and with tf32's short cuts on a GPU only where
    `numerics` asks for them; on a CPU fp32 is always whole. What was set before is set again.

    On a GPU, fp32 promises equal bits: an operation that has no kernel for that raises MethodError.
    tf32 and bf16 promise none there and take what is fastest.

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
    promises_bits = numerics == "fp32" and device.type == "cuda"
    try:
        with _repeatable() if promises_bits else contextlib.nullcontext():
            yield
    # In a notebook, or between two tests, the process goes on with its own settings.
    finally:
        torch.set_num_threads(threads_before)
        cudnn.deterministic, cudnn.benchmark = flags_before
        backends = (*_on_gpu(), *_on_cpu())
        for backend, precision in zip(backends, precisions_before, strict=True):
            backend.fp32_precision = precision


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """Kernels of a GPU that give the same bits each time, and no others."""
    memory: Any = torch.utils.deterministic
    mode_before = torch.get_deterministic_debug_mode()
    variable_before, filling_before = os.environ.get(CUBLAS), memory.fill_uninitialized_memory
    # Torch refuses all products of matrices where cuBLAS may not repeat: there it only warns.
    torch.set_deterministic_debug_mode("error" if _cublas_repeats() else "warn")
    # New tensors would be filled with NaN, a kernel each: an aid in finding what reads them unset.
    memory.fill_uninitialized_memory = False
    if variable_before not in REPEATABLE:
        os.environ[CUBLAS] = REPEATABLE[0]
    try:
        yield
    except RuntimeError as error:
        if NOT_REPEATABLE not in str(error):
            raise
        operation = str(error).partition(NOT_REPEATABLE)[0].strip()
        raise MethodError(
            f"{operation}: this operation gives other bits each time on a GPU, and fp32 promises "
            "equal ones. Use another one (docs/adding-a-method.md, On a GPU), or the numerics "
            "tf32 or bf16, which promise none"
        ) from error
    finally:
        torch.set_deterministic_debug_mode(mode_before)
        memory.fill_uninitialized_memory = filling_before
        if variable_before is None:
            os.environ.pop(CUBLAS, None)
        else:
            os.environ[CUBLAS] = variable_before


@functools.cache
def _cublas_repeats() -> bool:
    """Whether cuBLAS gives the same bits each time in this process. It goes by its variable when it
    begins, and torch looks at that once, too: the first answer stays.
    """
    # Not begun yet: it will find what is set while a trial computes.
    cuda: Any = torch.cuda
    return not cuda.is_initialized() or os.environ.get(CUBLAS) in REPEATABLE


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
