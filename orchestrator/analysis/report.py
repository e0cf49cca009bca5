"""One HTML page a sweep, which needs no other file; see `orchestrator.analysis.page`."""

from __future__ import annotations

from pathlib import Path

from orchestrator.analysis.page.model import page_model
from orchestrator.analysis.page.rendering import rendered
from orchestrator.analysis.results import Results
from orchestrator.store.files import appears_whole


def report(results: Results) -> str:
    """The page."""
    return rendered(page_model(results))


def write(results: Results, path: Path) -> None:
    """Write the page; it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = report(results)
    with appears_whole(path) as temporary:  # somebody may be looking at the page that is there
        temporary.write_text(page)
