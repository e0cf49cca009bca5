"""Where a session's things lie: what is said goes before the environment, that before the site
file.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator import InputError
from orchestrator.session.choices import ExecutorName
from orchestrator.session.places import places


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "STORE", "TRACKING", "DATA", "SITE", "PACKAGES"):
        # Set and taken away, so that what a test's places tell the environment is forgotten.
        monkeypatch.setenv(f"SPOLIA_{name}", "")
        monkeypatch.delenv(f"SPOLIA_{name}")
    return tmp_path


def test_without_a_word_all_lies_in_a_folder_here(empty_folder):
    found = places()
    root = empty_folder / "spolia-home"
    assert found.home.root == root
    assert found.home.store == str(root / "store")
    assert found.home.tracking == f"sqlite:///{root / 'mlflow.db'}"
    assert found.file is None
    assert not root.exists()


def test_what_is_said_goes_before_the_environment_and_that_before_the_site_file(
    empty_folder, monkeypatch
):
    file = empty_folder / "spolia.toml"
    file.write_text('home = "of-site"\nstore = "s3://bucket/x"\ntracking = "none"\ndata = "d"')
    assert places().home.root == empty_folder / "of-site"
    assert (places().home.store, places().home.tracking) == ("s3://bucket/x", None)
    assert places().data == str(empty_folder / "d")
    monkeypatch.setenv("SPOLIA_HOME", "of-environment")
    monkeypatch.setenv("SPOLIA_TRACKING", "http://tracker:5000")
    assert places().home.root == empty_folder / "of-environment"
    assert places().home.tracking == "http://tracker:5000"
    said = places(home_folder=Path("said"), store="here", tracking="none", data="elsewhere")
    assert said.home.root == empty_folder / "said"
    assert (said.home.store, said.home.tracking) == (str(empty_folder / "here"), None)
    assert said.data == str(empty_folder / "elsewhere")
    assert said.file == file


def test_a_site_file_that_is_named_is_read_from_anywhere(empty_folder, monkeypatch):
    (empty_folder / "cluster").mkdir()
    file = empty_folder / "cluster/mine.toml"
    file.write_text('home = "h"\nslots = 7')
    assert places(site_file=file).home.root == empty_folder / "cluster/h"
    monkeypatch.setenv("SPOLIA_SITE", str(file))
    assert places().site.slots == 7


def test_a_run_takes_the_slots_that_are_said(empty_folder):
    (empty_folder / "spolia.toml").write_text("slots = 7\ncheckpoint_every = 5")
    found = places()
    assert found.site_of_run(ExecutorName.ray).slots == 7
    assert found.site_of_run(ExecutorName.ray, slots=2).slots == 2
    assert found.site_of_run(ExecutorName.inline, slots=2).slots == 1
    assert found.site_of_run(ExecutorName.ray).checkpoint_every == 5
    assert found.site_of_run(ExecutorName.ray, checkpoint_every=0).checkpoint_every == 0
    with pytest.raises(InputError, match="slots=0"):
        found.site_of_run(ExecutorName.ray, slots=0)


def test_methods_of_the_site_file_that_do_not_exist_are_told(empty_folder):
    (empty_folder / "spolia.toml").write_text("[gpus]\nfine_tun = 0.5")
    with pytest.raises(InputError, match="no method is called so"):
        places().site_of_run(ExecutorName.inline)


def test_a_smoke_run_stays_on_this_machine_and_is_not_tracked(empty_folder):
    (empty_folder / "spolia.toml").write_text('address = "auto"\ndevice = "gpu"\nslots = 99')
    within = places().within(empty_folder / "tmp")
    assert (within.home.tracking, within.site.address, within.site.device) == (None, None, "auto")
    assert within.site_of_run(ExecutorName.ray).slots == os.cpu_count()
