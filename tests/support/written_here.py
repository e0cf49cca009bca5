"""MLflow written in the process of a test, by the very code of the process that writes it: that
takes seconds to start, and most tests ask what is written, not by whom.
"""

from __future__ import annotations

import pytest


@pytest.fixture
def written_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started that writes MLflow."""
    # Imported for who uses it: to read the tests takes no MLflow.
    from orchestrator.session import following
    from orchestrator.tracking.writer import WriterHere

    monkeypatch.setattr(following, "Writer", WriterHere)
