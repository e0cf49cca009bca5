"""A run in this process: in a notebook, or under a debugger."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from orchestrator.data.resolve import resolve
from orchestrator.errors import PlanError
from orchestrator.spec.classes import homeless
from orchestrator.spec.naming import class_paths
from orchestrator.spec.trial import Trial, needs_first
from orchestrator.store.store import Store
from orchestrator.training.execute import needs_of, run_with_needs
from orchestrator.training.run import Run


def local_run(trial: Trial, *, device: str = "cpu", store: str | Path | None = None) -> Run:
    """A run of `trial` in this process: its needs are executed first, into `store` or a folder of
    its own, which goes away when the process ends normally. Nothing of the trial itself has run
    yet.

    Classes of a notebook will do as long as their results stay in a folder of their own: in a store
    they would be found by name, and a name of a notebook says nothing of what it was. So with
    `store` PlanError is raised for needs of such classes.

    Example:
        >>> run = local_run(trial)  # doctest: +SKIP
        >>> run.trial.method.train(run)  # doctest: +SKIP
        >>> run.metrics  # doctest: +SKIP
    """
    opened = Store(store or _folder_until_exit())
    resolved = resolve(trial, opened)
    if store is not None:
        _refuse_homeless(resolved)
    run_with_needs(resolved, opened, device=device)
    return Run(resolved, needs_of(resolved, opened), device=device)


def _folder_until_exit() -> str:
    """A new folder. It outlives its run, whose results are read from it when they are wanted."""
    folder = tempfile.mkdtemp(prefix="spolia-local-")
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: str, maker: int) -> None:
    # A process that was forked has its parent's hooks, and the parent still needs the folder.
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_homeless(trial: Trial) -> None:
    paths = (path for need in needs_first(trial) for path in class_paths(need))
    problems = list(filter(None, map(homeless, dict.fromkeys(paths))))
    if problems:
        raise PlanError(f"needs of {trial.label} cannot be kept in a store:", problems)
