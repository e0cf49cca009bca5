"""A sweep in small, in a store that is thrown away: a minute before a thousand GPU hours."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from orchestrator.planning.choose import smoke
from orchestrator.planning.plan import make_plan
from orchestrator.session.choices import ExecutorName
from orchestrator.session.display import Display
from orchestrator.session.places import Places
from orchestrator.session.running import RunSummary, run_sweep
from orchestrator.spec.sweep import Sweep
from orchestrator.store.store import Store


def run_smoke(
    name: str,
    part: Sweep,
    places: Places,
    executor: ExecutorName,
    slots: int | None,
    display: Display,
) -> RunSummary:
    """Run a sweep, or a part of it, in small. The store is there as long as the summary's results
    are used.
    """
    made = smoke(part)
    size = f"{len(made.sweep.cells)} settings of {len(part.cells)} cells"
    display.say(f"Smoke run: {size}, small, in a store that is thrown away.")
    if made.smaller:
        display.say(f"Smaller than the sweep means them: {', '.join(made.smaller)}.")
    folder = tempfile.mkdtemp(prefix="spolia-smoke-")
    try:
        # Nothing of it reaches MLflow: small results would stand beside real ones.
        within = places.within(Path(folder))
        site = within.site_of_run(executor, slots=slots)
        store = Store(within.home.store)
        store.prepare()
        plan = make_plan(name, made.sweep, store)
        display.planned(plan)
        summary = run_sweep(
            plan, made.sweep, within.home, site, executor.value, display, is_kept=False
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # Results read matrices and networks from it as long as they are used.
    weakref.finalize(summary.results.store, shutil.rmtree, folder, ignore_errors=True)
    return summary
