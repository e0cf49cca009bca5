"""What a record calls its matrices becomes the name of a file, and never a path elsewhere."""

from __future__ import annotations

import pytest
from sample_methods import Tabled

from orchestrator import StoreError, Trial
from orchestrator.tracking.finished_run import _files, _matrices, put_files
from orchestrator.training.execute import execute


def test_a_matrix_with_the_name_of_a_path_is_one_file_in_its_folder(store, tmp_path):
    trial = Trial(method=Tabled(), seed=0)
    execute(trial, store)
    record = dict(store.find(trial.key))
    names = ["../../../outside", "/tmp/outside", "..", "a/b"]
    record["matrices"] = [{**record["matrices"][0], "name": name} for name in names]
    files = _files(record, _matrices(record, store))
    put_files(tmp_path / "run", files)
    made = [path for path in tmp_path.rglob("*") if path.is_file() and "store" not in path.parts]
    assert {path.parent for path in made} == {tmp_path / "run"}
    # Each as Parquet and as a picture, and what made the result.
    assert len(made) == len(files) == 2 * len(names) + 1


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside"])
def test_nothing_is_written_outside_an_artifact_folder(tmp_path, name):
    with pytest.raises(StoreError, match="is no path within an artifact folder"):
        put_files(tmp_path / "run", {name: b"x"})
    assert not (tmp_path / "outside").exists()
