"""A run in this process: in a notebook, or under a debugger."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestrator.data.resolve import resolve
from orchestrator.spec.trial import Trial
from orchestrator.store.store import Store
from orchestrator.training.execute import needs_of, run_with_needs
from orchestrator.training.run import Run


def local_run(trial: Trial, *, device: str = "cpu", store: str | Path | None = None) -> Run:
    """A run of `trial` in this process: its needs are executed first, into `store` or a folder of
    its own. Nothing of the trial itself has run yet.

    Example:
        >>> run = local_run(trial)  # doctest: +SKIP
        >>> run.trial.method.train(run)  # doctest: +SKIP
        >>> run.metrics  # doctest: +SKIP
    """
    # Not removed at the end: the run goes on reading the results of its needs from it.
    opened = Store(store or tempfile.mkdtemp(prefix="spolia-local-"))
    resolved = resolve(trial, opened)
    run_with_needs(resolved, opened, device=device)
    return Run(resolved, needs_of(resolved, opened), device=device)
