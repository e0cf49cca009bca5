"""What Git says of a folder."""

from __future__ import annotations

import subprocess

import pytest

from orchestrator.store.checkout import git

pytestmark = pytest.mark.process


def test_it_answers_anywhere_in_a_checkout(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/new.txt").write_text("")
    assert git(tmp_path / "inside", "status", "--porcelain") == "?? inside/"
    assert git(tmp_path, "rev-parse", "HEAD") is None  # nothing is committed yet


def test_outside_of_one_there_is_no_answer(tmp_path):
    assert git(tmp_path, "status", "--porcelain") is None
