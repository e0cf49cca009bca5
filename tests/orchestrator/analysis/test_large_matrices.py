"""The benchmark of large matrices, small: its two parts run, and it fails where a bar is missed."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pyarrow.parquet as pq

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))  # a method lives in `simulated`
import large_matrices

OPTIONS = Namespace(size=4, settings=2, cells=3)


def test_both_parts_measure_what_they_say(store, tmp_path):
    blobs = [store.put_blob(large_matrices.drawn(4, number).to_parquet()) for number in range(6)]
    grouped = large_matrices.grouping(tmp_path / "store", OPTIONS, blobs)
    tabled = large_matrices.tables(tmp_path / "store", OPTIONS, blobs)
    file = pq.ParquetFile(tmp_path / "store/tables/matrices.parquet")
    assert file.metadata.num_rows == 3 * 4 * 4
    assert min(grouped["mebibytes"], tabled["mebibytes"]) > 0


def test_a_missed_bar_is_told_and_fails(capsys):
    numbers = {"wall": 1.0, "processor": 1.0, "one_by_one": 1.0, "before": 1.0, "file": 1.0}
    fine, too_much = {**numbers, "mebibytes": 1024.0}, {**numbers, "mebibytes": 1025.0}
    too_slow = {**fine, "processor": 10.1}
    assert large_matrices.report(OPTIONS, fine, fine) == 0
    assert large_matrices.report(OPTIONS, fine, too_much) == 1
    assert large_matrices.report(OPTIONS, too_slow, fine) == 1
    assert "TABLES: 1025 MiB (bar 1024)" in capsys.readouterr().out
