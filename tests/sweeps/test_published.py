"""The papers' tables at their size: they plan without the images, and what they train runs at 224
pixels on stand-ins for weights and images.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import check_claims
from PIL import Image

from methods.networks import torchvision_network
from orchestrator import Store, Sweep, Trial, load_sweep, make_plan, product, resolve, unseen
from orchestrator.planning.checks import Checks
from orchestrator.planning.choose import smoke
from orchestrator.spec.task import DataRecord
from orchestrator.training.execute import execute, run_with_needs

FOLDER = Path(__file__).parents[2] / "sweeps/published"
FILES = sorted(FOLDER.glob("*.py"))
CLASSES = {
    "cubs_cropped": 200,
    "stanford_cars_cropped": 196,
    "flowers": 102,
    "wikiart": 195,
    "sketches": 250,
}


def records():
    """What planning has to know of the sets, which are not here."""
    for name, number in CLASSES.items():
        scaled = "whole" if name.endswith("cropped") else 256
        yield f"folder/{name}?reduced=1&scaled={scaled}&size=224", number, 224
    yield "torchvision/SVHN", 10, 32


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("published") / "store")
    made.prepare()
    for name, number, size in records():
        names = tuple(f"class{i:03d}" for i in range(number))
        statistics = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
        made.put_data(
            DataRecord(
                name=name,
                digest=hashlib.sha256(name.encode()).hexdigest(),
                classes=names,
                shape=(3, size, size),
                counts=(30 * number, 30 * number),
                **statistics,
            )
        )
    return made


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_table_starts_from_weights_whose_images_nobody_needs(file, store):
    """Its cells and claims, which are checked as the file is read; planning builds the networks."""
    _, sweep = load_sweep(file)
    assert len(sweep.cells) == sweep.expect
    for cell in list(sweep.trials())[::7]:
        trial = resolve(cell.trial, store)
        base, target = trial.tasks
        assert base.is_unseen
        assert target.normalised_by.mean == (0.485, 0.456, 0.406)
        first = trial
        while first.needs:
            first = next(iter(first.needs.values()))
        assert (first.method.epochs, first.tasks) == (0, (base,))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_smoke_run_of_a_table_trains_two_epochs_at_most(file):
    _, sweep = load_sweep(file)
    told = [str(cell.trial.method) for cell in smoke(sweep).sweep.trials()]
    epochs = {int(number) for text in told for number in re.findall(r"epochs=(\d+)", text)}
    assert 0 in epochs  # of the base, whose weights are trained
    assert max(epochs) <= 2


@pytest.mark.long  # builds each network of full size many times
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_table_plans_without_its_images(file, store):
    name, sweep = load_sweep(file)
    plan = make_plan(name, sweep, store)
    assert len(plan.cells) == sweep.expect
    assert not [cell for cell in plan.cells if cell.trial.problems()]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_claims_of_a_table_compare_like_with_like(file, store, monkeypatch):
    # That its networks can run, for which they are built in full size, is asked above.
    for kind in ("networks", "features"):
        monkeypatch.setattr(Checks, f"_problems_of_{kind}", lambda checks, trial: [])
    name, sweep = load_sweep(file)
    check_claims(sweep, make_plan(name, sweep, store), store)


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Weights of a network for a thousand classes, and a folder of photographs of noise."""
    from torchvision.models import resnet18

    monkeypatch.setenv("SPOLIA_DATA", str(tmp_path))
    file = tmp_path / "drawn.pth"
    torch.manual_seed(0)
    torch.save(resnet18(num_classes=1000).state_dict(), file)
    name = f"resnet18-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"
    (tmp_path / "weights").mkdir()
    file.rename(tmp_path / "weights" / name)
    random = np.random.RandomState(0)
    for part, count in (("train", 3), ("test", 1)):
        for label in range(6):
            folder = tmp_path / "flowers" / part / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.randint(0, 255, (240, 260, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return torchvision_network("resnet18", weights=name)


def module_of(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:flowers")
def test_rows_of_a_table_run_at_its_size_on_stand_ins(stand_ins, tmp_path):
    """Masks, a classifier, a network for the task and a tailored one, an epoch of 18 images each,
    whose last batch is kept.
    """
    piggyback, nettailor = (module_of(FOLDER / f"{n}.py") for n in ("piggyback", "nettailor"))
    made = Store(tmp_path / "store")
    made.prepare()
    tasks = (unseen("imagenet", classes=1000), piggyback.sets["flowers"])
    rows = product(piggyback.rows("random resized crop"), network=stand_ins, tasks=tasks, seed=0)
    cells = Sweep(question="?", cells=rows, expect=3).trials()
    methods = [cell.trial.method.replace(epochs=1, batch=8) for cell in cells]
    assert {method.last_batch for method in methods} == {"keep"}
    settings = {**nettailor.ON_FLOWERS, "skip": 3, "removed": 2, "epochs": 1, "retrain_epochs": 1}
    teacher = settings["teacher"].replace(epochs=1, batch=8)
    tailored = nettailor.NetTailor(**{**settings, "teacher": teacher, "batch": 8})
    for method in (*methods, tailored):
        trial = resolve(Trial(method=method, network=stand_ins, tasks=tasks, seed=0), made)
        assert trial.problems() == []
        run_with_needs(trial, made)
        outcome = execute(trial, made)
        assert outcome.is_result, outcome.traceback
