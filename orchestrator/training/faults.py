"""Whose fault an exception is: the trial's, its process's, its machine's, of data that are missing
here and perhaps nowhere else, or of a share of a GPU that is too small.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import torch

from orchestrator.data.root import data_root
from orchestrator.errors import CorruptError, MissingDataError, StoreError
from orchestrator.training.outcome import Fault

# No space, no quota, a file system that has turned read-only, a disk that cannot be read.
OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
# Whoever takes memory beside torch says in a way of its own that none is left: CUDA for what it
# needs in a process at all, cuBLAS and cuDNN for their workspaces.
CRAMPED = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)
# What the older ways of telling begin with; newer ones raise torch.AcceleratorError.
OF_THE_GPU = ("CUDA error", "cuDNN error", "CUDA driver error", "NCCL error")


def fault_of(error: BaseException) -> Fault:
    """Whose fault an exception is. Running out of GPU memory is a matter of the share that was set
    aside for the trial.
    """
    for cause in _chain(error):
        if isinstance(cause, torch.OutOfMemoryError) or _finds_no_memory(cause):
            return "memory"
        if isinstance(cause, torch.AcceleratorError) or _is_of_the_gpu(cause):
            # The process cannot be saved: every later call of CUDA fails, too. Whether the trial
            # did it or the GPU is broken, another process will show.
            return "worker"
        if isinstance(cause, OSError) and cause.errno in OF_THE_DISK:
            return "node"
        # One set may be missing everywhere; all of them are on a node whose mount is not there.
        if isinstance(cause, MissingDataError):
            return "node" if _has_no_data_folder() else "data"
        # A record that is not what was written is so on every node; a store that does not
        # answer here may answer elsewhere.
        if isinstance(cause, StoreError) and not isinstance(cause, CorruptError):
            return "node"
    return "trial"


def _has_no_data_folder() -> bool:
    root = data_root()
    return root is not None and not root.is_dir()


def _finds_no_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, RuntimeError) and any(words in text for words in CRAMPED)


def _is_of_the_gpu(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and str(error).startswith(OF_THE_GPU)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it came from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
