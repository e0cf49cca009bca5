"""What a driver's own work costs where a sweep is large. Nothing is trained.

* trials: 20,000 trials that do nothing, from plan to tables, with progress drawn and without Ray
  and MLflow: the ledger that Ray's side asks for lots (`orchestrator.executors.lots`) is answered
  at once, with a record that one trial really left, under the key of each. The rate is by CPU
  seconds of the driver, writing to the store included; memory is the most that the process ever
  had, torch and the tables included.
* progress: one line of progress and all that a terminal shows beside it, half-way through that
  many trials, against the same with 100.
* matrices: `benchmarks/large_matrices.py` with few settings, and what a picture of 256 x 256
  entries of noise takes in MLflow.
* listing: the results of a store on S3. The server is one of this file, which speaks the few
  requests that are needed and waits 30 ms before each answer (moto goes through all keys for every
  thousand of them). Then some records are read, from there and from their local copies.

    python benchmarks/scale.py
    python benchmarks/scale.py --parts trials,progress --trials 2000
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RATE, MEMORY = 0.9, 2048.0  # of the first thousand's; MiB
PROGRESS = 3.0  # times what it takes with 100 trials
PICTURE = 300_000  # bytes
LISTING = 10.0  # seconds
SLOTS = 8
READ = 500  # records

Figure = tuple[str, float, float, bool]
"""A name, what was measured, the bar, and whether that is met."""


def plan_of(trials: int, folder: Path) -> tuple[Any, Any, Any]:
    from nothing import Nothing

    from orchestrator import Store, Sweep, make_plan, product

    store = Store(folder / "store")
    store.prepare()
    cells = product(Nothing.grid(), seed=range(trials))
    sweep = Sweep(question="How large?", cells=cells, expect=trials)
    return make_plan("scale", sweep, store), sweep, store


def drain(queue: Any, store: Any, listener: Any, template: Mapping[str, Any]) -> list[float]:
    """CPU seconds at which each trial had ended."""
    from orchestrator.executors.lots import Lots
    from orchestrator.executors.placement import Nodes, place_all, this_machine
    from orchestrator.executors.site import Site
    from orchestrator.training.attempts import Finished
    from orchestrator.training.outcome import Outcome

    placements = place_all(queue.trials.values(), Site(Path()), Nodes((this_machine(),)))
    queue.at_once = SLOTS
    ledger = Lots(queue, listener, store, SLOTS, placements)
    ended = []
    while not ledger.is_finished():
        lot = ledger.take(None)
        for key in lot.keys:
            store.commit({**template, "key": key})
            ended.append(time.process_time())
        ledger.heard(lot, [Finished(Outcome(key, "done", 0.001)) for key in lot.keys])
    return ended


def trials_part(options: argparse.Namespace) -> list[Figure]:
    from rich.console import Console

    from orchestrator import Results, make_plan
    from orchestrator.cli.progress import Progress
    from orchestrator.planning.queue import Queue
    from orchestrator.training.execute import execute

    thousand = min(1000, options.trials // 3)
    with tempfile.TemporaryDirectory() as name:
        plan, sweep, store = plan_of(options.trials, Path(name))
        first, *_ = plan.trials.values()
        assert execute(first, store).kind == "done"
        template = dict(store.find(first.key))
        queue = Queue(make_plan("scale", sweep, store))
        # Live, as on a terminal: it is drawn by a thread of its own, twice a second.
        console = Console(file=io.StringIO(), force_terminal=True, width=80)
        with Progress(console, queue, store) as progress:
            began = time.process_time()
            ended = drain(queue, store, progress, template)
        after = make_plan("scale", sweep, store)
        assert after.is_complete
        Results(after, store).write(Path(name) / "tables")
    spent = [ended[thousand] - ended[0], ended[-1] - ended[-1 - thousand]]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'trials that do nothing':<34}{'CPU s':>8}{'trials / CPU s':>16}")
    for what, seconds in zip(("first", "last"), spent, strict=True):
        print(f"{f'the {what} {thousand:,}':<34}{seconds:>8.2f}{thousand / seconds:>16.0f}")
    print(f"{f'all {len(ended):,}':<34}{ended[-1] - began:>8.2f}")
    return [
        ("RATE", spent[0] / spent[1], RATE, spent[0] / spent[1] >= RATE),
        ("MEMORY", memory, MEMORY, memory <= MEMORY),
    ]


def progress_part(options: argparse.Namespace) -> list[Figure]:
    from rich.console import Console

    from orchestrator.cli.progress import Progress
    from orchestrator.planning.queue import Queue
    from orchestrator.training.outcome import Outcome

    found = {}
    for trials in (100, options.trials):
        with tempfile.TemporaryDirectory() as name:
            plan, _, store = plan_of(trials, Path(name))
            queue = Queue(plan)
        queue.at_once = SLOTS
        console = Console(file=io.StringIO(), width=80)
        progress = Progress(console, queue, store)
        for _ in range(trials // 2):
            trial = queue.take()
            progress.started(trial)
            progress.ended(queue.finish(Outcome(trial.key, "done", 1.0)))
        for _ in range(SLOTS):
            progress.started(queue.take())
        found[trials] = min(drawing(progress) for _ in range(5))
    print(f"{'progress, half-way through':<34}{'CPU ms':>8}")
    for trials, seconds in found.items():
        print(f"{f'{trials:,} trials':<34}{seconds * 1e3:>8.3f}")
    ratio = found[options.trials] / found[100]
    return [("PROGRESS", ratio, PROGRESS, ratio <= PROGRESS)]


def drawing(progress: Any) -> float:
    """CPU seconds for all that a terminal shows, with a row for each trial that runs."""
    began = time.process_time()
    for _ in range(20):
        progress._console.print(progress._render())
    return (time.process_time() - began) / 20


def matrices_part(options: argparse.Namespace) -> list[Figure]:
    import numpy as np

    from orchestrator.analysis.figures import matrix_svg
    from orchestrator.parts.matrix import make_matrix

    sizes = ["--settings", "4", "--cells", "20"]
    ran = subprocess.run([sys.executable, str(HERE / "large_matrices.py"), *sizes], check=False)
    names = [f"network {number}" for number in range(256)]
    noise = np.random.default_rng(0).random((256, 256))
    matrix = make_matrix("scores", axes=("a", "b"), rows=names, columns=names, values=noise)
    size = len(matrix_svg(matrix).encode())
    return [
        ("MATRICES: exit status", ran.returncode, 0, ran.returncode == 0),
        ("PICTURE", size, PICTURE, size <= PICTURE),
    ]


def listing_part(options: argparse.Namespace) -> list[Figure]:
    from s3_of_results import keys_of, served

    from orchestrator import Store

    rows: list[tuple[str, float, float]] = []

    def timed(what: str, do: Callable[[], Any]) -> Any:
        began = time.monotonic(), time.process_time()
        found = do()
        rows.append((what, time.monotonic() - began[0], time.process_time() - began[1]))
        return found

    with tempfile.TemporaryDirectory() as name, served(options.results) as address:
        os.environ["SPOLIA_CACHE"] = name
        wanted = keys_of(options.results)[:READ]
        store = Store(address)
        listed = timed(f"{options.results:,} results listed", lambda: list(store.finished()))
        assert len(set(listed)) == options.results
        timed("the same again", lambda: list(Store(address).finished()))
        for where in ("the store", "local copies"):
            what = f"listed, and {READ:,} read from {where}"
            found = timed(what, lambda: list(Store(address).find_all(wanted)))
            assert len(found) == READ
    print(f"{'a store on S3':<42}{'wall s':>8}{'CPU s':>8}")
    for what, wall, processor in rows:
        print(f"{what:<42}{wall:>8.2f}{processor:>8.2f}")
    again = rows[1][1]
    return [("LISTING", again, LISTING, again <= LISTING)]


PARTS = {
    "trials": trials_part,
    "progress": progress_part,
    "matrices": matrices_part,
    "listing": listing_part,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="some of: %(default)s")
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--results", type=int, default=100_000, help="in the listing")
    parser.add_argument("--one", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        figures = PARTS[options.one](options)
        print(json.dumps(figures))
        return 0
    chosen = options.parts.split(",")
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    fell_short = False
    for part in chosen:
        sizes = [f"--{name}={getattr(options, name)}" for name in ("trials", "results")]
        # Each in a process of its own: peaks of memory are of one part.
        command = [sys.executable, __file__, *sizes, "--one", part]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        *table, last = ran.stdout.splitlines()
        print("\n".join(table))
        for name, value, bar, is_met in json.loads(last):
            short = "" if is_met else "   falls short"
            print(f"{name}: {value:.4g} (bar {bar:g}){short}", flush=True)
            fell_short |= not is_met
    return int(fell_short)


if __name__ == "__main__":
    sys.exit(main())
