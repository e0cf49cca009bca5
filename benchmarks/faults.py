"""Faults, counted: what a sweep loses, doubles or leaves running where things go wrong.

    python benchmarks/faults.py --part calls      an error, then a kill, at every call of store,
                                                  scratch and tracker
    python benchmarks/faults.py --part kills      random processes killed at random moments
    python benchmarks/faults.py --part sweeps     sweep files that were changed at random
    python benchmarks/faults.py --part stores     stores that were changed at random

After each disturbance the same command runs again. Then every trial must have a result with the
bits of an undisturbed run, no committed result may have been made again, MLflow must have every run
once and none left RUNNING, and whatever the first command said must have been true. Bars: 0 lost,
0 doubled, 0 left running, 0 otherwise wrong.

A part goes on where it stopped: `--folder` keeps what was tried (default: a folder of this user's
cache). `--fresh` begins anew, `--cases` limits how many there are, `--seed` draws others.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from disturbed import sweeps
from disturbed.ledger import Ledger

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

PARTS = ("calls", "kills", "sweeps", "stores")
NUM_CASES = {"calls": 0, "kills": 100, "sweeps": 500, "stores": 500}  # 0: as many as there are


def import_all() -> None:
    """Once, before anything forks."""
    import matplotlib.backends.backend_agg
    import mlflow.store.tracking.sqlalchemy_store
    import sqlalchemy.orm
    import torch
    import torch._dynamo  # which torch brings with the first optimiser: 2 s in every child

    import methods.recombine
    import orchestrator.analysis.report
    import orchestrator.session.running
    import orchestrator.tracking.process
    from orchestrator import testing
    from orchestrator.spec.registry import registered

    registered()
    sqlalchemy.orm.configure_mappers()
    del matplotlib, mlflow, methods, orchestrator, testing
    torch.set_num_threads(1)


def run(part: str, folder: Path, num_cases: int, seed: int) -> Ledger:
    """Run a part, or what is left of it."""
    ledger = Ledger(folder / part / f"cases-{seed}.jsonl")
    place = folder / part
    if part == "calls":
        from disturbed import calls

        file = sweeps.write(place / "sweep", "disturbed_calls", sweeps.TRAINED)
        every = _every(num_cases)
        calls.run_part(file, place, ledger, lambda _, n: n % every == seed % every)
    elif part == "kills":
        from disturbed import kills

        kills.run_part(place, ledger, num_cases, seed)
    else:
        from disturbed import mutations

        mutations.run_part(part, place, ledger, num_cases, seed)
    return ledger


def _every(num_cases: int) -> int:
    """Of how many calls one is broken, for about so many cases (0: all)."""
    return max(1, 1000 // num_cases) if num_cases else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cases", type=int, help="about how many (default: all of a part)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="forget what was tried")
    options = parser.parse_args()

    from orchestrator.store.files import cache_folder

    folder = options.folder or cache_folder() / "faults"
    if options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    import_all()
    print(f"faults of seed {options.seed}, kept in {folder}", flush=True)
    ledgers = []
    for part in options.part or PARTS:
        num_cases = NUM_CASES[part] if options.cases is None else options.cases
        ledgers.append(run(part, folder, num_cases, options.seed))
        print("\n".join(["", part, *ledgers[-1].table()]), flush=True)
    cases = [case for ledger in ledgers for case in ledger]
    for case in cases:
        if not case.is_clean:
            print(f"  {case.name}: {'; '.join(case.defects)} [{case.after}] {case.detail[:200]}")
    lost = sum(case.lost for case in cases)
    doubled = sum(case.doubled for case in cases)
    running = sum(case.left_running for case in cases)
    wrong = sum(bool(case.defects) for case in cases)
    num_cases = sum(case.count for case in cases)
    print(
        f"FAULTS: {num_cases} cases, {lost} lost, {doubled} doubled, {running} left running, "
        f"{wrong} otherwise wrong (bar 0, 0, 0, 0)"
    )
    return 1 if lost or doubled or running or wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
