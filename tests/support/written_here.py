"""MLflow written in the process of a test, by the very code of the process that writes it: that
takes seconds to start, and most tests ask what is written, not by whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def writing_here() -> Iterator[None]:
    """Meanwhile no process is started that writes MLflow."""
    # Imported for who uses it: to read the tests takes no MLflow.
    from orchestrator.session import following
    from orchestrator.tracking.writer import WriterHere

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "Writer", WriterHere)
        yield


@pytest.fixture
def written_here() -> Iterator[None]:
    """No process is started that writes MLflow."""
    with writing_here():
        yield
