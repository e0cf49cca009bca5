"""The option `--device` of the contract suite, for pytest: `pytest -p orchestrator.testing.plugin
--device cuda`, or `pytest_plugins = ["orchestrator.testing.plugin"]` in a conftest.py.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="cpu",
        help="where the contract suite trains: cpu or cuda (default: cpu)",
    )
