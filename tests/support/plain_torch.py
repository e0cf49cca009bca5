"""Torch on a CPU, without what it does there for GPUs, which no test looks at where there is none:
`torch.manual_seed` notes for each kind of device where it was called, with the whole stack, and
that takes longer than an epoch of a test's network.
"""

from __future__ import annotations

import sys

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    torch = sys.modules.get("torch")  # not in a process that only hands out the tests
    if torch is not None and not torch.accelerator.is_available():
        torch.manual_seed = torch.default_generator.manual_seed
