"""How long planning takes: 10,000 cells against an empty store, and a finished sweep of 1,000
trials found complete.

Imports and the first look at the data set are apart; each measurement is the best of three, in
processes of their own.

    python benchmarks/planning.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time

BAR = 3.0


def ten_thousand() -> tuple[float, int, int]:
    from methods.compatible_features import CompatibleFeatures
    from methods.networks import resnet8
    from methods.recombine import Recombine
    from orchestrator import Store, Sweep, digits, make_plan, product
    from orchestrator.data.resolve import resolve_task

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        resolve_task(digits, store)
        began = time.monotonic()
        networks = CompatibleFeatures.grid(
            ingredients=[(), ("rotation",), ("common",), ("identical",)],
            split=["stem", "stage1", "stage2", "stage3", "pool"],
            epochs=[10, 20, 30, 40, 50],
        )
        tasks = (digits.classes(0, 1, 2).named("a"), digits.classes(0, 1, 3).named("b"))
        cells = product(
            Recombine.grid(of=networks), network=resnet8(), tasks=tasks, seed=range(100)
        )
        plan = make_plan("planning", Sweep(question="?", cells=cells, expect=10_000), store)
        plan.todo, plan.unshared()
        return time.monotonic() - began, len(plan.cells), len(plan.trials)


def finished() -> tuple[float, int, int]:
    from orchestrator import Store, Sweep, digits, make_plan, product
    from orchestrator.data.resolve import resolve_task

    sys.path.insert(0, __file__.rsplit("/", 1)[0])
    from nothing import Nothing

    from orchestrator.training.execute import execute

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        resolve_task(digits, store)
        sweep = Sweep(question="?", cells=product(Nothing.grid(), seed=range(1000)), expect=1000)
        for trial in make_plan("finished", sweep, store).todo:
            execute(trial, store)
        began = time.monotonic()
        plan = make_plan("finished", sweep, Store(folder))
        assert plan.is_complete
        return time.monotonic() - began, len(plan.cells), len(plan.trials)


def main() -> int:
    if len(sys.argv) > 1:
        seconds, cells, trials = {"plan": ten_thousand, "finished": finished}[sys.argv[1]]()
        print(
            json.dumps(
                [seconds, cells, trials, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
            )
        )
        return 0
    print(f"{'what':42} {'cells':>6} {'trials':>7} {'seconds':>8} {'MiB':>6}")
    worst = 0.0
    for what, title in (
        ("plan", "10,000 cells against an empty store"),
        ("finished", "1,000 finished trials found complete"),
    ):
        found = [
            json.loads(
                subprocess.run(
                    [sys.executable, __file__, what], capture_output=True, text=True, check=True
                ).stdout
            )
            for _ in range(3)
        ]
        seconds, cells, trials, memory = min(found)
        print(f"{title:42} {cells:6} {trials:7} {seconds:8.2f} {memory:6.0f}")
        worst = max(worst, seconds)
    print(f"planning, seconds of the slower: {worst:.2f} (bar {BAR:g})")
    return 0 if worst <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
