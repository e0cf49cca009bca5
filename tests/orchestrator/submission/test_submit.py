"""A sweep made ready to be handed in, what runs already, and whether the head means the same."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import InputError, PlanError, Session, Store
from orchestrator.errors import SpoliaError
from orchestrator.spec.classes import class_at
from orchestrator.store.origin import MARKER, submission_in
from orchestrator.submission.arrival import check_arrival
from orchestrator.submission.head import Job
from orchestrator.submission.places import Given
from orchestrator.submission.submit import prepare, running_already


@pytest.fixture
def ready(sweep_file, tmp_path, monkeypatch):
    """`ready(cells, expect, store=..., options=(...))`: a sweep file, ready to be handed in."""
    monkeypatch.chdir(tmp_path)

    def make(cells="product(Count.grid(), seed=range(2))", expect=2, store="s", options=(), **more):
        where = str(tmp_path / store)
        session = Session(sweep_file(cells, expect, **more), store=where, tracking="none")
        return prepare(session, Given(store=where), options)

    return make


def test_the_head_is_told_what_a_run_here_would_be_told(ready, tmp_path):
    submission = ready(options=["--only", "seed=0", "--slots", "3"])
    assert shlex.split(submission.command) == [
        *(
            "spolia",
            "run",
            "sweep-file/asked.py",
            "--only",
            "seed=0",
            "--slots",
            "3",
            "--address",
            "auto",
        ),
        *("--store", f"{tmp_path}/s", "--home", "${SPOLIA_HOME:-$HOME/spolia-home}"),
    ]
    # Modules beside it, and the samples that it imports.
    assert submission.package.tops == ["asked.py", "sample_methods.py"]
    assert submission.new_id() != submission.new_id()
    assert submission.new_id().startswith("asked-")


def test_what_keeps_a_sweep_from_being_planned_is_told_before_anything_is_handed_in(ready):
    with pytest.raises(PlanError, match="network"):
        ready("product(FineTune.grid(), tasks=[(digits.classes(0, 1),)], seed=0)", 1)


def test_what_nobody_here_knows_is_said(ready, monkeypatch, tmp_path):
    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path))
    data = "image_folder('birds')"
    before = "from orchestrator import image_folder"
    submission = ready(f"product(Seedless.grid(), tasks=[({data},)])", 1, before=before)
    images, folder = submission.notes
    assert "birds: the store has no record of it yet, so the head needs its images" in images
    assert folder.startswith(f"{tmp_path}/s is a folder that this machine does not have")


class Pretended:
    def __init__(self, *jobs):
        self._jobs = jobs

    def jobs(self):
        return list(self._jobs)


def test_the_same_sweep_that_runs_already_is_followed_and_another_is_in_its_way(ready):
    one, other = ready(), ready(options=["--limit", "1"])
    running = Job("asked-1", "RUNNING", None, "", 0.0, one.about)
    ended, foreign = replace(running, status="FAILED"), replace(running, about={})
    assert running_already(one, Pretended(foreign, running)) is running
    assert running_already(other, Pretended(foreign, ended)) is None
    assert running_already(ready(store="another"), Pretended(running)) is None
    assert running_already(ready(options=["--smoke"]), Pretended(running)) is None
    with pytest.raises(InputError, match=r"asked-1 runs asked already.*--follow asked-1"):
        running_already(other, Pretended(running))


def test_it_is_the_same_request_once_its_first_job_has_made_the_store(ready, tmp_path):
    before = ready()
    Store(tmp_path / "s").prepare()
    after = ready()
    assert after.about == before.about
    assert "probe" in after.package.texts[MARKER]


def test_an_edited_method_is_another_request(ready, tmp_path):
    method = tmp_path / "own_afar.py"
    method.write_text("NUMBER = 1\n")
    first = ready(before="import own_afar")
    assert ready(before="import own_afar").about == first.about
    method.write_text("NUMBER = 2\n")
    assert ready(before="import own_afar").about != first.about


@pytest.fixture
def arrived(ready, tmp_path, store):
    """`arrived(**other)`: the session of a sweep on the head, where its marker says this."""

    def make(**other):
        submission = ready(store="store")
        there = tmp_path / "there"
        for name, file in submission.package.files.items():
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            (there / name).write_bytes(file.read_bytes())
        said = {**json.loads(submission.package.texts[MARKER]), **other}
        (there / MARKER).write_text(json.dumps(said))
        submission_in.cache_clear()
        return Session(
            there / "sweep-file/asked.py", store=str(tmp_path / "store"), tracking="none"
        )

    return make


def test_the_same_machine_means_the_same_and_trusts_what_came_along(arrived, tmp_path):
    session = arrived()
    (tmp_path / "there/came_along.py").write_text("class Net:\n    pass\n")
    check_arrival(session)
    assert class_at("came_along:Net", object).__name__ == "Net"
    del sys.modules["came_along"]


def test_a_sweep_that_nobody_submitted_is_asked_nothing(ready, tmp_path):
    ready()
    check_arrival(Session(tmp_path / "asked.py"))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"versions": {"spolia": "99.0", "python": "3.12.1"}},
            r"the head has version \S+ of Spolia and the machine that submitted 99.0: install the",
        ),
        (
            {"modules": {"orchestrator.training.fit": "0" * 16}},
            r"the head has other code of .* and \d+ more \(from .*\) than the machine that submit",
        ),
        ({"probe": "submit0123"}, "is one folder on the machine that submitted and another one"),
    ],
)
def test_a_head_that_means_something_else_says_so_in_a_sentence(arrived, other, words):
    with pytest.raises(InputError, match=words) as refused:
        check_arrival(arrived(**other))
    assert "\n" not in str(refused.value)


def test_a_store_that_is_a_folder_here_is_known_again(arrived, store):
    session = arrived()
    check_arrival(session)
    (probe,) = Path(store.folder("probes")).iterdir()
    probe.unlink()
    with pytest.raises(SpoliaError, match="another one here"):
        check_arrival(session)


def test_the_name_of_a_sweep_belongs_to_the_file_that_was_submitted(arrived, tmp_path, store):
    session = arrived()
    store.claim_sweep("asked", session.file)
    claim = json.loads(Path(store.folder("sweeps/asked.json")).read_text())
    assert claim == {"file": str(tmp_path / "asked.py")}
    # Handed in again after an edit: another folder of Ray's, the same sweep.
    (tmp_path / "asked.py").write_text("# edited")
    store.claim_sweep("asked", session.file)
