"""How long large matrices take to average, and how much memory tables of very many of them take.

Grouping: the mean and the interval of a matrix for each of 36 settings with 3 seeds, 256 x 256
entries each, from results in a store. The peer takes the same means entry by entry, as was done
before; it is timed on a few thousand entries and scaled up. Tables: the Parquet files of 1,000
cells with a matrix of 256 x 256 each, 65.5 million rows; what counts is the most memory that the
process ever had, torch included. Nothing is trained: the matrices are drawn here, and cells of the
second part share those of the first. Each part runs in a process of its own.

    python benchmarks/large_matrices.py
    python benchmarks/large_matrices.py --size 16 --settings 4 --cells 20     # a second or two
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from simulated import SimulatedMatrix

from orchestrator import Matrix, Result, Results, Store, Sweep, make_plan, product
from orchestrator.analysis.estimates import estimate
from orchestrator.parts.matrix import make_matrix

SECONDS, MEBIBYTES = 10.0, 1024.0  # the bars: of a processor, and of memory
SEEDS = 3
SAMPLE = 4000  # entries of the peer


def drawn(size: int, number: int) -> Matrix:
    """A matrix of accuracies on 1,000 images, with components, as recombination leaves it."""
    random = np.random.default_rng(number)
    names = [f"network {place}" for place in range(size)]
    components = [f"{place:064x}/network?task=a" for place in range(size)]
    return make_matrix(
        "scores",
        axes=("extractor", "head"),
        rows=names,
        columns=names,
        values=random.integers(0, 1001, (size, size)) / 1000,
        count=1000,
        chance=0.1,
        components=(components, components),
    )


def results_of(folder: Path, num_settings: int, num_seeds: int, blobs: list[str]) -> Results:
    """The results of a sweep whose cells have these matrices, one after the other."""
    grid = product(SimulatedMatrix.grid(level=list(range(num_settings))), seed=range(num_seeds))
    store = Store(folder)
    sweep = Sweep(question="How large?", cells=grid, expect=num_settings * num_seeds)
    plan = make_plan("large", sweep, store)
    results = Results(plan, store)
    for number, cell in enumerate(plan.cells):
        blob = blobs[number % len(blobs)]
        matrix = {"name": "scores", "rows": "extractor", "columns": "head", "blob": blob}
        record = {"key": cell.trial.key, "outcome": "done", "metrics": [], "needs": {}}
        results.by_key[cell.trial.key] = Result(store, {**record, "matrices": [matrix]})
        plan.outcomes[cell.trial.key] = "done"
    return results


class Clock:
    """Seconds since it was made, and of them those of a processor: all that counts where other
    programs run beside.
    """

    def __init__(self) -> None:
        self._began = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        wall, processor = self._began
        return {"wall": time.monotonic() - wall, "processor": time.process_time() - processor}


def peak() -> float:
    """MiB that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def grouping(folder: Path, options: argparse.Namespace, blobs: list[str]) -> dict[str, float]:
    results = results_of(folder, options.settings, SEEDS, blobs)
    clock = Clock()
    for group in results.groups():
        assert group.matrix("scores") is not None
    found = {**clock.read(), "mebibytes": peak()}
    stacked = np.stack([m.values.ravel() for m in results.groups()[0].matrices("scores")])
    sample = stacked[:, :SAMPLE].T.tolist()  # [entries, trials]
    clock = Clock()
    for values in sample:
        estimate(values)
    scale = stacked.shape[1] / len(sample) * options.settings
    return {**found, "one_by_one": clock.read()["processor"] * scale}


def tables(folder: Path, options: argparse.Namespace, blobs: list[str]) -> dict[str, float]:
    results = results_of(folder, options.cells, 1, blobs)
    before, clock = peak(), Clock()
    paths = results.write(folder / "tables")
    size = paths[-1].stat().st_size / 2**20
    return {**clock.read(), "before": before, "mebibytes": peak(), "file": size}


def measured(part: str, folder: Path, arguments: list[str]) -> dict[str, float]:
    """What a process of its own measures of one part."""
    command = [sys.executable, __file__, *arguments, "--part", part, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="rows and columns of each matrix")
    parser.add_argument("--settings", type=int, default=36)
    parser.add_argument("--cells", type=int, default=1000, help="matrices in the tables")
    parser.add_argument("--part", choices=["grouping", "tables"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        blobs = json.loads((options.folder / "blobs.json").read_text())
        measure = grouping if options.part == "grouping" else tables
        print(json.dumps(measure(options.folder, options, blobs)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(folder)
        store.prepare()
        contents = (drawn(options.size, n).to_parquet() for n in range(options.settings * SEEDS))
        (folder / "blobs.json").write_text(json.dumps([store.put_blob(one) for one in contents]))
        arguments = [f"--{key}={getattr(options, key)}" for key in ("size", "settings", "cells")]
        grouped = measured("grouping", folder, arguments)
        tabled = measured("tables", folder, arguments)
    return report(options, grouped, tabled)


def report(options: argparse.Namespace, grouped: dict[str, float], tabled: dict[str, float]) -> int:
    size = f"{options.size} x {options.size}"
    rows = [
        (f"means of {options.settings} x {SEEDS} of {size}", grouped),
        (f"tables of {options.cells:,} of {size}", tabled),
    ]
    print(f"{'what':<42}{'wall s':>10}{'CPU s':>10}{'peak MiB':>10}")
    for what, found in rows:
        numbers = f"{found['wall']:>10.1f}{found['processor']:>10.1f}{found['mebibytes']:>10.0f}"
        print(f"{what:<42}{numbers}")
    print(f"{'the means entry by entry, scaled up':<42}{'':>10}{grouped['one_by_one']:>10.1f}")
    print(f"before its tables the process had {tabled['before']:.0f} MiB;", end=" ")
    print(f"the file has {tabled['file']:.0f} MiB")
    print(f"GROUPING: {grouped['processor']:.1f} CPU seconds (bar {SECONDS:.0f})")
    print(f"TABLES: {tabled['mebibytes']:.0f} MiB (bar {MEBIBYTES:.0f})")
    return int(grouped["processor"] > SECONDS or tabled["mebibytes"] > MEBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
